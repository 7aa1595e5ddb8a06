/*
 * shared.c
 *		Fixed shared memory of evsched: a table of parts and their sizes.
 *
 * The memory is asked for and set up by the postmaster; processes use what
 * the parts hand out.  It is there only when the library is preloaded.
 */
#include "postgres.h"

#include "shared.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "database.h"
#include "lease.h"
#include "listener.h"
#include "queue.h"
#include "run_slot.h"
#include "server_zone.h"
#include "staff.h"
#include "stat.h"

typedef struct Part
{
	const char *name;
	Size		(*size) (void);
	void		(*attach) (void *area, bool found);
} Part;

static const Part parts[] = {
	{"evsched databases", evsched_database_size, evsched_database_attach},
	{"evsched queues", evsched_queue_size, evsched_queue_attach},
	{"evsched leases", evsched_lease_size, evsched_lease_attach},
	{"evsched listeners", evsched_listener_size, evsched_listener_attach},
	{"evsched counters", evsched_stat_size, evsched_stat_attach},
	{"evsched time zone", evsched_server_zone_size, evsched_server_zone_attach},
	{"evsched workers", evsched_staff_size, evsched_staff_attach},
	{"evsched runs", evsched_run_slot_size, evsched_run_slot_attach},
};

LWLock	   *evsched_directory_lock;
LWLock	   *evsched_lease_lock;

static shmem_request_hook_type prev_shmem_request_hook;
static shmem_startup_hook_type prev_shmem_startup_hook;

static void request_shared(void);
static void attach_shared(void);

/* Asks the postmaster for the memory; outside of preloading it does nothing. */
void
evsched_shared_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_shared;
}

bool
evsched_shared_ready(void)
{
	return evsched_lease_lock != NULL;
}

/* Raises 55000 where the library is not preloaded. */
void
evsched_shared_require(void)
{
	if (evsched_shared_ready())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("evsched is not loaded at server start"),
			 errhint("Add evsched to shared_preload_libraries and restart the server.")));
}

static void
request_shared(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	for (int i = 0; i < lengthof(parts); i++)
		RequestAddinShmemSpace(parts[i].size());
	RequestNamedLWLockTranche(EVSCHED_NAME, 2);
}

static void
attach_shared(void)
{
	LWLockPadded *locks;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche(EVSCHED_NAME);
	evsched_directory_lock = &locks[0].lock;
	evsched_lease_lock = &locks[1].lock;
	for (int i = 0; i < lengthof(parts); i++)
	{
		bool		found = IsUnderPostmaster;
		void	   *area = NULL;

		if (parts[i].size() > 0)
			area = ShmemInitStruct(parts[i].name, parts[i].size(), &found);

		parts[i].attach(area, found);
	}
	LWLockRelease(AddinShmemInitLock);
}

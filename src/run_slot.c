/*
 * run_slot.c
 *		Which runs are under way, in memory that outlives a crash of the server.
 *
 * A file that is mapped into the postmaster and so into all processes: a worker
 * marks its run here when it begins and takes the mark away when it has
 * committed, which costs no write of its own.  What is marked and has no worker any
 * more was cut off.  The postmaster finds that out for all of them when it sets up
 * shared memory, at its start and after a crash; the exit callback of a worker for
 * its own.  The scheduler of the database settles it (lost.c) and frees the slot.
 *
 * What the machine loses when it loses power may be marks, and what it keeps may be
 * old: then a run is not counted as lost, or another is.  No event hangs on it.
 * Without the file there are no marks.
 */
#include "postgres.h"

#include "run_slot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"

#include "shared.h"
#include "staff.h"

#define FILE_NAME		PGSTAT_STAT_PERMANENT_DIRECTORY "/evsched.runs"

/* Says that a slot is ours; to grow when its meaning changes. */
#define FORMAT			0x65767202

/*
 * A worker that ends may be the first of all to do so: whether the server is shut down,
 * its scheduler knows a moment later, µs.
 */
#define SETTLE_PAUSE	(50 * INT64CONST(1000))

static EvschedRunSlot *slots;	/* NULL: there is no file */
static int	mine = EVSCHED_NO_SLOT;

static void map_file(void);
static void lose_all(void);
static void cut_off_all(int code, Datum arg);

/* Those of lost runs stay occupied until they are settled. */
static int
num_slots(void)
{
	return evsched_staff_slots() * 4 + 16;
}

/* The memory is the file's. */
Size
evsched_run_slot_size(void)
{
	return 0;
}

void
evsched_run_slot_attach(void *area, bool found)
{
	if (found)
		return;
	if (slots == NULL)
		map_file();
	if (slots == NULL)
		return;
	lose_all();
	on_shmem_exit(cut_off_all, 0);
}

/* This process begins a run. */
void
evsched_run_slot_begin(const EvschedRunSlot *run)
{
	if (slots == NULL)
		return;
	if (mine == EVSCHED_NO_SLOT)
	{
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		for (int i = 0; i < num_slots() && mine == EVSCHED_NO_SLOT; i++)
		{
			if (slots[i].state == EVSCHED_RUN_SLOT_FREE)
				mine = i;
		}
		if (mine != EVSCHED_NO_SLOT)
			slots[mine].state = EVSCHED_RUN_SLOT_RUNNING;
		LWLockRelease(evsched_lease_lock);
	}
	if (mine == EVSCHED_NO_SLOT)
		return;
	/* What is half written is no mark. */
	slots[mine].format = 0;
	pg_write_barrier();
	slots[mine] = *run;
	slots[mine].state = EVSCHED_RUN_SLOT_RUNNING;
	slots[mine].format = 0;
	pg_write_barrier();
	slots[mine].format = FORMAT;
}

/* The run is over; the slot stays this process's. */
void
evsched_run_slot_end(void)
{
	if (mine != EVSCHED_NO_SLOT)
		slots[mine].format = 0;
}

/* Under the lease lock: this process dies; true: in the middle of a run. */
bool
evsched_run_slot_leave(void)
{
	bool		running;

	if (mine == EVSCHED_NO_SLOT)
		return false;
	running = slots[mine].format == FORMAT;
	slots[mine].lost_at = evsched_lease_clock();
	slots[mine].state = running ? EVSCHED_RUN_SLOT_LOST : EVSCHED_RUN_SLOT_FREE;
	mine = EVSCHED_NO_SLOT;
	return running;
}

/* Was a run of the store cut off?  Who loses one tells the scheduler afterwards. */
bool
evsched_run_slot_any_lost(EvschedStore store)
{
	for (int i = 0; slots != NULL && i < num_slots(); i++)
	{
		if (slots[i].state >= EVSCHED_RUN_SLOT_LOST && evsched_store_equal(slots[i].store, store))
			return true;
	}
	return false;
}

/* The slots of a store's runs that were cut off; more: others were just now. */
int
evsched_run_slot_list_lost(EvschedStore store, int64 clock, int **list, bool *more)
{
	int			n = 0;

	*more = false;
	*list = palloc(sizeof(int) * num_slots());
	if (slots == NULL)
		return 0;
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < num_slots(); i++)
	{
		if (slots[i].state < EVSCHED_RUN_SLOT_LOST || slots[i].format != FORMAT ||
			!evsched_store_equal(slots[i].store, store))
			continue;
		if (slots[i].lost_at + SETTLE_PAUSE > clock)
			*more = true;
		else
			(*list)[n++] = i;
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

EvschedRunSlot
evsched_run_slot_get(int slot)
{
	return slots[slot];
}

/* lost, cut off -> free */
void
evsched_run_slot_settle(int slot)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	slots[slot].format = 0;
	slots[slot].state = EVSCHED_RUN_SLOT_FREE;
	LWLockRelease(evsched_lease_lock);
}

/* Drops what was cut off in stores of a database that are gone. */
void
evsched_run_slot_forget(EvschedStore store, bool others)
{
	if (slots == NULL)
		return;
	for (int i = 0; i < num_slots(); i++)
	{
		if (slots[i].state >= EVSCHED_RUN_SLOT_LOST &&
			evsched_store_is_meant(slots[i].store, store, others))
			evsched_run_slot_settle(i);
	}
}

/* The file is made as long as need be; what is in it stays. */
static void
map_file(void)
{
	Size		size = num_slots() * sizeof(EvschedRunSlot);
	int			fd = open(FILE_NAME, O_RDWR | O_CREAT, pg_file_create_mode);
	void	   *area = MAP_FAILED;

	/* What the disk has no room for must not be found out by writing to it. */
	if (fd >= 0 && (errno = posix_fallocate(fd, 0, size)) == 0)
		area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (area == MAP_FAILED)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not map file \"%s\": %m", FILE_NAME),
				 errdetail("Jobs that crash the server are not counted.")));
	else
		slots = area;
	if (fd >= 0)
		close(fd);
}

/* There are no workers: what is marked was cut off. */
static void
lose_all(void)
{
	for (int i = 0; i < num_slots(); i++)
	{
		if (slots[i].format != FORMAT)
			memset(&slots[i], 0, sizeof(EvschedRunSlot));
		else
		{
			if (slots[i].state == EVSCHED_RUN_SLOT_RUNNING)
				slots[i].state = EVSCHED_RUN_SLOT_LOST;
			/* The clock may have begun anew with the machine. */
			slots[i].lost_at = 0;
		}
	}
}

/* The server is shut down: the runs that it has ended on its way are not to blame. */
static void
cut_off_all(int code, Datum arg)
{
	if (code != 0)
		return;
	for (int i = 0; i < num_slots(); i++)
	{
		if (slots[i].format == FORMAT && slots[i].state != EVSCHED_RUN_SLOT_FREE)
			slots[i].state = EVSCHED_RUN_SLOT_CUT_OFF;
	}
}

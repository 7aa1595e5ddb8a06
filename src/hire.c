/*
 * hire.c
 *		Starting workers, and sending them away: the scheduler's part in it.
 *
 * Called by the scheduler, outside a transaction.  Who needs how many it sees from
 * the crews; a worker that is asked for and does not come up is noticed here, too.
 * When there is no room for another one, one that has nothing to do makes it, or one
 * that is busy when it has done its job.
 */
#include "postgres.h"

#include "hire.h"

#include "utils/memutils.h"

#include "crew.h"
#include "database.h"
#include "guc.h"
#include "listener.h"
#include "lost.h"
#include "pool.h"
#include "queue.h"
#include "shared.h"
#include "staff.h"
#include "worker.h"

/* µs */
#define RETRY_PAUSE		USECS_PER_SEC
#define START_TIMEOUT	(10 * USECS_PER_SEC)

/* A worker that this process has asked for. */
typedef struct Asked
{
	BackgroundWorkerHandle *handle; /* NULL: none, or another process has */
	uint32		generation;
} Asked;

/* A crew that lacks workers. */
typedef struct Lack
{
	Oid			role;
	int			workers;
	int			of_role;		/* that it has already */
} Lack;

static Asked *asked;			/* by slot */

static int64 look_after_starting(int64 clock);
static int	list_lacks(EvschedStore store, int64 clock, Lack *lacks, int64 *next);
static int	compare_lacks(const void *a, const void *b);
static int	workers_lacking(const EvschedListener *crew, int slot);
static int	count_of_role(EvschedStore store, Oid role);
static bool hire(EvschedStore store, Oid role);
static bool is_room(EvschedStore store, Oid role);
static void make_room(EvschedStore store, Oid role);
static bool is_like(const EvschedStaff *staff, EvschedStore store, Oid role);
static int	longest_busy(EvschedStore store, Oid role);

void
evsched_hire_start(void)
{
	asked = MemoryContextAllocZero(TopMemoryContext, sizeof(Asked) * Max(evsched_staff_slots(), 1));
}

/*
 * Settles runs that were lost and starts the workers that jobs wait for; says when it
 * wants to be called again (µs, monotonic), even if nobody asks for it.
 */
int64
evsched_hire_run(EvschedStore store, int database, int64 clock)
{
	Lack	   *lacks = palloc(sizeof(Lack) * evsched_max_listeners);
	int64		next = look_after_starting(clock);
	int			n;

	next = Min(next, evsched_lost_settle(store, clock));
	n = list_lacks(store, clock, lacks, &next);
	for (int i = 0; i < n; i++)
	{
		while (lacks[i].workers > 0 && hire(store, lacks[i].role))
			lacks[i].workers--;
		if (lacks[i].workers == 0)
			continue;
		make_room(store, lacks[i].role);
		evsched_database_lack_staff(database);
		next = Min(next, clock + RETRY_PAUSE);
	}
	pfree(lacks);
	return next;
}

/* The extension is gone: so are its workers, and what they run cannot be written down. */
void
evsched_hire_forget(EvschedStore store)
{
	evsched_staff_send_away(store.database, store.table);
	(void) evsched_staff_stop(store, 0, EVSCHED_STAFF_STOP_FORCED);
}

/* Those that were asked for and have ended before they were there. */
static int64
look_after_starting(int64 clock)
{
	int64		next = PG_INT64_MAX;

	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		EvschedStaff *staff = evsched_staff_get(i);
		bool		ours = asked[i].handle != NULL && asked[i].generation == staff->generation;
		pid_t		pid;
		bool		gone;

		if (staff->state != EVSCHED_STAFF_STARTING || staff->pid != 0)
			continue;
		gone = ours ? GetBackgroundWorkerPid(asked[i].handle, &pid) == BGWH_STOPPED :
			clock - staff->since > START_TIMEOUT;
		next = Min(next, clock + RETRY_PAUSE);
		if (!gone)
			continue;
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		if (staff->state == EVSCHED_STAFF_STARTING && staff->pid == 0)
		{
			evsched_crew_delay(staff->store, staff->role, clock);
			evsched_staff_release(i);
		}
		LWLockRelease(evsched_lease_lock);
	}
	return next;
}

/* The crews of a store that lack workers, those of roles with the fewest first. */
static int
list_lacks(EvschedStore store, int64 clock, Lack *lacks, int64 *next)
{
	int			n = 0;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		EvschedListener *crew = evsched_listener_get(i);
		int			lacking;

		if (!evsched_crew_is(crew, store))
			continue;
		if (crew->start_at > clock)
		{
			*next = Min(*next, crew->start_at);
			continue;
		}
		if (crew->start_at != 0)
		{
			/* Its jobs were given back, and are to be handed out again; its calls are here. */
			crew->start_at = 0;
			evsched_queue_touch(crew->queue);
		}
		lacking = workers_lacking(crew, i);
		if (lacking > 0)
			lacks[n++] = (Lack) {
				.role = crew->role,
				.workers = lacking,
				.of_role = count_of_role(store, crew->role)
			};
	}
	LWLockRelease(evsched_lease_lock);
	qsort(lacks, n, sizeof(Lack), compare_lacks);
	return n;
}

static int
compare_lacks(const void *a, const void *b)
{
	return ((const Lack *) a)->of_role - ((const Lack *) b)->of_role;
}

/*
 * As many as could run something now and are neither there nor on their way; one that
 * waits for its turn, if others keep the pool full; no more than the role may have.
 */
static int
workers_lacking(const EvschedListener *crew, int slot)
{
	int			room = evsched_pool_size(crew->queue_name) -
		evsched_staff_running(crew->store, crew->queue_name);
	int			lacking = evsched_crew_count_ready(slot, room) -
		evsched_staff_count(crew->store, crew->role, EVSCHED_STAFF_IDLE) -
		evsched_staff_count(crew->store, crew->role, EVSCHED_STAFF_STARTING);

	if (room <= 0 && crew->num_queued > 0)
		lacking = evsched_staff_serves(crew->store, crew->role, crew->queue_name) ? 0 : 1;
	if (evsched_max_role_workers > 0)
		lacking = Min(lacking, evsched_max_role_workers - count_of_role(crew->store, crew->role));
	return lacking;
}

static int
count_of_role(EvschedStore store, Oid role)
{
	int			n = 0;

	for (int state = EVSCHED_STAFF_STARTING; state <= EVSCHED_STAFF_LEAVING; state++)
		n += evsched_staff_count(store, role, state);
	return n;
}

/* Asks the postmaster for a worker of a role; false when there is no room for it. */
static bool
hire(EvschedStore store, Oid role)
{
	uint32		generation = 0;
	int			slot = EVSCHED_NO_SLOT;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (is_room(store, role))
		slot = evsched_staff_reserve(store, role);
	if (slot != EVSCHED_NO_SLOT)
		generation = evsched_staff_get(slot)->generation;
	LWLockRelease(evsched_lease_lock);
	if (slot == EVSCHED_NO_SLOT)
		return false;

	if (asked[slot].handle != NULL)
		pfree(asked[slot].handle);
	asked[slot] = (Asked) {NULL, generation};
	if (evsched_worker_launch(slot, generation, &asked[slot].handle))
		return true;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	evsched_staff_release(slot);
	LWLockRelease(evsched_lease_lock);
	asked[slot].handle = NULL;
	return false;
}

static bool
is_room(EvschedStore store, Oid role)
{
	return evsched_staff_count_all() < evsched_max_workers &&
		(evsched_max_role_workers == 0 ||
		 count_of_role(store, role) < evsched_max_role_workers);
}

/*
 * The worker of another role or database that has had nothing to do for the longest time
 * leaves; if all are busy, one of them when it has done its job.
 */
static void
make_room(EvschedStore store, Oid role)
{
	int			longest = EVSCHED_NO_SLOT;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		EvschedStaff *staff = evsched_staff_get(i);

		if (staff->state == EVSCHED_STAFF_IDLE && !is_like(staff, store, role) &&
			(longest == EVSCHED_NO_SLOT || staff->since < evsched_staff_get(longest)->since))
			longest = i;
	}
	if (longest != EVSCHED_NO_SLOT)
	{
		evsched_staff_set_state(longest, EVSCHED_STAFF_LEAVING);
		evsched_staff_wake(longest);
	}
	else if ((longest = longest_busy(store, role)) != EVSCHED_NO_SLOT)
		evsched_staff_get(longest)->last_job = true;
	LWLockRelease(evsched_lease_lock);
}

static bool
is_like(const EvschedStaff *staff, EvschedStore store, Oid role)
{
	return staff->role == role && evsched_store_equal(staff->store, store);
}

/* Of the busy workers of others the oldest, unless one is about to leave already. */
static int
longest_busy(EvschedStore store, Oid role)
{
	int			oldest = EVSCHED_NO_SLOT;

	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		EvschedStaff *staff = evsched_staff_get(i);

		if (staff->state == EVSCHED_STAFF_LEAVING || staff->last_job)
			return EVSCHED_NO_SLOT;
		if (staff->state == EVSCHED_STAFF_BUSY && !is_like(staff, store, role) &&
			(oldest == EVSCHED_NO_SLOT ||
			 staff->hired_at < evsched_staff_get(oldest)->hired_at))
			oldest = i;
	}
	return oldest;
}

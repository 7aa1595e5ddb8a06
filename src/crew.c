/*
 * crew.c
 *		The jobs and calls of one role in one pool, on their way to its workers.
 *
 * A crew is a listener of the pool's queue whose leases are jobs: the scheduler's
 * turn leases them, and from its commit on they wait here, some ahead of need, so
 * that a worker that is through takes the next without asking the scheduler.  And
 * they are calls, of which sessions enter all they have (call.c).
 * A worker serves all pools for its role; of a pool as many run as its size
 * allows.  Calls go before jobs, for somebody waits for the answer; but where a call
 * has just been run, what has waited for the longest time of all crews goes next, so
 * that neither waits for ever.
 *
 * Called by schedulers, workers, sessions that call and commit callbacks, with the
 * lease lock held exclusively; nothing is allocated or raised.
 */
#include "postgres.h"

#include "crew.h"

#include "utils/timestamp.h"

#include "database.h"
#include "guc.h"
#include "mark.h"
#include "pool.h"
#include "queue.h"
#include "staff.h"

/* So many jobs of a pool wait for a worker in memory, beside as many as may run. */
#define JOBS_AHEAD		64

/* A role whose workers do not start waits, at first and at last, µs. */
#define FIRST_DELAY		(100 * INT64CONST(1000))
#define LAST_DELAY		(60 * USECS_PER_SEC)

/* What is to be run next. */
typedef struct Choice
{
	EvschedLease *lease;		/* NULL: nothing */
	int			worker;
	bool		lacking;		/* other things have no worker */
} Choice;

static bool is_of_pool(const EvschedListener *crew, EvschedStore store, const char *pool);
static int	num_jobs(const EvschedListener *crew);
static Choice choose(EvschedStore store, int queue, const char *pool, bool by_age);
static EvschedLease *first_allowed(int slot, bool no_suspect, bool by_age);
static EvschedLease *skip_to_allowed(EvschedLease *lease, bool no_suspect);
static bool comes_before(const EvschedLease *a, const EvschedLease *b, bool by_age);
static void assign(EvschedLease *lease, int worker, const char *pool);

/* The crew of a role, made if need be; EVSCHED_NO_SLOT when there is no slot. */
int
evsched_crew_find(EvschedStore store, int queue, const char *pool, Oid role)
{
	for (int slot = evsched_queue_get(queue)->first_listener; slot != EVSCHED_NO_SLOT;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		if (evsched_listener_get(slot)->role == role &&
			is_of_pool(evsched_listener_get(slot), store, pool))
			return slot;
	}
	return evsched_listener_add_crew(store, queue, pool, role);
}

/* Is it a crew of that store? */
bool
evsched_crew_is(const EvschedListener *listener, EvschedStore store)
{
	return listener->state == EVSCHED_LISTENER_JOINED && listener->crew &&
		evsched_store_equal(listener->store, store);
}

/* How many more jobs of a pool may wait in memory. */
int
evsched_crew_credit(EvschedStore store, int queue, const char *pool)
{
	int			credit = JOBS_AHEAD + evsched_pool_size(pool);

	for (int slot = evsched_queue_get(queue)->first_listener; slot != EVSCHED_NO_SLOT;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		if (is_of_pool(evsched_listener_get(slot), store, pool))
			credit -= num_jobs(evsched_listener_get(slot));
	}
	return Max(credit, 0);
}

/* How many of them may be of that crew; a role that is capped leaves room for others. */
int
evsched_crew_share(const EvschedListener *crew, int64 clock)
{
	int			share = JOBS_AHEAD + evsched_pool_size(crew->queue_name);

	if (crew->start_at > clock)
		return 0;
	if (evsched_max_role_workers > 0)
		share /= 2;
	return Max(share - num_jobs(crew), 0);
}

/* Do so few jobs wait that more are to be handed out? */
bool
evsched_crew_runs_low(const EvschedListener *crew)
{
	return num_jobs(crew) <= JOBS_AHEAD / 4;
}

/* A job or a call that was leased waits for a worker, and may get one at once. */
void
evsched_crew_enqueue(EvschedLease *lease)
{
	EvschedListener *crew = evsched_listener_get(lease->listener);

	evsched_lease_enqueue(lease);
	/* A role that waits is to have a worker, even while others keep its pool full. */
	if (crew->num_queued == 1 &&
		!evsched_staff_serves(crew->store, crew->role, crew->queue_name) &&
		evsched_queue_get(lease->queue)->database != EVSCHED_NO_SLOT)
		evsched_database_want_staff(evsched_queue_get(lease->queue)->database);
	evsched_crew_dispatch(lease->store, lease->queue, crew->queue_name);
}

/* As much of a pool as may run, and for which there is a worker, gets one. */
void
evsched_crew_dispatch(EvschedStore store, int queue, const char *pool)
{
	evsched_crew_go_on(store, queue, pool, false);
}

/*
 * The same where something has just been run.  After a call, the place that it leaves goes
 * to what has waited for the longest time.
 */
void
evsched_crew_go_on(EvschedStore store, int queue, const char *pool, bool call)
{
	int			database = evsched_queue_get(queue)->database;
	int			room = evsched_pool_size(pool) - evsched_staff_running(store, pool);
	bool		by_age = call;
	bool		lacking = false;

	if (database == EVSCHED_NO_SLOT || evsched_database_is_held(database))
		return;
	for (; room > 0; room--)
	{
		Choice		next = choose(store, queue, pool, by_age);

		lacking |= next.lacking;
		if (next.lease == NULL)
			break;
		assign(next.lease, next.worker, pool);
		by_age = false;
	}
	if (room > 0 && lacking)
		evsched_database_want_staff(database);
}

/* The same in all pools in which something of a role waits. */
void
evsched_crew_dispatch_all(EvschedStore store, Oid role)
{
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (evsched_crew_is(crew, store) && crew->role == role && crew->num_queued > 0)
			evsched_crew_dispatch(store, crew->queue, crew->queue_name);
	}
}

/* The same in the pool whose first job or call of the role has waited for the longest time. */
void
evsched_crew_dispatch_oldest(EvschedStore store, Oid role)
{
	EvschedLease *oldest = NULL;

	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);
		EvschedLease *lease;

		if (!evsched_crew_is(crew, store) || crew->role != role || crew->num_queued == 0)
			continue;
		lease = evsched_lease_first_queued(slot);
		if (oldest == NULL || lease->serial < oldest->serial)
			oldest = lease;
	}
	if (oldest != NULL)
		evsched_crew_dispatch(store, oldest->queue,
							  evsched_listener_get(oldest->listener)->queue_name);
}

/* There may be other pools now, of other sizes. */
void
evsched_crew_refit(EvschedStore store)
{
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (!evsched_crew_is(crew, store) || crew->num_queued == 0)
			continue;
		if (evsched_pool_exists(crew->queue_name))
			evsched_crew_dispatch(store, crew->queue, crew->queue_name);
		else
			evsched_crew_recall(crew->queue, crew->queue_name, InvalidOid);
	}
}

/*
 * The jobs that wait for a worker of a role are given back.  Without a role, nothing of the
 * pool is to be run: the jobs of all are given back, and calls, which have nowhere to go, end.
 */
void
evsched_crew_recall(int queue, const char *pool, Oid role)
{
	EvschedLease *lease;
	EvschedLease *next;

	for (int slot = evsched_queue_get(queue)->first_listener; slot != EVSCHED_NO_SLOT;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (!crew->crew || strcmp(crew->queue_name, pool) != 0 ||
			(OidIsValid(role) && crew->role != role))
			continue;
		for (lease = evsched_lease_first_queued(slot); lease != NULL; lease = next)
		{
			next = evsched_lease_next_queued(lease);
			if (lease->kind == EVSCHED_LEASE_JOB)
				evsched_lease_give_back(lease);
			else if (!OidIsValid(role))
				evsched_lease_end(lease);
		}
	}
}

/* A worker of the role has not come up: the next is started later and later. */
void
evsched_crew_delay(EvschedStore store, Oid role, int64 clock)
{
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (!evsched_crew_is(crew, store) || crew->role != role)
			continue;
		crew->start_at = clock + Min(FIRST_DELAY << Min(crew->failures, 20), LAST_DELAY);
		crew->failures++;
		evsched_crew_recall(crew->queue, crew->queue_name, role);
	}
}

/*
 * The roles that have jobs and whose workers do not come up, some of them twice; there is
 * room for evsched_max_listeners.  Returns how many.
 */
int
evsched_crew_list_stalled(EvschedStore store, Oid *roles)
{
	int			n = 0;

	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (evsched_crew_is(crew, store) && crew->failures > 0 &&
			(crew->num_queued > 0 || crew->start_at != 0))
			roles[n++] = crew->role;
	}
	return n;
}

/* How much of what waits with a crew could be begun at once, had it workers; up to max. */
int
evsched_crew_count_ready(int slot, int max)
{
	bool		no_suspect = evsched_staff_runs_suspect(evsched_listener_get(slot)->store);
	EvschedLease *lease = skip_to_allowed(evsched_lease_first_queued(slot), no_suspect);
	int			n = 0;

	while (lease != NULL && n < max)
	{
		n++;
		no_suspect |= lease->suspect;
		lease = skip_to_allowed(evsched_lease_next_queued(lease), no_suspect);
	}
	return n;
}

/* Does anything wait for a worker of a role, be it for its turn? */
bool
evsched_crew_waits(EvschedStore store, Oid role)
{
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListener *crew = evsched_listener_get(slot);

		if (evsched_crew_is(crew, store) && crew->role == role && crew->num_queued > 0)
			return true;
	}
	return false;
}

static bool
is_of_pool(const EvschedListener *crew, EvschedStore store, const char *pool)
{
	return crew->crew && evsched_store_equal(crew->store, store) &&
		strcmp(crew->queue_name, pool) == 0;
}

/* How many jobs wait: only these are leased ahead of need. */
static int
num_jobs(const EvschedListener *crew)
{
	return crew->num_queued - crew->num_calls;
}

/* The first thing for which there is a worker. */
static Choice
choose(EvschedStore store, int queue, const char *pool, bool by_age)
{
	Choice		choice = {0};
	bool		no_suspect = evsched_staff_runs_suspect(store);
	int64		clock = 0;

	for (int slot = evsched_queue_get(queue)->first_listener; slot != EVSCHED_NO_SLOT;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		EvschedListener *crew = evsched_listener_get(slot);
		EvschedLease *lease;
		int			idle;

		if (!is_of_pool(crew, store, pool) || crew->num_queued == 0)
			continue;
		lease = first_allowed(slot, no_suspect, by_age);
		if (lease == NULL ||
			(choice.lease != NULL && comes_before(choice.lease, lease, by_age)))
			continue;
		idle = evsched_staff_find_idle(store, crew->role);
		if (idle == EVSCHED_NO_SLOT)
		{
			if (clock == 0)
				clock = evsched_lease_clock();
			choice.lacking |= crew->start_at <= clock;
			continue;
		}
		choice.lease = lease;
		choice.worker = idle;
	}
	return choice;
}

/* What comes first of a crew, or NULL. */
static EvschedLease *
first_allowed(int slot, bool no_suspect, bool by_age)
{
	EvschedLease *lease = skip_to_allowed(evsched_lease_first_queued(slot), no_suspect);
	EvschedLease *job;

	if (lease == NULL || lease->kind != EVSCHED_LEASE_CALL || !by_age)
		return lease;
	job = skip_to_allowed(evsched_lease_first_job(slot), no_suspect);
	return job != NULL && comes_before(job, lease, by_age) ? job : lease;
}

/*
 * That one, or the next one behind it that may be run now.  Jobs whose last run was lost
 * run one at a time in a database: so the one that kills the server is told from those that
 * were with it.  A call waits for whoever runs something as the slot that it is for.
 */
static EvschedLease *
skip_to_allowed(EvschedLease *lease, bool no_suspect)
{
	while (lease != NULL &&
		   ((no_suspect && lease->suspect) ||
			(lease->kind == EVSCHED_LEASE_CALL &&
			 evsched_staff_has_number(lease->store,
									  evsched_listener_get(lease->listener)->queue_name,
									  lease->number))))
		lease = evsched_lease_next_queued(lease);
	return lease;
}

static bool
comes_before(const EvschedLease *a, const EvschedLease *b, bool by_age)
{
	if (!by_age && a->kind != b->kind)
		return a->kind == EVSCHED_LEASE_CALL;
	return a->serial < b->serial;
}

/* idle -> busy */
static void
assign(EvschedLease *lease, int worker, const char *pool)
{
	EvschedListener *crew = evsched_listener_get(lease->listener);
	EvschedQueue *queue = evsched_queue_get(lease->queue);
	EvschedStaff *staff = evsched_staff_get(worker);

	evsched_lease_dequeue(lease);
	lease->worker = worker;
	lease->pid = staff->pid;
	staff->task = (EvschedTask) {
		.event_id = lease->id,
		.serial = lease->serial,
		.due_at = lease->due_at,
		.recurring = lease->recurring,
		.owner = lease->owner,
		.suspect = lease->suspect,
		.queue = lease->queue,
		.crew = lease->listener,
		.call = lease->kind == EVSCHED_LEASE_CALL,
		.number = lease->kind == EVSCHED_LEASE_CALL ? lease->number :
			evsched_staff_number(lease->store, pool)
	};
	strlcpy(staff->task.pool, pool, sizeof(staff->task.pool));
	staff->run_id = 0;
	staff->started_at = 0;
	staff->stop = EVSCHED_STAFF_NO_STOP;
	evsched_staff_set_state(worker, EVSCHED_STAFF_BUSY);
	evsched_staff_wake(worker);
	if (queue->starving && evsched_crew_runs_low(crew))
	{
		queue->starving = false;
		evsched_queue_touch(lease->queue);
	}
}

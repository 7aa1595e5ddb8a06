/*
 * lease.c
 *		Who holds which delivered event, in shared memory.
 *
 * The scheduler and receive() grant leases while they hold the event's row
 * lock; whoever confirms, rejects or replaces the event ends them in its commit
 * callback.  A lease is found by database, table and id, by its listener, and
 * by its deadline (one pairing heap for each database, so that granting in the
 * order of deadlines and ending from the front are cheap).  Everything is
 * guarded by the lease lock; links are numbers, not pointers.
 */
#include "postgres.h"

#include "lease.h"

#include <time.h>

#include "access/transam.h"
#include "common/hashfn.h"
#include "port/pg_bitutils.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"

#include "crew.h"
#include "database.h"
#include "deadline.h"
#include "guc.h"
#include "listener.h"
#include "mark.h"
#include "queue.h"
#include "shared.h"

typedef struct Leases
{
	int32		first_free;
	int32		num_used;		/* leases ever used stand before it */
	uint64		last_serial;
	int32		num_prepared;	/* leases that hang on prepared transactions */
	int32		heap[EVSCHED_MAX_DATABASES];	/* root, first deadline */
	int64		armed[EVSCHED_MAX_DATABASES];	/* when its scheduler will look */
	/* buckets follow, then the leases */
} Leases;

static Leases *leases;
static int32 *buckets;
static EvschedLease *slots;

static void settle_lease(EvschedLease *lease, bool committed);
static bool runs_low(const EvschedLease *lease);
static uint32 num_buckets(void);
static int32 *bucket_of(EvschedStore store, int64 id);
static int32 take_free(void);
static void heap_insert_lease(int database, int32 n);
static void heap_remove_lease(int database, int32 n);
static void link_to_listener(int32 n);
static void unlink_from_listener(int32 n);

Size
evsched_lease_size(void)
{
	Size		size = MAXALIGN(sizeof(Leases));

	size = add_size(size, MAXALIGN(mul_size(sizeof(int32), num_buckets())));
	return add_size(size, mul_size(sizeof(EvschedLease), evsched_max_leases));
}

void
evsched_lease_attach(void *area, bool found)
{
	char	   *end = area;

	leases = area;
	end += MAXALIGN(sizeof(Leases));
	buckets = (int32 *) end;
	end += MAXALIGN(sizeof(int32) * num_buckets());
	slots = (EvschedLease *) end;
	if (found)
		return;

	leases->first_free = EVSCHED_NO_LEASE;
	leases->num_used = 0;
	leases->num_prepared = 0;
	leases->last_serial = 0;
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		leases->heap[i] = EVSCHED_NO_LEASE;
		leases->armed[i] = PG_INT64_MAX;
	}
	for (uint32 i = 0; i < num_buckets(); i++)
		buckets[i] = EVSCHED_NO_LEASE;
}

/* Deadlines must not move when somebody sets the clock. */
int64
evsched_lease_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * USECS_PER_SEC + ts.tv_nsec / 1000;
}

bool
evsched_lease_exists(EvschedStore store, int64 id)
{
	bool		exists;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	exists = evsched_lease_find(store, id) != NULL;
	LWLockRelease(evsched_lease_lock);
	return exists;
}

/* Is it nobody's yet: not leased, or a job that waits for a worker? */
bool
evsched_lease_waits(EvschedStore store, int64 id)
{
	EvschedLease *lease;
	bool		waits;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	lease = evsched_lease_find(store, id);
	waits = lease == NULL || lease->queued;
	LWLockRelease(evsched_lease_lock);
	return waits;
}

/* The slot of a delivered event's queue; EVSCHED_NO_SLOT: it is not delivered. */
int
evsched_lease_queue(EvschedStore store, int64 id)
{
	EvschedLease *lease;
	int			queue;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	lease = evsched_lease_find(store, id);
	queue = lease != NULL ? lease->queue : EVSCHED_NO_SLOT;
	LWLockRelease(evsched_lease_lock);
	return queue;
}

/* The one behind it, or NULL. */
EvschedLease *
evsched_lease_next_queued(const EvschedLease *lease)
{
	return lease->next_queued == EVSCHED_NO_LEASE ? NULL : &slots[lease->next_queued];
}

/*
 * Is a job of that series with the crews of a pool, waiting for a worker or being run?
 * Awaited, the queue is looked at when one of its leases ends.
 */
bool
evsched_lease_any_of(int queue, int64 recurring, bool await)
{
	EvschedQueue *of = evsched_queue_get(queue);
	bool		any = false;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int crew = of->first_listener; crew != EVSCHED_NO_SLOT && !any;
		 crew = evsched_listener_get(crew)->next_in_ring)
	{
		for (int32 n = evsched_listener_get(crew)->first_lease; n != EVSCHED_NO_LEASE && !any;
			 n = slots[n].next_of_listener)
			any = slots[n].recurring == recurring && evsched_store_equal(slots[n].store, of->store);
	}
	if (any && await)
		of->starving = true;
	LWLockRelease(evsched_lease_lock);
	return any;
}

/* Moves a deadline back, never forth; false when there is no such lease. */
bool
evsched_lease_extend(EvschedStore store, int64 id, int64 deadline)
{
	EvschedLease *lease;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	lease = evsched_lease_find(store, id);
	if (lease != NULL && lease->deadline < deadline)
	{
		lease->pause_ms = 0;
		evsched_lease_set_deadline(lease, deadline);
	}
	LWLockRelease(evsched_lease_lock);
	return lease != NULL;
}

/*
 * Copies leases that are over, first deadline first.  They stay where they are
 * until the events are dealt with; their deadline moves by their pause, which
 * doubles, so that a row locked by a confirm under way is looked at again.
 */
int
evsched_lease_collect_over(int database, int64 clock, EvschedLease *over, int max)
{
	int			n = 0;

	/* Who brings the first deadline forward wakes the scheduler afterwards. */
	if (leases->armed[database] > clock)
		return 0;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	while (n < max && leases->heap[database] != EVSCHED_NO_LEASE)
	{
		EvschedLease *lease = &slots[leases->heap[database]];

		if (lease->deadline > clock)
			break;
		lease->pause_ms = Min(Max(lease->pause_ms * 2, 10), 1000);
		evsched_lease_set_deadline(lease, clock + lease->pause_ms * INT64CONST(1000));
		over[n++] = *lease;
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

/*
 * The first deadline in a database; PG_INT64_MAX when nothing is held.  Its
 * scheduler is woken for any that comes earlier.
 */
int64
evsched_lease_arm(int database)
{
	int64		deadline = PG_INT64_MAX;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (leases->heap[database] != EVSCHED_NO_LEASE)
		deadline = slots[leases->heap[database]].deadline;
	leases->armed[database] = deadline;
	LWLockRelease(evsched_lease_lock);
	return deadline;
}

/* Is anything delivered and unconfirmed in a database? */
bool
evsched_lease_any(int database)
{
	bool		any;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	any = leases->heap[database] != EVSCHED_NO_LEASE;
	LWLockRelease(evsched_lease_lock);
	return any;
}

/* Drops the leases of a store that is gone, or of all others of its database. */
void
evsched_lease_forget(EvschedStore store, bool others)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (uint32 b = 0; b < num_buckets(); b++)
	{
		int32		n = buckets[b];

		while (n != EVSCHED_NO_LEASE)
		{
			int32		next = slots[n].next_in_bucket;

			if (evsched_store_is_meant(slots[n].store, store, others))
				evsched_lease_end(&slots[n]);
			n = next;
		}
	}
	LWLockRelease(evsched_lease_lock);
}

/*
 * A prepared transaction of this database has just been finished: does what it
 * would have done in its own callback.
 */
void
evsched_lease_settle_prepared(EvschedStore store)
{
	EvschedLease *list;
	int			n;

	if (leases->num_prepared == 0)
		return;
	n = evsched_lease_list(store, &list);
	for (int i = 0; i < n; i++)
	{
		TransactionId xid = list[i].prepared;
		bool		committed;
		EvschedLease *lease;

		if (!TransactionIdIsValid(xid) || TransactionIdIsInProgress(xid))
			continue;
		committed = TransactionIdDidCommit(xid);
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		lease = evsched_lease_find(store, list[i].id);
		if (lease != NULL && lease->prepared == xid)
			settle_lease(lease, committed);
		LWLockRelease(evsched_lease_lock);
	}
}

/* Copies all leases of a store into palloc'd memory; returns how many. */
int
evsched_lease_list(EvschedStore store, EvschedLease **list)
{
	int			n = 0;
	int			max;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	max = leases->num_used;
	LWLockRelease(evsched_lease_lock);

	*list = palloc_extended(sizeof(EvschedLease) * Max(max, 1), MCXT_ALLOC_HUGE);
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (uint32 b = 0; b < num_buckets(); b++)
	{
		for (int32 i = buckets[b]; i != EVSCHED_NO_LEASE && n < max; i = slots[i].next_in_bucket)
		{
			if (evsched_store_equal(slots[i].store, store))
				(*list)[n++] = slots[i];
		}
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

EvschedLease *
evsched_lease_find(EvschedStore store, int64 id)
{
	int32		n = *bucket_of(store, id);

	while (n != EVSCHED_NO_LEASE &&
		   !(slots[n].id == id && evsched_store_equal(slots[n].store, store)))
		n = slots[n].next_in_bucket;
	return n == EVSCHED_NO_LEASE ? NULL : &slots[n];
}

bool
evsched_lease_table_full(void)
{
	return leases->first_free == EVSCHED_NO_LEASE && leases->num_used == evsched_max_leases;
}

/*
 * Enters a copy of the lease; NULL when there is one already, or no room.
 */
EvschedLease *
evsched_lease_grant(const EvschedLease *lease)
{
	EvschedQueue *queue = evsched_queue_get(lease->queue);
	int32	   *bucket = bucket_of(lease->store, lease->id);
	int32		n;

	if (evsched_lease_find(lease->store, lease->id) != NULL)
		return NULL;
	n = take_free();
	if (n == EVSCHED_NO_LEASE)
		return NULL;

	slots[n] = *lease;
	slots[n].pause_ms = 0;
	slots[n].worker = EVSCHED_NO_SLOT;
	slots[n].queued = false;
	slots[n].dismissed = false;
	slots[n].serial = ++leases->last_serial;
	slots[n].next_in_bucket = *bucket;
	*bucket = n;
	queue->num_leases++;
	heap_insert_lease(queue->database, n);
	if (lease->listener != EVSCHED_NO_SLOT)
		link_to_listener(n);
	return &slots[n];
}

/* Takes a lease out: credit goes back, and a starving queue is looked at. */
void
evsched_lease_end(EvschedLease *lease)
{
	int32		n = lease - slots;
	EvschedQueue *queue = evsched_queue_get(lease->queue);
	int32	   *link = bucket_of(lease->store, lease->id);

	while (*link != n)
		link = &slots[*link].next_in_bucket;
	*link = lease->next_in_bucket;

	heap_remove_lease(queue->database, n);
	if (lease->queued)
		evsched_lease_dequeue(lease);
	if (lease->listener != EVSCHED_NO_SLOT)
		unlink_from_listener(n);
	queue->num_leases--;
	if (TransactionIdIsValid(lease->prepared))
		leases->num_prepared--;
	lease->next_in_bucket = leases->first_free;
	leases->first_free = n;

	/* Nobody may have begun it: then nobody else tells who waits for it. */
	if (lease->kind == EVSCHED_LEASE_CALL)
		SetLatch(&ProcGlobal->allProcs[lease->procno].procLatch);
	if (lease->dismissed)
		evsched_mark_note_slot(lease->queue, EVSCHED_PLACE_FIRST);
	if (queue->starving && (lease->kind != EVSCHED_LEASE_JOB || runs_low(lease)))
	{
		queue->starving = false;
		evsched_queue_touch(lease->queue);
	}
}

/*
 * Somebody else has removed or moved the event: the lease is over, but for a run under
 * way, which keeps it until it is over itself; then the event is looked at again.
 */
void
evsched_lease_dismiss(EvschedLease *lease)
{
	if (lease->worker == EVSCHED_NO_SLOT)
		evsched_lease_end(lease);
	else
		lease->dismissed = true;
}

/* It waits for a worker, behind others of its crew; a call before all jobs. */
void
evsched_lease_enqueue(EvschedLease *lease)
{
	int32		n = lease - slots;
	EvschedListener *crew = evsched_listener_get(lease->listener);
	bool		call = lease->kind == EVSCHED_LEASE_CALL;
	int32		before = call ? crew->last_call : crew->last_queued;
	int32	   *next = before == EVSCHED_NO_LEASE ? &crew->first_queued : &slots[before].next_queued;

	lease->queued = true;
	lease->prev_queued = before;
	lease->next_queued = *next;
	if (*next == EVSCHED_NO_LEASE)
		crew->last_queued = n;
	else
		slots[*next].prev_queued = n;
	*next = n;
	crew->num_queued++;
	if (call)
	{
		crew->last_call = n;
		crew->num_calls++;
	}
}

/* It does so no longer. */
void
evsched_lease_dequeue(EvschedLease *lease)
{
	EvschedListener *crew = evsched_listener_get(lease->listener);

	lease->queued = false;
	if (lease->prev_queued == EVSCHED_NO_LEASE)
		crew->first_queued = lease->next_queued;
	else
		slots[lease->prev_queued].next_queued = lease->next_queued;
	if (lease->next_queued == EVSCHED_NO_LEASE)
		crew->last_queued = lease->prev_queued;
	else
		slots[lease->next_queued].prev_queued = lease->prev_queued;
	crew->num_queued--;
	if (lease->kind != EVSCHED_LEASE_CALL)
		return;
	/* Before a call there is nothing but calls. */
	if (crew->last_call == lease - slots)
		crew->last_call = lease->prev_queued;
	crew->num_calls--;
}

/* What comes first of what waits with a crew, a call or else a job; or NULL. */
EvschedLease *
evsched_lease_first_queued(int crew)
{
	int32		n = evsched_listener_get(crew)->first_queued;

	return n == EVSCHED_NO_LEASE ? NULL : &slots[n];
}

/* The job of a crew that has waited for the longest time, or NULL. */
EvschedLease *
evsched_lease_first_job(int crew)
{
	int32		n = evsched_listener_get(crew)->last_call;

	return n == EVSCHED_NO_LEASE ? evsched_lease_first_queued(crew) :
		evsched_lease_next_queued(&slots[n]);
}

void
evsched_lease_set_deadline(EvschedLease *lease, int64 deadline)
{
	int			database = evsched_queue_get(lease->queue)->database;
	int32		n = lease - slots;

	heap_remove_lease(database, n);
	lease->deadline = deadline;
	heap_insert_lease(database, n);
}

/* The holder is gone: the lease is over, and nobody's until it is dealt with. */
void
evsched_lease_orphan(EvschedLease *lease)
{
	unlink_from_listener(lease - slots);
	lease->listener = EVSCHED_NO_SLOT;
	evsched_lease_set_deadline(lease, 0);
}

/* What a listener was granted last, at that time, begins to run only now. */
void
evsched_lease_restart(int listener, int64 granted_at, int64 clock)
{
	EvschedLease *lease = evsched_lease_of_listener(listener);

	/* The last one granted is the first on the list. */
	while (lease != NULL && lease->granted_at == granted_at)
	{
		lease->granted_at = clock;
		evsched_lease_set_deadline(lease, lease->deadline + (clock - granted_at));
		lease = lease->next_of_listener == EVSCHED_NO_LEASE ? NULL : &slots[lease->next_of_listener];
	}
}

/* Ends a lease as if it had never been: the event is available again. */
void
evsched_lease_give_back(EvschedLease *lease)
{
	EvschedPlace place = {lease->due_at, lease->id};
	int			queue = lease->queue;

	/* First the lease, then the mark: a scan that saw the lease is told. */
	evsched_lease_end(lease);
	evsched_mark_note_slot(queue, place);
}

/* A row locked while its lease ran out is free: the scheduler looks again. */
void
evsched_lease_look_again(EvschedLease *lease)
{
	if (lease->pause_ms == 0)
		return;
	evsched_lease_set_deadline(lease, 0);
}

/* The transaction that is to end it, or has granted it, is prepared. */
void
evsched_lease_prepare(EvschedLease *lease, TransactionId xid, bool grant)
{
	if (!TransactionIdIsValid(lease->prepared))
		leases->num_prepared++;
	lease->prepared = xid;
	lease->prepared_grant = grant;
}

/* The first lease of a listener, or NULL. */
EvschedLease *
evsched_lease_of_listener(int listener)
{
	int32		n = evsched_listener_get(listener)->first_lease;

	return n == EVSCHED_NO_LEASE ? NULL : &slots[n];
}

/* The transaction on which a lease hung is over. */
static void
settle_lease(EvschedLease *lease, bool committed)
{
	leases->num_prepared--;
	lease->prepared = InvalidTransactionId;
	if (lease->prepared_grant && !committed)
		evsched_lease_give_back(lease);
	else if (!lease->prepared_grant && committed)
		evsched_lease_dismiss(lease);
	else
		evsched_lease_look_again(lease);
}

/* Do so few jobs wait with this one's crew that more are to be handed out? */
static bool
runs_low(const EvschedLease *lease)
{
	return lease->listener == EVSCHED_NO_SLOT ||
		evsched_crew_runs_low(evsched_listener_get(lease->listener));
}

static uint32
num_buckets(void)
{
	return pg_nextpower2_32(Max(evsched_max_leases, 16));
}

static int32 *
bucket_of(EvschedStore store, int64 id)
{
	uint32		hash = murmurhash32((uint32) id ^ (uint32) (id >> 32) ^ store.table);

	return &buckets[hash & (num_buckets() - 1)];
}

static int32
take_free(void)
{
	int32		n = leases->first_free;

	if (n != EVSCHED_NO_LEASE)
		leases->first_free = slots[n].next_in_bucket;
	else if (leases->num_used < evsched_max_leases)
		n = leases->num_used++;
	return n;
}

static void
heap_insert_lease(int database, int32 n)
{
	leases->heap[database] = evsched_deadline_insert(slots, leases->heap[database], n);
	if (slots[n].deadline < leases->armed[database])
	{
		leases->armed[database] = slots[n].deadline;
		evsched_database_wake(database);
	}
}

static void
heap_remove_lease(int database, int32 n)
{
	leases->heap[database] = evsched_deadline_remove(slots, leases->heap[database], n);
}

static void
link_to_listener(int32 n)
{
	EvschedListener *listener = evsched_listener_get(slots[n].listener);

	slots[n].prev_of_listener = EVSCHED_NO_LEASE;
	slots[n].next_of_listener = listener->first_lease;
	if (listener->first_lease != EVSCHED_NO_LEASE)
		slots[listener->first_lease].prev_of_listener = n;
	listener->first_lease = n;
	listener->unconfirmed++;
	listener->unconfirmed_bytes += slots[n].bytes;
}

static void
unlink_from_listener(int32 n)
{
	EvschedLease *lease = &slots[n];
	EvschedListener *listener = evsched_listener_get(lease->listener);

	if (lease->prev_of_listener == EVSCHED_NO_LEASE)
		listener->first_lease = lease->next_of_listener;
	else
		slots[lease->prev_of_listener].next_of_listener = lease->next_of_listener;
	if (lease->next_of_listener != EVSCHED_NO_LEASE)
		slots[lease->next_of_listener].prev_of_listener = lease->prev_of_listener;
	listener->unconfirmed--;
	listener->unconfirmed_bytes -= lease->bytes;
	if (listener->unconfirmed == 0)
		evsched_listener_emptied(lease->listener);
}

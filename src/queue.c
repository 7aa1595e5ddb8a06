/*
 * queue.c
 *		The queues in shared memory: who has which slot, and which of them
 *		have something to do.
 *
 * Every process calls it.  Which slot is whose is guarded by the directory
 * lock, the list of queues with something to do by the spinlock of their
 * database; what the marks in a slot mean says mark.c.  resolve and touch may be
 * called in commit callbacks: nothing is allocated or raised there.
 */
#include "postgres.h"

#include "queue.h"

#include "common/hashfn.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "database.h"
#include "guc.h"
#include "lease.h"
#include "pool.h"
#include "shared.h"
#include "stat.h"

/* How often all slots may be looked through for one to reuse. */
#define SWEEP_PAUSE_MS		1000

typedef struct Queues
{
	/* directory lock */
	int			num_used;		/* slots ever used stand before it */
	int64		swept_at;		/* monotonic */
	/* buckets follow, then the slots; see the pointers below */
} Queues;

/* What this process has looked up. */
typedef struct CacheKey
{
	EvschedStore store;
	char		name[EVSCHED_QUEUE_BYTES + 1];
} CacheKey;

typedef struct CacheEntry
{
	CacheKey	key;
	EvschedQueueRef ref;
} CacheEntry;

static Queues *queues;
static int *buckets;
static EvschedQueue *slots;
static HTAB *cache;

static int	find_slot(EvschedStore store, const char *name);
static EvschedQueueRef make_slot(EvschedStore store, const char *name);
static int	free_slot(int database);
static bool is_busy(EvschedQueue *queue);
static bool close_slot(EvschedQueue *queue);
static void vacate_slot(int slot);
static void occupy_slot(int slot, EvschedStore store, const char *name, int database);
static int *bucket_of(EvschedStore store, const char *name);
static bool ref_is_current(EvschedQueueRef ref);

/* One slot for each queue, and one for each database that the rest share. */
int
evsched_queue_slots(void)
{
	return evsched_max_queues + EVSCHED_MAX_DATABASES;
}

Size
evsched_queue_size(void)
{
	Size		size = MAXALIGN(sizeof(Queues));

	size = add_size(size, MAXALIGN(mul_size(sizeof(int), evsched_max_queues)));
	return add_size(size, mul_size(sizeof(EvschedQueue), evsched_queue_slots()));
}

void
evsched_queue_attach(void *area, bool found)
{
	char	   *end = area;

	queues = area;
	end += MAXALIGN(sizeof(Queues));
	buckets = (int *) end;
	end += MAXALIGN(sizeof(int) * evsched_max_queues);
	slots = (EvschedQueue *) end;
	if (found)
		return;

	memset(area, 0, evsched_queue_size());
	for (int i = 0; i < evsched_max_queues; i++)
		buckets[i] = EVSCHED_NO_SLOT;
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		SpinLockInit(&slots[i].mutex);
		slots[i].database = i < evsched_max_queues ? EVSCHED_NO_SLOT : i - evsched_max_queues;
		slots[i].wake = EVSCHED_PLACE_FIRST;
	}
}

/* Is it the queue's slot, or one that it shares? */
bool
evsched_queue_is_in(EvschedStore store, const char *name, int slot)
{
	int			own;

	if (strcmp(slots[slot].name, name) == 0)
		return true;
	if (!evsched_queue_is_shared(&slots[slot]))
		return false;
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	own = find_slot(store, name);
	LWLockRelease(evsched_directory_lock);
	return own == EVSCHED_NO_SLOT;
}

EvschedQueue *
evsched_queue_get(int slot)
{
	Assert(slot >= 0 && slot < evsched_queue_slots());
	return &slots[slot];
}

/* Copies the name of the queue in a slot; false where several share it. */
bool
evsched_queue_copy_name(int slot, char *name)
{
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	strlcpy(name, slots[slot].name, EVSCHED_QUEUE_BYTES + 1);
	LWLockRelease(evsched_directory_lock);
	return name[0] != '\0';
}

/* There may be events for all listeners of the queue. */
void
evsched_queue_set_for_all(int slot)
{
	EvschedQueue *queue = &slots[slot];

	SpinLockAcquire(&queue->mutex);
	queue->for_all = true;
	queue->for_all_anew = true;
	SpinLockRelease(&queue->mutex);
}

/* May there be any?  To be asked before the snapshot with which they are looked for. */
bool
evsched_queue_begin_for_all(int slot)
{
	EvschedQueue *queue = &slots[slot];
	bool		for_all;

	SpinLockAcquire(&queue->mutex);
	for_all = queue->for_all;
	queue->for_all_anew = false;
	SpinLockRelease(&queue->mutex);
	return for_all;
}

/* None was found, and so there are none but those that were entered since. */
void
evsched_queue_end_for_all(int slot)
{
	EvschedQueue *queue = &slots[slot];

	SpinLockAcquire(&queue->mutex);
	queue->for_all = queue->for_all_anew;
	SpinLockRelease(&queue->mutex);
}

/*
 * Since when what falls due in a queue may be handed out: the server has been up, and
 * the queue was not halted.  Of queues that share a slot only the former is known.
 */
TimestampTz
evsched_queue_served_since(int slot)
{
	TimestampTz resumed_at;

	if (slot == EVSCHED_NO_SLOT)
		return DT_NOBEGIN;
	SpinLockAcquire(&slots[slot].mutex);
	resumed_at = slots[slot].resumed_at;
	SpinLockRelease(&slots[slot].mutex);
	return Max(resumed_at, evsched_database_get(slots[slot].database)->up_since);
}

/* A turn has found that the queue is halted, or is not. */
void
evsched_queue_set_halted(int slot, bool halted)
{
	EvschedQueue *queue = &slots[slot];
	TimestampTz now = GetCurrentTimestamp();

	if (evsched_queue_is_shared(queue))
		return;
	SpinLockAcquire(&queue->mutex);
	if (halted)
		queue->resumed_at = DT_NOEND;
	else if (queue->resumed_at == DT_NOEND)
		queue->resumed_at = now;
	SpinLockRelease(&queue->mutex);
}

bool
evsched_queue_is_shared(const EvschedQueue *queue)
{
	return queue - slots >= evsched_max_queues;
}

/*
 * The slot of a queue, given one when it has none: its own or, when all are in
 * use, the one that the rest of its database share.  EVSCHED_NO_SLOT when even
 * the database has none.
 */
EvschedQueueRef
evsched_queue_find(EvschedStore store, const char *name)
{
	CacheKey	key;
	CacheEntry *entry;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.store = store;
	strlcpy(key.name, name, sizeof(key.name));
	if (cache == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(CacheKey), .entrysize = sizeof(CacheEntry),
		.hcxt = TopMemoryContext};

		cache = hash_create("evsched queues", 32, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(cache, &key, HASH_FIND, NULL);
	if (entry != NULL && ref_is_current(entry->ref))
		return entry->ref;

	/* Thousands of names a session: start again rather than grow for ever. */
	if (entry == NULL && hash_get_num_entries(cache) > 2 * evsched_max_queues)
	{
		hash_destroy(cache);
		cache = NULL;
		return evsched_queue_find(store, name);
	}
	entry = hash_search(cache, &key, HASH_ENTER, &found);
	entry->ref.slot = EVSCHED_NO_SLOT;
	entry->ref = make_slot(store, name);
	return entry->ref;
}

/*
 * The slot of a queue by a reference that may be stale: its own, else the one that
 * the rest of its database share; EVSCHED_NO_SLOT when nobody cares about it.
 */
int
evsched_queue_resolve(EvschedQueueRef ref, EvschedStore store, const char *name)
{
	int			slot;
	int			database;

	if (ref_is_current(ref))
		return ref.slot;
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	slot = find_slot(store, name);
	LWLockRelease(evsched_directory_lock);
	if (slot != EVSCHED_NO_SLOT)
		return slot;
	database = evsched_database_find(store.database, false);
	return database == EVSCHED_NO_SLOT ? EVSCHED_NO_SLOT : evsched_max_queues + database;
}

/* Calls a function for every slot of a store. */
void
evsched_queue_for_each(EvschedStore store, void (*visit) (int slot))
{
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		if (evsched_store_equal(slots[i].store, store))
			visit(i);
	}
	LWLockRelease(evsched_directory_lock);
}

/* Puts a queue on the list of its scheduler and wakes it. */
void
evsched_queue_touch(int slot)
{
	EvschedQueue *queue = &slots[slot];
	EvschedDatabase *db;
	bool		was_dirty;

	if (queue->database == EVSCHED_NO_SLOT)
		return;					/* its database is gone */
	db = evsched_database_get(queue->database);
	SpinLockAcquire(&db->mutex);
	was_dirty = queue->dirty;
	if (!was_dirty)
	{
		queue->dirty = true;
		queue->next_dirty = db->first_dirty;
		db->first_dirty = slot;
	}
	SpinLockRelease(&db->mutex);
	if (!was_dirty)
		evsched_database_wake(queue->database);
}

/* Takes a queue off the list of the scheduler; EVSCHED_NO_SLOT at its end. */
int
evsched_queue_next_dirty(int database)
{
	EvschedDatabase *db = evsched_database_get(database);
	int			slot;

	SpinLockAcquire(&db->mutex);
	slot = db->first_dirty;
	if (slot != EVSCHED_NO_SLOT)
	{
		db->first_dirty = slots[slot].next_dirty;
		slots[slot].dirty = false;
	}
	SpinLockRelease(&db->mutex);
	return slot;
}

/*
 * Frees the queues of a store that is gone, or of all others of its database; to
 * be called by its scheduler, when leases and listeners are gone.
 */
void
evsched_queue_forget(EvschedStore store, bool others)
{
	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		if (evsched_store_is_meant(slots[i].store, store, others))
			vacate_slot(i);
	}
	LWLockRelease(evsched_directory_lock);
}

/*
 * Gives up the slot of a database; its queues' slots are for all others from now
 * on.  Unless it is gone, only where no queue is used and nobody asks for it.
 */
void
evsched_queue_release(int database, bool gone)
{
	bool		used = false;

	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		if (slots[i].store.database == InvalidOid || slots[i].database != database)
			continue;
		used = true;
		if (gone)
			vacate_slot(i);
	}
	if (gone || (!used && !evsched_database_is_asked_for(database)))
	{
		for (int i = 0; i < queues->num_used; i++)
		{
			if (slots[i].database != database)
				continue;
			slots[i].database = EVSCHED_NO_SLOT;
			slots[i].dirty = false;
		}
		slots[evsched_max_queues + database].dirty = false;
		evsched_database_vacate(database);
	}
	LWLockRelease(evsched_directory_lock);
}

/* Under the directory lock: the queue's own slot, or EVSCHED_NO_SLOT. */
static int
find_slot(EvschedStore store, const char *name)
{
	int			slot = *bucket_of(store, name);

	while (slot != EVSCHED_NO_SLOT &&
		   !(evsched_store_equal(slots[slot].store, store) &&
			 strcmp(slots[slot].name, name) == 0))
		slot = slots[slot].next_in_bucket;
	return slot;
}

/*
 * The queue's slot, made if need be, else the one that the rest share.  It may be
 * given away as soon as the lock is released; then the reference is stale.
 */
static EvschedQueueRef
make_slot(EvschedStore store, const char *name)
{
	EvschedQueueRef ref = {EVSCHED_NO_SLOT, 0};
	int			database;
	int			shared;
	int			slot;

	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	database = evsched_database_find_locked(store.database, true);
	if (database == EVSCHED_NO_SLOT)
	{
		LWLockRelease(evsched_directory_lock);
		return ref;
	}
	shared = evsched_max_queues + database;
	if (slots[shared].store.database == InvalidOid ||
		!evsched_store_equal(slots[shared].store, store))
		occupy_slot(shared, store, "", database);

	slot = find_slot(store, name);
	if (slot == EVSCHED_NO_SLOT)
	{
		/* Who has joined, or holds a lease, is known by this slot: stay there. */
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		if (!is_busy(&slots[shared]))
			slot = free_slot(database);
		LWLockRelease(evsched_lease_lock);
		if (slot != EVSCHED_NO_SLOT)
		{
			int		   *bucket = bucket_of(store, name);

			occupy_slot(slot, store, name, database);
			slots[slot].next_in_bucket = *bucket;
			*bucket = slot;
			/* Nobody joins a pool: its scheduler looks at it anyway. */
			if (evsched_pool_exists(name))
				evsched_queue_touch(slot);
		}
	}
	ref.slot = slot == EVSCHED_NO_SLOT ? shared : slot;
	ref.generation = slots[ref.slot].generation;
	LWLockRelease(evsched_directory_lock);
	return ref;
}

/*
 * Under both locks: a slot that nobody needs.  A queue that is empty and has
 * neither listeners nor leases loses nothing but its mark, and the counters of
 * its own.  A slot stays with
 * its database, on whose list it may still be, while that exists.
 */
static int
free_slot(int database)
{
	int64		now;
	int			found = EVSCHED_NO_SLOT;

	if (queues->num_used < evsched_max_queues)
		return queues->num_used++;

	now = evsched_lease_clock();
	if (now - queues->swept_at < SWEEP_PAUSE_MS * INT64CONST(1000))
		return EVSCHED_NO_SLOT;
	for (int i = 0; i < evsched_max_queues; i++)
	{
		EvschedQueue *queue = &slots[i];

		if (queue->store.database != InvalidOid && close_slot(queue))
			vacate_slot(i);
		if (queue->store.database == InvalidOid &&
			(queue->database == database || queue->database == EVSCHED_NO_SLOT))
			found = i;
	}
	if (found == EVSCHED_NO_SLOT)
		queues->swept_at = now;
	return found;
}

/* Under the lease lock: is anybody known by this slot? */
static bool
is_busy(EvschedQueue *queue)
{
	bool		busy;

	SpinLockAcquire(&queue->mutex);
	busy = queue->in_turn || queue->receivers > 0 || queue->deleters > 0;
	SpinLockRelease(&queue->mutex);
	return busy || queue->num_listeners > 0 || queue->num_leases > 0;
}

/*
 * Under both locks: if nobody needs the slot, its generation ends, in the same
 * moment: whoever announces something in it later, by a reference found before,
 * announces nothing.
 */
static bool
close_slot(EvschedQueue *queue)
{
	bool		idle;

	SpinLockAcquire(&queue->mutex);
	idle = !queue->in_turn && queue->receivers == 0 && queue->deleters == 0 &&
		queue->num_listeners == 0 && queue->num_leases == 0 && !queue->for_all &&
		!evsched_place_before(queue->low, EVSCHED_PLACE_NEVER);
	if (idle)
		queue->generation++;
	SpinLockRelease(&queue->mutex);
	return idle;
}

/* Under the directory lock: nobody has this slot any more. */
static void
vacate_slot(int slot)
{
	EvschedQueue *queue = &slots[slot];

	if (!evsched_queue_is_shared(queue))
	{
		int		   *link = bucket_of(queue->store, queue->name);

		while (*link != slot)
			link = &slots[*link].next_in_bucket;
		*link = queue->next_in_bucket;
	}
	evsched_stat_move_out(slot, evsched_max_queues + queue->database);

	SpinLockAcquire(&queue->mutex);
	queue->store = (EvschedStore) {InvalidOid, InvalidOid};
	queue->generation++;
	SpinLockRelease(&queue->mutex);
}

/* Under the directory lock: a queue of which nothing is known moves in. */
static void
occupy_slot(int slot, EvschedStore store, const char *name, int database)
{
	EvschedQueue *queue = &slots[slot];

	SpinLockAcquire(&queue->mutex);
	queue->store = store;
	strlcpy(queue->name, name, sizeof(queue->name));
	queue->database = database;
	queue->generation++;
	queue->low = EVSCHED_PLACE_FIRST;
	queue->wake = EVSCHED_PLACE_FIRST;
	queue->in_turn = false;
	queue->receivers = 0;
	queue->deleters = 0;
	queue->awaited = false;
	queue->for_all = false;
	queue->for_all_anew = false;
	queue->resumed_at = 0;
	for (int i = 0; i < EVSCHED_QUEUE_EPOCHS; i++)
		queue->fresh[i] = EVSCHED_PLACE_LAST;
	SpinLockRelease(&queue->mutex);

	queue->first_listener = EVSCHED_NO_SLOT;
	queue->last_listener = EVSCHED_NO_SLOT;
	queue->num_listeners = 0;
	queue->num_leases = 0;
	queue->starving = false;
	queue->told = EVSCHED_NO_SLOT;
	evsched_stat_move_in(slot, evsched_max_queues + database, store, name);
}

static int *
bucket_of(EvschedStore store, const char *name)
{
	uint32		hash = hash_combine(hash_bytes((const unsigned char *) name, strlen(name)),
									hash_bytes_uint32(store.database ^ store.table));

	return &buckets[hash % evsched_max_queues];
}

/* Is it the queue's own slot, and still so? */
static bool
ref_is_current(EvschedQueueRef ref)
{
	return ref.slot != EVSCHED_NO_SLOT &&
		ref.slot < evsched_max_queues &&
		slots[ref.slot].generation == ref.generation;
}


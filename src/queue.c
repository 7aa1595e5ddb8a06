/*
 * queue.c
 *		The queues in shared memory: where their first event stands, and
 *		when the scheduler wants to be woken for them.
 *
 * Every process calls it.  Which slot is whose is guarded by the directory
 * lock, the marks by the spinlock of the queue, the list of queues with
 * something to do by that of the database.  note, touch and their like run in
 * commit callbacks: no memory is allocated and nothing is raised there.
 *
 * The mark `low` says that nothing available stands before it: rows there are
 * dead, delivered, or deleted by an open transaction of a process that lowers
 * the mark again should it abort.  Who makes a row available lowers it; a scan
 * may raise it, but not past what was noted since the scan began: what was
 * committed after its snapshot it cannot have seen.  For that, a scan opens an
 * epoch before it takes its snapshot, and each epoch remembers the first place
 * noted in it.
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
#include "shared.h"

/* How often all slots may be looked through for one to reuse. */
#define SWEEP_PAUSE_MS		1000

typedef struct Queues
{
	/* directory lock */
	int			num_used;		/* slots ever used stand before it */
	TimestampTz swept_at;
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
static int	make_slot(EvschedStore store, const char *name);
static int	free_slot(int database);
static void vacate_slot(int slot);
static void occupy_slot(int slot, EvschedStore store, const char *name, int database);
static int *bucket_of(EvschedStore store, const char *name);
static bool ref_is_current(EvschedQueueRef ref, EvschedStore store, const char *name);
static EvschedPlace noted_since(const EvschedQueue *queue, uint32 epoch);

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
		SpinLockInit(&slots[i].mutex);
}

EvschedQueue *
evsched_queue_get(int slot)
{
	Assert(slot >= 0 && slot < evsched_queue_slots());
	return &slots[slot];
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
	if (entry != NULL && ref_is_current(entry->ref, store, name))
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
	entry->ref.slot = make_slot(store, name);
	if (entry->ref.slot != EVSCHED_NO_SLOT)
		entry->ref.generation = slots[entry->ref.slot].generation;
	return entry->ref;
}

/*
 * Something at this place is available from now on: lowers the mark, and wakes
 * the scheduler when that is before what it waits for.
 */
void
evsched_queue_note(EvschedQueueRef ref, EvschedStore store, const char *name,
				   EvschedPlace place)
{
	if (!ref_is_current(ref, store, name))
	{
		int			slot;

		LWLockAcquire(evsched_directory_lock, LW_SHARED);
		slot = find_slot(store, name);
		LWLockRelease(evsched_directory_lock);
		if (slot == EVSCHED_NO_SLOT)
		{
			int			database = evsched_database_find(store.database, false);

			if (database == EVSCHED_NO_SLOT)
				return;
			slot = evsched_max_queues + database;
		}
		ref.slot = slot;
	}
	evsched_queue_note_slot(ref.slot, place);
}

/* The same for a slot that something keeps from being given away. */
void
evsched_queue_note_slot(int slot, EvschedPlace place)
{
	EvschedQueue *queue = &slots[slot];
	EvschedPlace *fresh;
	bool		wake;

	SpinLockAcquire(&queue->mutex);
	fresh = &queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS];
	*fresh = evsched_place_min(*fresh, place);
	queue->low = evsched_place_min(queue->low, place);
	wake = evsched_place_before(place, queue->wake);
	if (wake)
		queue->wake = EVSCHED_PLACE_FIRST;	/* the next one need not */
	SpinLockRelease(&queue->mutex);
	if (wake)
		evsched_queue_touch(slot);
}

/* Every queue of the store may have got anything. */
void
evsched_queue_note_all(EvschedStore store)
{
	int			database = evsched_database_find(store.database, false);
	int			num_used;

	if (database == EVSCHED_NO_SLOT)
		return;
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	num_used = queues->num_used;
	for (int i = 0; i < num_used; i++)
	{
		if (evsched_store_equal(slots[i].store, store))
			evsched_queue_note_slot(i, EVSCHED_PLACE_FIRST);
	}
	LWLockRelease(evsched_directory_lock);
	evsched_queue_note_slot(evsched_max_queues + database, EVSCHED_PLACE_FIRST);
}

/* Opens a scan; to be called before the scan's snapshot is taken. */
void
evsched_queue_begin_scan(int slot, EvschedScanMark *mark)
{
	EvschedQueue *queue = &slots[slot];
	EvschedPlace *fresh;

	SpinLockAcquire(&queue->mutex);
	fresh = &queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS];
	if (evsched_place_before(*fresh, EVSCHED_PLACE_LAST))
	{
		queue->epoch++;
		queue->fresh[queue->epoch % EVSCHED_QUEUE_EPOCHS] = EVSCHED_PLACE_LAST;
	}
	mark->epoch = queue->epoch;
	mark->low = queue->low;
	SpinLockRelease(&queue->mutex);

	/* Nobody knows the first place of all the queues that share a slot. */
	if (evsched_queue_is_shared(queue))
		mark->low = EVSCHED_PLACE_FIRST;
}

/*
 * A scan has seen that nothing available stands before this place: raises the
 * mark, but never past what was noted since the scan began.
 */
void
evsched_queue_raise(int slot, const EvschedScanMark *mark, EvschedPlace low)
{
	EvschedQueue *queue = &slots[slot];

	SpinLockAcquire(&queue->mutex);
	low = evsched_place_min(low, noted_since(queue, mark->epoch));
	if (evsched_place_before(queue->low, low))
		queue->low = low;
	SpinLockRelease(&queue->mutex);
}

/*
 * Opens a scan of the scheduler, which need not be woken during its turn.
 * Serving, it will grant leases: false when it must first wait for calls of take
 * that do not look for them; the last of these will touch the queue.
 */
bool
evsched_queue_begin_turn(int slot, bool serving, EvschedScanMark *mark)
{
	EvschedQueue *queue = &slots[slot];

	SpinLockAcquire(&queue->mutex);
	queue->wake = EVSCHED_PLACE_FIRST;
	if (serving && queue->deleters > 0)
		queue->awaited = true;
	else
		queue->in_turn = serving;
	serving = serving && !queue->in_turn;
	SpinLockRelease(&queue->mutex);
	evsched_queue_begin_scan(slot, mark);
	return !serving;
}

/*
 * Ends a scan of the scheduler, which will wait for what comes before `wake`.
 * False when such a thing has come already: then look again.
 */
bool
evsched_queue_end_turn(int slot, const EvschedScanMark *mark,
					   EvschedPlace low, EvschedPlace wake)
{
	EvschedQueue *queue = &slots[slot];
	EvschedPlace noted;
	bool		rest;

	SpinLockAcquire(&queue->mutex);
	queue->in_turn = false;
	noted = noted_since(queue, mark->epoch);
	low = evsched_place_min(low, noted);
	if (evsched_place_before(queue->low, low))
		queue->low = low;
	rest = !evsched_place_before(noted, wake);
	if (rest)
		queue->wake = wake;
	SpinLockRelease(&queue->mutex);
	return rest;
}

/*
 * May take() delete rows of this queue without locking them first?  Only while
 * nobody has or grants leases in it, for a lease may come between a look at
 * the leases and the deletion.  True: end_deleting must follow.
 */
bool
evsched_queue_begin_deleting(int slot)
{
	EvschedQueue *queue = &slots[slot];
	bool		may;

	SpinLockAcquire(&queue->mutex);
	may = !queue->in_turn && queue->receivers == 0 && !queue->awaited &&
		queue->num_leases == 0 && !evsched_queue_is_shared(queue);
	if (may)
		queue->deleters++;
	SpinLockRelease(&queue->mutex);
	return may;
}

void
evsched_queue_end_deleting(int slot)
{
	EvschedQueue *queue = &slots[slot];
	bool		awaited;

	SpinLockAcquire(&queue->mutex);
	queue->deleters--;
	awaited = queue->deleters == 0 && queue->awaited;
	if (awaited)
		queue->awaited = false;
	SpinLockRelease(&queue->mutex);
	if (awaited)
		evsched_queue_touch(slot);
}

/*
 * receive() is about to grant leases in this queue.  False while calls of take
 * are under way that do not look for them: come back in a moment.
 */
bool
evsched_queue_begin_receiving(int slot)
{
	EvschedQueue *queue = &slots[slot];
	bool		may;

	SpinLockAcquire(&queue->mutex);
	may = queue->deleters == 0;
	if (may)
		queue->receivers++;
	else
		queue->awaited = true;
	SpinLockRelease(&queue->mutex);
	return may;
}

void
evsched_queue_end_receiving(int slot)
{
	SpinLockAcquire(&slots[slot].mutex);
	slots[slot].receivers--;
	SpinLockRelease(&slots[slot].mutex);
}

/* Puts a queue on the list of its scheduler and wakes it. */
void
evsched_queue_touch(int slot)
{
	EvschedQueue *queue = &slots[slot];
	EvschedDatabase *db = evsched_database_get(queue->database);
	bool		was_dirty;

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
 * The scheduler of a store starts: every queue gets a turn, and no turn of its
 * predecessor is under way.
 */
void
evsched_queue_start_all(EvschedStore store)
{
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		if (!evsched_store_equal(slots[i].store, store))
			continue;
		SpinLockAcquire(&slots[i].mutex);
		slots[i].in_turn = false;
		SpinLockRelease(&slots[i].mutex);
		evsched_queue_touch(i);
	}
	LWLockRelease(evsched_directory_lock);
}

/* Frees the queues of a database's stores, all but one. */
void
evsched_queue_forget(Oid database, Oid keep_table)
{
	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queues->num_used; i++)
	{
		if (slots[i].store.database == database && slots[i].store.table != keep_table)
			vacate_slot(i);
	}
	LWLockRelease(evsched_directory_lock);
}

/* Gives the slots of a database that is gone, and its list, to all others. */
void
evsched_queue_release(int database)
{
	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queues->num_used; i++)
	{
		if (slots[i].database != database)
			continue;
		if (slots[i].store.database != InvalidOid)
			vacate_slot(i);
		slots[i].database = EVSCHED_NO_SLOT;
		slots[i].dirty = false;
	}
	slots[evsched_max_queues + database].dirty = false;
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

/* The queue's slot, made if need be, else the one that the rest share. */
static int
make_slot(EvschedStore store, const char *name)
{
	int			database = evsched_database_find(store.database, true);
	int			shared = evsched_max_queues + database;
	int			slot;

	if (database == EVSCHED_NO_SLOT)
		return EVSCHED_NO_SLOT;

	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	if (slots[shared].store.database == InvalidOid ||
		!evsched_store_equal(slots[shared].store, store))
		occupy_slot(shared, store, "", database);

	slot = find_slot(store, name);
	if (slot == EVSCHED_NO_SLOT)
	{
		/* A listener waits where it joined: its queue stays there. */
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		if (slots[shared].num_listeners == 0)
			slot = free_slot(database);
		LWLockRelease(evsched_lease_lock);
		if (slot != EVSCHED_NO_SLOT)
		{
			int		   *bucket = bucket_of(store, name);

			occupy_slot(slot, store, name, database);
			slots[slot].next_in_bucket = *bucket;
			*bucket = slot;
		}
	}
	LWLockRelease(evsched_directory_lock);
	return slot == EVSCHED_NO_SLOT ? shared : slot;
}

/*
 * Under both locks: a slot that nobody needs.  A queue that is empty and has
 * neither listeners nor leases loses nothing but its mark.  A slot stays with
 * its database, on whose list it may still be, while that exists.
 */
static int
free_slot(int database)
{
	TimestampTz now;
	int			found = EVSCHED_NO_SLOT;

	if (queues->num_used < evsched_max_queues)
		return queues->num_used++;

	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(queues->swept_at, now, SWEEP_PAUSE_MS))
		return EVSCHED_NO_SLOT;
	for (int i = 0; i < evsched_max_queues; i++)
	{
		EvschedQueue *queue = &slots[i];

		if (queue->store.database != InvalidOid &&
			queue->num_listeners == 0 && queue->num_leases == 0 &&
			!evsched_place_before(queue->low, EVSCHED_PLACE_NEVER))
			vacate_slot(i);
		if (queue->store.database == InvalidOid &&
			(queue->database == database || queue->database == EVSCHED_NO_SLOT))
			found = i;
	}
	if (found == EVSCHED_NO_SLOT)
		queues->swept_at = now;
	return found;
}

/* Under the directory lock: nobody has this slot any more. */
static void
vacate_slot(int slot)
{
	EvschedQueue *queue = &slots[slot];
	int		   *link = bucket_of(queue->store, queue->name);

	while (*link != slot)
		link = &slots[*link].next_in_bucket;
	*link = queue->next_in_bucket;

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
	for (int i = 0; i < EVSCHED_QUEUE_EPOCHS; i++)
		queue->fresh[i] = EVSCHED_PLACE_LAST;
	SpinLockRelease(&queue->mutex);

	queue->first_listener = EVSCHED_NO_SLOT;
	queue->last_listener = EVSCHED_NO_SLOT;
	queue->num_listeners = 0;
	queue->num_leases = 0;
	queue->starving = false;
	queue->told = EVSCHED_NO_SLOT;
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
ref_is_current(EvschedQueueRef ref, EvschedStore store, const char *name)
{
	return ref.slot != EVSCHED_NO_SLOT &&
		ref.slot < evsched_max_queues &&
		slots[ref.slot].generation == ref.generation;
}

/* Under the mutex: the first place noted since an epoch began. */
static EvschedPlace
noted_since(const EvschedQueue *queue, uint32 epoch)
{
	EvschedPlace first = EVSCHED_PLACE_LAST;

	if (queue->epoch - epoch >= EVSCHED_QUEUE_EPOCHS)
		return EVSCHED_PLACE_FIRST;
	for (uint32 e = epoch; e != queue->epoch + 1; e++)
		first = evsched_place_min(first, queue->fresh[e % EVSCHED_QUEUE_EPOCHS]);
	return first;
}

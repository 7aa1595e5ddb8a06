/*
 * listener.c
 *		The sessions that joined queues, in shared memory: who they are, the
 *		ring in which they take turns, and what becomes of their leases.
 *
 * A session reserves a slot when it calls join() and enters the ring when that
 * commits; it leaves it by leave(), by being replaced, or by ending.  Each of
 * these is one function.  All state is guarded by the lease lock; activate,
 * give_up and leave run in end-of-transaction callbacks.
 */
#include "postgres.h"

#include "listener.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "database.h"
#include "guc.h"
#include "lease.h"
#include "queue.h"
#include "shared.h"
#include "socket.h"
#include "stop.h"

static EvschedListener *slots;

/* What this session has joined; slots freed since are among them. */
static EvschedListenerRef *mine;
static int	num_mine;
static int	max_mine;

static void leave_at_exit(int code, Datum arg);
static void make_room_for_mine(void);
static void fill_listener(EvschedListener *listener, const char *queue_name,
						  const char *channel, const EvschedListenerTerms *terms);
static int	find_free(void);
static void enter_ring(int slot);
static void leave_ring(int slot);
static void drop_from_ring(int slot);
static void free_listener(int slot);
static void end_leases(int slot, bool counted);
static bool may_replace(const EvschedListener *joining, const EvschedListener *other);

Size
evsched_listener_size(void)
{
	return mul_size(sizeof(EvschedListener), evsched_max_listeners);
}

void
evsched_listener_attach(void *area, bool found)
{
	slots = area;
	if (found)
		return;
	memset(area, 0, evsched_listener_size());
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		pg_atomic_init_u64(&slots[i].turns_sent, 0);
		pg_atomic_init_u64(&slots[i].turns_read, 0);
	}
}

EvschedListener *
evsched_listener_get(int slot)
{
	Assert(slot >= 0 && slot < evsched_max_listeners);
	return &slots[slot];
}

/* A slot for a session that is joining; 53400 when there is none. */
EvschedListenerRef
evsched_listener_reserve(EvschedStore store, const char *queue_name,
						 const char *channel, const EvschedListenerTerms *terms,
						 Oid replaced_role)
{
	EvschedQueueRef queue;
	int			slot;

	for (;;)
	{
		queue = evsched_queue_find(store, queue_name);
		EVSCHED_STOP("slot found");
		make_room_for_mine();
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		if (queue.slot == EVSCHED_NO_SLOT ||
			evsched_queue_get(queue.slot)->generation == queue.generation)
			break;
		/* The slot has been given to another queue meanwhile. */
		LWLockRelease(evsched_lease_lock);
	}

	if (queue.slot == EVSCHED_NO_SLOT)
	{
		LWLockRelease(evsched_lease_lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("evsched serves no more than %d databases", EVSCHED_MAX_DATABASES)));
	}
	slot = find_free();
	if (slot == EVSCHED_NO_SLOT)
	{
		LWLockRelease(evsched_lease_lock);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no more than %d listeners can be joined", evsched_max_listeners),
				 errhint("Raise evsched.max_listeners, or use take or receive.")));
	}
	fill_listener(&slots[slot], queue_name, channel, terms);
	slots[slot].store = store;
	slots[slot].queue = queue.slot;
	slots[slot].replaced_role = replaced_role;
	/* Keeps the queue's slot from being given away until this is settled. */
	evsched_queue_get(queue.slot)->num_listeners++;
	mine[num_mine] = (EvschedListenerRef) {slot, slots[slot].generation};
	LWLockRelease(evsched_lease_lock);
	return mine[num_mine++];
}

/*
 * This session's place in a queue's ring, or the one it will have at the commit;
 * EVSCHED_NO_SLOT when it has none.
 */
EvschedListenerRef
evsched_listener_mine(EvschedStore store, const char *queue_name)
{
	EvschedListenerRef ref = {EVSCHED_NO_SLOT, 0};

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < num_mine; i++)
	{
		const EvschedListener *listener = &slots[mine[i].slot];

		if (evsched_listener_is_current(mine[i]) &&
			listener->state != EVSCHED_LISTENER_LEFT &&
			evsched_store_equal(listener->store, store) &&
			strcmp(listener->queue_name, queue_name) == 0)
			ref = mine[i];
	}
	LWLockRelease(evsched_lease_lock);
	return ref;
}

/* The role of the node that has joined a queue; InvalidOid: none has. */
Oid
evsched_listener_role_of(EvschedStore store, const char *queue_name, const char *node)
{
	Oid			role = InvalidOid;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		if (slots[i].state == EVSCHED_LISTENER_JOINED &&
			evsched_store_equal(slots[i].store, store) &&
			strcmp(slots[i].queue_name, queue_name) == 0 &&
			strcmp(slots[i].terms.node, node) == 0)
			role = slots[i].role;
	}
	LWLockRelease(evsched_lease_lock);
	return role;
}

/* Changes what a listener may hold, at once; returns what is in force. */
int
evsched_listener_set_max_events(EvschedListenerRef ref, int max_events)
{
	EvschedListener *listener = &slots[ref.slot];

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	listener->max_events = max_events > 0 ? max_events : listener->terms.max_events;
	max_events = listener->max_events;
	evsched_queue_get(listener->queue)->starving = false;
	evsched_queue_touch(listener->queue);
	LWLockRelease(evsched_lease_lock);
	return max_events;
}

/* The session no longer listens: out of all rings, its leases are over. */
void
evsched_listener_exit(void)
{
	int			kept = 0;

	for (int i = 0; i < num_mine; i++)
	{
		int			slot = mine[i].slot;

		if (!evsched_listener_is_current(mine[i]))
			continue;
		if (slots[slot].state == EVSCHED_LISTENER_RESERVED)
		{
			/* Joined anew in the transaction that ends the rest. */
			mine[kept++] = mine[i];
			continue;
		}
		if (slots[slot].state == EVSCHED_LISTENER_JOINED)
			drop_from_ring(slot);
		end_leases(slot, true);
		if (evsched_listener_is_current(mine[i]))
			free_listener(slot);
	}
	num_mine = kept;
}

/*
 * A transaction of this session has ended; if it read notifications, it has
 * read what was sent until now.
 */
void
evsched_listener_mark_read(void)
{
	for (int i = 0; i < num_mine; i++)
	{
		EvschedListener *listener = &slots[mine[i].slot];
		uint64		sent;
		bool		has_read;
		bool		was_blocked;

		if (!evsched_listener_is_current(mine[i]))
			continue;
		sent = pg_atomic_read_u64(&listener->turns_sent);
		has_read = pg_atomic_read_u64(&listener->turns_read) != sent;
		pg_atomic_write_u64(&listener->turns_read, sent);
		was_blocked = listener->blocked;
		listener->blocked = false;
		/*
		 * Only who was passed over makes a difference: a notification for anybody
		 * ends a transaction of every session that listens.
		 */
		if ((was_blocked || (has_read && listener->refused)) &&
			evsched_queue_get(listener->queue)->starving)
			evsched_queue_touch(listener->queue);
	}
}

/* Frees the listeners of a store that is gone, or of all others of its database. */
void
evsched_listener_forget(EvschedStore store, bool others)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		if (slots[i].state == EVSCHED_LISTENER_FREE ||
			!evsched_store_is_meant(slots[i].store, store, others))
			continue;
		if (slots[i].state == EVSCHED_LISTENER_JOINED)
			drop_from_ring(i);
		free_listener(i);
	}
	LWLockRelease(evsched_lease_lock);
}

/* Copies all sessions of a store that have joined; returns how many. */
int
evsched_listener_list(EvschedStore store, EvschedListener **list)
{
	int			n = 0;

	*list = palloc_extended(evsched_listener_size(), MCXT_ALLOC_HUGE);
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		if (slots[i].state == EVSCHED_LISTENER_JOINED && !slots[i].crew &&
			evsched_store_equal(slots[i].store, store))
			(*list)[n++] = slots[i];
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

/* A crew joins a pool; EVSCHED_NO_SLOT when there is no slot. */
int
evsched_listener_add_crew(EvschedStore store, int queue, const char *pool, Oid role)
{
	static const EvschedListenerTerms terms;
	int			slot = find_free();
	EvschedListener *crew;

	if (slot == EVSCHED_NO_SLOT)
		return slot;
	crew = &slots[slot];
	fill_listener(crew, pool, "", &terms);
	crew->crew = true;
	crew->pid = 0;
	crew->role = role;
	crew->store = store;
	crew->queue = queue;
	crew->state = EVSCHED_LISTENER_JOINED;
	crew->joined_at = GetCurrentTimestamp();
	crew->first_queued = crew->last_queued = crew->last_call = -1;
	crew->num_queued = 0;
	crew->num_calls = 0;
	crew->failures = 0;
	crew->start_at = 0;
	evsched_queue_get(queue)->num_listeners++;
	enter_ring(slot);
	return slot;
}

/* How many in a queue's ring are no sessions, but crews. */
int
evsched_listener_count_crews(int queue)
{
	int			n = 0;

	for (int slot = evsched_queue_get(queue)->first_listener; slot != EVSCHED_NO_SLOT;
		 slot = slots[slot].next_in_ring)
		n += slots[slot].crew;
	return n;
}

bool
evsched_listener_is_current(EvschedListenerRef ref)
{
	return ref.slot != EVSCHED_NO_SLOT && slots[ref.slot].generation == ref.generation;
}

bool
evsched_listener_is_joined(EvschedListenerRef ref)
{
	return evsched_listener_is_current(ref) &&
		slots[ref.slot].state == EVSCHED_LISTENER_JOINED;
}

/*
 * reserved -> joined: at the ring's end.  It takes the place of an older one
 * of the same queue that has its node's name or is of the same session; that
 * one's leases run on while its session lives.
 */
void
evsched_listener_activate(EvschedListenerRef ref)
{
	EvschedListener *listener = &slots[ref.slot];

	if (!evsched_listener_is_current(ref))
		return;
	Assert(listener->state == EVSCHED_LISTENER_RESERVED);
	for (int i = 0; i < evsched_max_listeners; i++)
	{
		if (i != ref.slot && slots[i].state == EVSCHED_LISTENER_JOINED &&
			may_replace(listener, &slots[i]))
			evsched_listener_leave((EvschedListenerRef) {i, slots[i].generation}, false);
	}
	listener->state = EVSCHED_LISTENER_JOINED;
	listener->joined_at = GetCurrentTimestamp();
	enter_ring(ref.slot);
	evsched_queue_get(listener->queue)->starving = false;
	evsched_queue_touch(listener->queue);
}

/* reserved -> free: the join was rolled back. */
void
evsched_listener_give_up(EvschedListenerRef ref)
{
	if (!evsched_listener_is_current(ref))
		return;
	Assert(slots[ref.slot].state == EVSCHED_LISTENER_RESERVED);
	evsched_queue_get(slots[ref.slot].queue)->num_listeners--;
	free_listener(ref.slot);
}

/*
 * joined -> left, or free when nothing is held.  What is held is given back
 * when asked for, else it runs on while the session lives.
 */
void
evsched_listener_leave(EvschedListenerRef ref, bool release)
{
	if (!evsched_listener_is_current(ref) ||
		slots[ref.slot].state != EVSCHED_LISTENER_JOINED)
		return;
	drop_from_ring(ref.slot);
	slots[ref.slot].state = EVSCHED_LISTENER_LEFT;
	if (release)
		end_leases(ref.slot, false);
	evsched_queue_touch(slots[ref.slot].queue);
	if (evsched_listener_is_current(ref) && slots[ref.slot].unconfirmed == 0)
		free_listener(ref.slot);
}

/* left -> free: it holds nothing any more. */
void
evsched_listener_emptied(int slot)
{
	if (slots[slot].state == EVSCHED_LISTENER_LEFT)
		free_listener(slot);
}

/* The turn in which it was told has failed. */
void
evsched_listener_untell(EvschedListenerRef ref)
{
	EvschedQueue *queue;

	if (!evsched_listener_is_joined(ref))
		return;
	queue = evsched_queue_get(slots[ref.slot].queue);
	if (queue->told == ref.slot)
	{
		queue->told = EVSCHED_NO_SLOT;
		evsched_queue_touch(slots[ref.slot].queue);
	}
}

/* The turn in which it was sent something has failed. */
void
evsched_listener_unsend(EvschedListenerRef ref, int64 bytes)
{
	if (!evsched_listener_is_joined(ref))
		return;
	slots[ref.slot].unread_bytes -= bytes;
	pg_atomic_fetch_sub_u64(&slots[ref.slot].turns_sent, 1);
}

/* A listener has had its turn. */
void
evsched_listener_to_end(int slot)
{
	EvschedQueue *queue = evsched_queue_get(slots[slot].queue);

	if (queue->last_listener == slot)
		return;
	leave_ring(slot);
	enter_ring(slot);
}

/* One of its leases was confirmed. */
void
evsched_listener_confirmed(int slot)
{
	slots[slot].run_out = 0;
	slots[slot].last_confirmed_at = GetCurrentTransactionStopTimestamp();
}

/* One of its leases ran out. */
void
evsched_listener_ran_out(int slot)
{
	slots[slot].run_out++;
}

/* How many more events it may be handed. */
int
evsched_listener_credit(const EvschedListener *listener)
{
	int			max = listener->max_events;

	if (listener->run_out >= EVSCHED_LISTENER_PATIENCE)
		max = Min(max, 1);
	if (listener->unconfirmed > 0 &&
		listener->unconfirmed_bytes + EVSCHED_NOTIFY_BYTES > evsched_max_unconfirmed_bytes)
		return 0;
	return Max(max - listener->unconfirmed, 0);
}

static void
leave_at_exit(int code, Datum arg)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	evsched_listener_exit();
	LWLockRelease(evsched_lease_lock);
}

/* Grows the list of what this session joined, and forgets what is over. */
static void
make_room_for_mine(void)
{
	int			kept = 0;

	if (mine == NULL)
	{
		/* After the abort of its last transaction, unlike before_shmem_exit. */
		on_shmem_exit(leave_at_exit, 0);
		max_mine = 4;
		mine = MemoryContextAlloc(TopMemoryContext, max_mine * sizeof(*mine));
	}
	for (int i = 0; i < num_mine; i++)
	{
		if (evsched_listener_is_current(mine[i]))
			mine[kept++] = mine[i];
	}
	num_mine = kept;
	if (num_mine == max_mine)
	{
		mine = repalloc(mine, 2 * max_mine * sizeof(*mine));
		max_mine *= 2;
	}
}

/* Describes this session as one that is joining. */
static void
fill_listener(EvschedListener *listener, const char *queue_name, const char *channel,
			  const EvschedListenerTerms *terms)
{
	listener->state = EVSCHED_LISTENER_RESERVED;
	listener->crew = false;
	listener->terms = *terms;
	listener->max_events = terms->max_events;
	listener->pid = MyProcPid;
	listener->procno = EVSCHED_MY_PROCNO;
	listener->role = GetUserId();
	listener->last_confirmed_at = 0;
	listener->unconfirmed = 0;
	listener->unconfirmed_bytes = 0;
	listener->first_lease = -1;
	listener->run_out = 0;
	pg_atomic_write_u64(&listener->turns_sent, 0);
	pg_atomic_write_u64(&listener->turns_read, 0);
	listener->unread_bytes = 0;
	listener->refused = false;
	listener->blocked = false;
	listener->stuck_since = 0;
	evsched_socket_describe(&listener->socket);
	strlcpy(listener->queue_name, queue_name, sizeof(listener->queue_name));
	strlcpy(listener->channel, channel, sizeof(listener->channel));
}

/* A free slot, or EVSCHED_NO_SLOT. */
static int
find_free(void)
{
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		if (slots[slot].state == EVSCHED_LISTENER_FREE)
			return slot;
	}
	/* A crew that has no job can be made again. */
	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		if (slots[slot].crew && slots[slot].state == EVSCHED_LISTENER_JOINED &&
			slots[slot].unconfirmed == 0 && slots[slot].start_at == 0)
		{
			drop_from_ring(slot);
			free_listener(slot);
			return slot;
		}
	}
	return EVSCHED_NO_SLOT;
}

static void
enter_ring(int slot)
{
	EvschedListener *listener = &slots[slot];
	EvschedQueue *queue = evsched_queue_get(listener->queue);

	listener->prev_in_ring = queue->last_listener;
	listener->next_in_ring = EVSCHED_NO_SLOT;
	if (queue->last_listener == EVSCHED_NO_SLOT)
		queue->first_listener = slot;
	else
		slots[queue->last_listener].next_in_ring = slot;
	queue->last_listener = slot;
}

static void
leave_ring(int slot)
{
	EvschedListener *listener = &slots[slot];
	EvschedQueue *queue = evsched_queue_get(listener->queue);

	if (listener->prev_in_ring == EVSCHED_NO_SLOT)
		queue->first_listener = listener->next_in_ring;
	else
		slots[listener->prev_in_ring].next_in_ring = listener->next_in_ring;
	if (listener->next_in_ring == EVSCHED_NO_SLOT)
		queue->last_listener = listener->prev_in_ring;
	else
		slots[listener->next_in_ring].prev_in_ring = listener->prev_in_ring;
}

/* Out of the ring for good; if it was the one that was told, tell the next. */
static void
drop_from_ring(int slot)
{
	EvschedQueue *queue = evsched_queue_get(slots[slot].queue);

	leave_ring(slot);
	queue->num_listeners--;
	if (queue->told == slot)
	{
		queue->told = EVSCHED_NO_SLOT;
		evsched_queue_touch(slots[slot].queue);
	}
}

static void
free_listener(int slot)
{
	slots[slot].state = EVSCHED_LISTENER_FREE;
	slots[slot].generation++;
}

/*
 * Counted: the leases are over, and the scheduler counts a failed delivery for
 * each.  Otherwise the events are given back as they were.
 */
static void
end_leases(int slot, bool counted)
{
	EvschedLease *lease;

	if (slots[slot].unconfirmed == 0)
		return;
	while ((lease = evsched_lease_of_listener(slot)) != NULL)
	{
		if (counted)
			evsched_lease_orphan(lease);
		else
			evsched_lease_give_back(lease);
	}
}

/*
 * Is one that joins to take the other's place?  A node of another role only if
 * that was there, and could be replaced, when it asked.
 */
static bool
may_replace(const EvschedListener *joining, const EvschedListener *other)
{
	if (!evsched_store_equal(joining->store, other->store) ||
		strcmp(joining->queue_name, other->queue_name) != 0)
		return false;
	if (joining->pid == other->pid)
		return true;
	return strcmp(joining->terms.node, other->terms.node) == 0 &&
		(joining->role == other->role || joining->replaced_role == other->role);
}


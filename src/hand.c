/*
 * hand.c
 *		The listeners' shares in a turn: who may be handed something, and
 *		handing a row to one of them.
 *
 * Called by the scheduler inside a turn's transaction; takes the lease lock
 * itself.  A lease is granted while its row is locked, and given back if the
 * transaction aborts.
 */
#include "postgres.h"

#include "hand.h"

#include "utils/timestamp.h"

#include "crew.h"
#include "effect.h"
#include "guc.h"
#include "lease.h"
#include "notice.h"
#include "queue.h"
#include "reader.h"
#include "right.h"
#include "role.h"
#include "shared.h"

/* A turn that took this long, in µs, has kept its listeners waiting. */
#define LONG_TURN		(100 * INT64CONST(1000))

static void begin(EvschedHands *hands, int slot);
static List *served_roles(EvschedQueue *queue, const char *queue_name);
static void forget_told(const EvschedHands *hands, EvschedQueue *queue, const char *queue_name);
static void add_hand(EvschedHands *hands, int slot, int credit);
static bool has_room(const EvschedHand *hand);
static EvschedOffer claim_row(EvschedHands *hands, EvschedTable *table);
static void go_on(EvschedHands *hands, EvschedTable *table);
static EvschedOffer hand_once(EvschedHand *hand, EvschedTable *table, int bytes);
static EvschedOffer hand_leased(EvschedHands *hands, EvschedHand *hand,
								EvschedTable *table, EvschedLeaseKind kind);
static bool is_joined(const EvschedHand *hand);
static bool all_may_be_sent(EvschedHands *hands);
static bool log_if_full(void);

/*
 * Who may be handed something, in the order of the ring; and whom to tell.  Not
 * serving: nobody is handed anything, whoever may have joined since that was
 * decided.
 */
void
evsched_hand_find(EvschedHands *hands, int slot, const char *queue_name, bool serving)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	int			max = queue->num_listeners + 1;

	begin(hands, slot);
	hands->roles = served_roles(queue, queue_name);
	/* Nobody else sets it. */
	if (queue->told != EVSCHED_NO_SLOT)
		forget_told(hands, queue, queue_name);
	hands->hand = palloc0(sizeof(EvschedHand) * max);
	initStringInfo(&hands->piece);

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int l = queue->first_listener; l != EVSCHED_NO_SLOT && hands->n < max;
		 l = evsched_listener_get(l)->next_in_ring)
	{
		EvschedListener *listener = evsched_listener_get(l);
		int			credit = evsched_listener_credit(listener);

		if (listener->crew || strcmp(listener->queue_name, queue_name) != 0 ||
			!list_member_oid(hands->roles, listener->role))
			continue;
		if (evsched_reader_is_blocked(listener))
			hands->blocked = listener->blocked = true;
		else if (credit > 0 && serving)
			add_hand(hands, l, credit);
		else if (listener->max_events == 0 && hands->told.slot == EVSCHED_NO_SLOT &&
				 queue->told == EVSCHED_NO_SLOT)
		{
			hands->told = (EvschedListenerRef) {l, listener->generation};
			strlcpy(hands->told_channel, listener->channel, sizeof(hands->told_channel));
		}
	}
	LWLockRelease(evsched_lease_lock);
}

/* Everybody who is served, with or without a credit. */
void
evsched_hand_find_all(EvschedHands *hands, int slot, const char *queue_name)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	int			max = queue->num_listeners + 1;

	begin(hands, slot);
	hands->all = true;
	hands->roles = served_roles(queue, queue_name);
	hands->hand = palloc0(sizeof(EvschedHand) * max);
	initStringInfo(&hands->piece);

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int l = queue->first_listener; l != EVSCHED_NO_SLOT && hands->n < max;
		 l = evsched_listener_get(l)->next_in_ring)
	{
		EvschedListener *listener = evsched_listener_get(l);

		if (!listener->crew && listener->max_events > 0 &&
			strcmp(listener->queue_name, queue_name) == 0 &&
			list_member_oid(hands->roles, listener->role) &&
			!evsched_reader_is_blocked(listener))
			add_hand(hands, l, 0);
	}
	LWLockRelease(evsched_lease_lock);
}

/*
 * Gives each hand a copy of the row found last, which is gone then.  All wait for one
 * who has not read yet what he was sent, as long as he is not blocked.
 */
EvschedOffer
evsched_hand_offer_all(EvschedHands *hands, EvschedTable *table)
{
	EvschedOffer offer;
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	bool		fits;

	if (!evsched_reader_queue_has_room() || !all_may_be_sent(hands))
		return EVSCHED_OFFER_BLOCKED;
	offer = claim_row(hands, table);
	if (offer != EVSCHED_OFFER_TAKEN)
		return offer;
	evsched_event_queue(table->row, queue);
	evsched_effect_back(table->store, queue, evsched_event_place(table->row));
	if (evsched_table_delete_locked(table) != EVSCHED_ATTEMPT_DONE)
		return EVSCHED_OFFER_PASSED;
	go_on(hands, table);
	fits = evsched_notice_format(&hands->piece, table->row);
	for (int i = 0; i < hands->n && fits; i++)
	{
		EvschedHand *hand = &hands->hand[i];

		if (!is_joined(hand))
			continue;
		if (hand->pending.data == NULL)
			initStringInfo(&hand->pending);
		evsched_notice_add(&hand->pending, hand->channel, &hands->piece);
		hand->bytes_once += hands->piece.len;
		hand->handed++;
	}
	return EVSCHED_OFFER_TAKEN;
}

/* The hand whose turn it is, if it may take such an event, else the next. */
EvschedHand *
evsched_hand_choose(EvschedHands *hands, bool once)
{
	for (; hands->current < hands->n; hands->current++)
	{
		EvschedHand *hand = &hands->hand[hands->current];

		if (!hand->full && (once ? hand->once > 0 : has_room(hand)))
			return hand;
	}
	return NULL;
}

/* Offers the row found last to a hand. */
EvschedOffer
evsched_hand_offer(EvschedHands *hands, EvschedHand *hand, EvschedTable *table, bool once)
{
	EvschedOffer offer;
	bool		fits;

	if (once && !evsched_reader_queue_has_room())
		return EVSCHED_OFFER_BLOCKED;
	if (once && !evsched_reader_may_send(hand->ref, hand->bytes_once))
	{
		hands->unread = true;
		return EVSCHED_OFFER_REFUSED;
	}
	offer = claim_row(hands, table);
	if (offer != EVSCHED_OFFER_TAKEN)
		return offer;

	fits = evsched_notice_format(&hands->piece, table->row);
	if (!fits)
		evsched_notice_format_fetch(&hands->piece, evsched_event_id(table->row));
	if (once && fits)
		offer = hand_once(hand, table, hands->piece.len);
	else
		offer = hand_leased(hands, hand, table,
							once ? EVSCHED_LEASE_FETCH : EVSCHED_LEASE_LISTENER);
	if (offer != EVSCHED_OFFER_TAKEN)
		return offer;

	go_on(hands, table);
	hand->handed++;
	if (hand->pending.data == NULL)
		initStringInfo(&hand->pending);
	evsched_notice_add(&hand->pending, hand->channel, &hands->piece);
	return EVSCHED_OFFER_TAKEN;
}

/* How many jobs of a pool may be handed out. */
void
evsched_hand_find_workers(EvschedHands *hands, int slot, EvschedStore store, const char *pool)
{
	begin(hands, slot);
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	hands->jobs = evsched_crew_credit(store, slot, pool);
	LWLockRelease(evsched_lease_lock);
}

/* Offers the row found last to the workers of its owner. */
EvschedOffer
evsched_hand_offer_job(EvschedHands *hands, EvschedTable *table, const char *pool)
{
	Oid			role = evsched_role_of(evsched_event_owner(table->row));
	EvschedHand hand = {.jobs = true};
	EvschedOffer offer;
	int			share = 0;

	if (role != hands->asked_role)
	{
		hands->asked_role = role;
		hands->may_work = evsched_right_may_work(role);
	}
	if (!hands->may_work)
		return EVSCHED_OFFER_PASSED;
	if (hands->jobs == 0)
		return EVSCHED_OFFER_REFUSED;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	hand.ref.slot = evsched_crew_find(table->store, hands->slot, pool, role);
	if (hand.ref.slot != EVSCHED_NO_SLOT)
	{
		hand.ref.generation = evsched_listener_get(hand.ref.slot)->generation;
		share = evsched_crew_share(evsched_listener_get(hand.ref.slot), hands->clock) -
			evsched_hand_count_jobs(hands, role);
	}
	LWLockRelease(evsched_lease_lock);
	/* Nobody says when there is a slot. */
	if (hand.ref.slot == EVSCHED_NO_SLOT)
		return EVSCHED_OFFER_HELD;
	if (share <= 0)
	{
		hands->waiting_roles = list_append_unique_oid(hands->waiting_roles, role);
		return EVSCHED_OFFER_WAITS;
	}
	offer = claim_row(hands, table);
	if (offer == EVSCHED_OFFER_TAKEN)
		offer = hand_leased(hands, &hand, table, EVSCHED_LEASE_JOB);
	if (offer == EVSCHED_OFFER_TAKEN)
	{
		go_on(hands, table);
		hands->jobs--;
		hands->roles = lappend_oid(hands->roles, role);
	}
	return offer;
}

/* How many jobs of a role were handed out in this turn; its crew gets them with the commit. */
int
evsched_hand_count_jobs(const EvschedHands *hands, Oid role)
{
	ListCell   *cell;
	int			n = 0;

	foreach(cell, hands->roles)
		n += lfirst_oid(cell) == role;
	return n;
}

/*
 * One listener that is not served hears that something is due; false when it has
 * gone meanwhile.
 */
bool
evsched_hand_tell(EvschedHands *hands)
{
	bool		joined;

	evsched_effect_reserve();
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	joined = evsched_listener_is_joined(hands->told);
	if (joined)
	{
		evsched_queue_get(hands->slot)->told = hands->told.slot;
		evsched_listener_to_end(hands->told.slot);
		evsched_effect_told(hands->told);
	}
	LWLockRelease(evsched_lease_lock);
	if (joined)
		evsched_notice_tell(hands->told_channel);
	return joined;
}

/* What is left goes out, and who has had a turn goes to the ring's end. */
void
evsched_hand_send_all(EvschedHands *hands)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < hands->n; i++)
	{
		if (!hands->all && hands->hand[i].handed > 0 &&
			evsched_listener_is_joined(hands->hand[i].ref))
			evsched_listener_to_end(hands->hand[i].ref.slot);
	}
	LWLockRelease(evsched_lease_lock);

	for (int i = 0; i < hands->n; i++)
	{
		EvschedHand *hand = &hands->hand[i];

		if (hand->handed == 0)
			continue;
		evsched_notice_send(&hand->pending, hand->channel);
		evsched_reader_sent(hand->ref, hand->bytes_once);
	}
}

/*
 * The turn has committed, and its notifications go out only now: a standby, or who
 * else uses NOTIFY, may have kept it waiting for longer than a lease runs.
 */
void
evsched_hand_sent(const EvschedHands *hands)
{
	int64		clock = evsched_lease_clock();

	if (clock - hands->clock < LONG_TURN)
		return;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < hands->n; i++)
	{
		if (hands->hand[i].handed > 0 && evsched_listener_is_current(hands->hand[i].ref))
			evsched_lease_restart(hands->hand[i].ref.slot, hands->clock, clock);
	}
	LWLockRelease(evsched_lease_lock);
}

static void
begin(EvschedHands *hands, int slot)
{
	memset(hands, 0, sizeof(*hands));
	hands->slot = slot;
	hands->clock = evsched_lease_clock();
	hands->told.slot = EVSCHED_NO_SLOT;
	hands->planned = EVSCHED_PLACE_LAST;
}

/*
 * The roles of the queue's listeners that may consume it now: what they were
 * granted when they joined may have been revoked.  Catalogs are not read under
 * the lease lock; a role that joins meanwhile gets the next turn.
 */
static List *
served_roles(EvschedQueue *queue, const char *queue_name)
{
	List	   *roles = NIL;
	List	   *served = NIL;
	ListCell   *cell;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int l = queue->first_listener; l != EVSCHED_NO_SLOT;
		 l = evsched_listener_get(l)->next_in_ring)
	{
		if (!evsched_listener_get(l)->crew &&
			strcmp(evsched_listener_get(l)->queue_name, queue_name) == 0)
			roles = list_append_unique_oid(roles, evsched_listener_get(l)->role);
	}
	LWLockRelease(evsched_lease_lock);
	foreach(cell, roles)
	{
		if (evsched_right_is_served(lfirst_oid(cell), queue_name))
			served = lappend_oid(served, lfirst_oid(cell));
	}
	return served;
}

/* Who was told and may no longer consume will not answer: another is to be told. */
static void
forget_told(const EvschedHands *hands, EvschedQueue *queue, const char *queue_name)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (queue->told != EVSCHED_NO_SLOT)
	{
		const EvschedListener *told = evsched_listener_get(queue->told);

		if (strcmp(told->queue_name, queue_name) == 0 &&
			!list_member_oid(hands->roles, told->role))
			queue->told = EVSCHED_NO_SLOT;
	}
	LWLockRelease(evsched_lease_lock);
}

static void
add_hand(EvschedHands *hands, int slot, int credit)
{
	EvschedListener *listener = evsched_listener_get(slot);
	EvschedHand *hand = &hands->hand[hands->n++];

	hand->ref = (EvschedListenerRef) {slot, listener->generation};
	strlcpy(hand->channel, listener->channel, sizeof(hand->channel));
	hand->pid = listener->pid;
	hand->credit = credit;
	hand->once = listener->max_events;
	hand->bytes = evsched_max_unconfirmed_bytes - listener->unconfirmed_bytes;
	hand->conf_timeout = listener->terms.conf_timeout;
	hand->linger = listener->terms.linger;
	hand->empty = listener->unconfirmed == 0;
}

/* May the hand get one more event that is to be confirmed? */
static bool
has_room(const EvschedHand *hand)
{
	return hand->credit > 0 &&
		(hand->bytes >= EVSCHED_NOTIFY_BYTES || hand->empty);
}

/* Claims the row found last, as far as its series lets it be handed out; taken: it is ours. */
static EvschedOffer
claim_row(EvschedHands *hands, EvschedTable *table)
{
	hands->step = evsched_step_take(table, hands->slot, hands->now);
	/* What is of a series is locked already. */
	if (evsched_event_recurring(table->row) == 0)
		hands->step.kind = evsched_step_lock(table);
	switch (hands->step.kind)
	{
		case EVSCHED_STEP_HAND_OUT:
			return EVSCHED_OFFER_TAKEN;
		case EVSCHED_STEP_DROP:
			hands->planned = evsched_place_min(hands->planned,
											   evsched_step_drop(table, &hands->step));
			break;
		case EVSCHED_STEP_HELD:
			return EVSCHED_OFFER_HELD;
		case EVSCHED_STEP_WAIT:
			return EVSCHED_OFFER_CROWDED;
		case EVSCHED_STEP_PASSED:
			break;
	}
	return EVSCHED_OFFER_PASSED;
}

/* The row found last is handed out: its series goes on. */
static void
go_on(EvschedHands *hands, EvschedTable *table)
{
	hands->planned = evsched_place_min(hands->planned,
									   evsched_step_go_on(table, &hands->step));
}

/* An event with max_retries 0 is gone when it is handed over. */
static EvschedOffer
hand_once(EvschedHand *hand, EvschedTable *table, int bytes)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	if (!is_joined(hand))
		return EVSCHED_OFFER_REFUSED;
	evsched_event_queue(table->row, queue);
	evsched_effect_back(table->store, queue, evsched_event_place(table->row));
	if (evsched_table_delete_locked(table) != EVSCHED_ATTEMPT_DONE)
		return EVSCHED_OFFER_PASSED;
	hand->once--;
	hand->bytes_once += bytes;
	return EVSCHED_OFFER_TAKEN;
}

/* Any other is leased to the listener, if that is still there. */
static EvschedOffer
hand_leased(EvschedHands *hands, EvschedHand *hand, EvschedTable *table,
			EvschedLeaseKind kind)
{
	EvschedPlace place = evsched_event_place(table->row);
	EvschedLease lease = {
		.store = table->store,
		.id = place.id,
		.due_at = place.due_at,
		.deadline = hands->clock + hand->conf_timeout,
		.bytes = hand->jobs ? 0 : hands->piece.len,
		.queue = hands->slot,
		.listener = hand->ref.slot,
		.pid = hand->pid,
		.owner = evsched_event_owner(table->row),
		.recurring = evsched_event_recurring(table->row),
		.suspect = evsched_event_num_lost(table->row) > 0,
		.granted_at = hands->clock,
		.kind = kind
	};
	EvschedLease *granted = NULL;

	if (!hand->jobs && !has_room(hand))
		return EVSCHED_OFFER_REFUSED;
	/* How long a job may run is not the lease's to say. */
	if (hand->jobs)
		lease.deadline = PG_INT64_MAX;
	evsched_effect_reserve();
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (evsched_listener_is_joined(hand->ref))
		granted = evsched_lease_grant(&lease);
	if (granted != NULL && hand->jobs)
		evsched_effect_queue(granted);
	else if (granted != NULL)
		evsched_effect_granted(granted);
	LWLockRelease(evsched_lease_lock);
	if (granted == NULL)
		return log_if_full() ? EVSCHED_OFFER_BLOCKED : EVSCHED_OFFER_REFUSED;
	hand->credit--;
	hand->bytes -= lease.bytes;
	hand->empty = false;
	return EVSCHED_OFFER_TAKEN;
}

static bool
is_joined(const EvschedHand *hand)
{
	bool		joined;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	joined = evsched_listener_is_joined(hand->ref);
	LWLockRelease(evsched_lease_lock);
	return joined;
}

/* Has everybody read what he was sent? */
static bool
all_may_be_sent(EvschedHands *hands)
{
	for (int i = 0; i < hands->n; i++)
	{
		if (is_joined(&hands->hand[i]) &&
			!evsched_reader_may_send(hands->hand[i].ref, hands->hand[i].bytes_once))
			hands->unread = true;
	}
	return !hands->unread;
}

/* Is there no lease left?  Says so once in the life of the process. */
static bool
log_if_full(void)
{
	static bool logged = false;
	bool		full;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	full = evsched_lease_table_full();
	LWLockRelease(evsched_lease_lock);
	if (full && !logged)
		ereport(LOG,
				(errmsg("evsched has %d events delivered and unconfirmed; others wait",
						evsched_max_leases),
				 errhint("Raise evsched.max_leases.")));
	logged |= full;
	return full;
}

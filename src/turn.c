/*
 * turn.c
 *		One turn of the scheduler for one queue: everything that is due is
 *		handed to the listeners that have a credit, in the order of the ring.
 *
 * Called by the scheduler, outside a transaction; a turn is a transaction of
 * its own.  Rows are claimed by locking them, leases granted while they are
 * locked, notifications sent by the commit.  If the turn fails, its leases are
 * given back by their effects and nothing was sent.
 */
#include "postgres.h"

#include "turn.h"

#include "access/xact.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "effect.h"
#include "guc.h"
#include "lease.h"
#include "listener.h"
#include "mark.h"
#include "notice.h"
#include "process.h"
#include "queue.h"
#include "reader.h"
#include "shared.h"
#include "table.h"

/* How many events are handed out in one transaction at the most. */
#define MAX_HANDED		5000

/* A listener's share in a turn. */
typedef struct Hand
{
	EvschedListenerRef ref;
	char		channel[EVSCHED_CHANNEL_BYTES];
	int			pid;
	int			credit;			/* events to be confirmed it may still get */
	int			once;			/* events with max_retries 0 it may still get */
	int64		bytes;			/* of notifications it may still get */
	int64		conf_timeout;
	int64		linger;
	bool		full;			/* its turn is over */
	bool		empty;			/* it holds no lease */
	int			handed;
	StringInfoData pending;		/* notification being filled */
	int64		bytes_once;		/* sent of events with max_retries 0 */
} Hand;

typedef struct Turn
{
	EvschedStore store;
	int			slot;
	EvschedQueue *queue;
	char		name[EVSCHED_QUEUE_BYTES + 1];
	EvschedTable table;
	TimestampTz now;
	int64		clock;
	StringInfoData piece;

	Hand	   *hands;			/* in the order of the ring */
	int			num_hands;
	int			current;		/* hand being filled */
	int			handed;
	int			told;			/* listener that is only told, or EVSCHED_NO_SLOT */
	char		told_channel[EVSCHED_CHANNEL_BYTES];

	TimestampTz *available;		/* due times, where somebody lingers */
	int			num_available;

	EvschedPlace stop;			/* first place not dealt with */
	EvschedPlace held;			/* first place merely locked by somebody */
	bool		starving;		/* it is due, but nobody has a credit */
	bool		blocked;		/* it is due, but must wait a little */
	TimestampTz linger_until;	/* DT_NOEND: nobody lingers */
} Turn;

/* What became of a row that was offered to a hand. */
typedef enum Offer
{
	OFFER_TAKEN,
	OFFER_PASSED,				/* not to be had */
	OFFER_HELD,					/* locked: to be looked at again */
	OFFER_REFUSED,				/* try the next hand */
	OFFER_BLOCKED				/* wait a little */
} Offer;

static void run_named(Turn *turn, EvschedPlace from);
static void find_hands(Turn *turn);
static void add_hand(Turn *turn, int slot, int credit);
static void hand_out(Turn *turn, EvschedPlace from);
static bool hand_row(Turn *turn, EvschedPlace place);
static Hand *choose_hand(Turn *turn, bool once);
static bool has_room(const Hand *hand);
static Offer offer_row(Turn *turn, Hand *hand, bool once);
static Offer deliver_row(Turn *turn, Hand *hand, bool once);
static bool grant(Turn *turn, Hand *hand, EvschedLeaseKind kind);
static bool log_if_full(void);
static void tell(Turn *turn);
static void count_available(Turn *turn, EvschedPlace from);
static bool must_linger(Turn *turn, Hand *hand);
static void send_all(Turn *turn);
static void rotate_ring(Turn *turn);
static bool rest_starving(Turn *turn);
static bool mark_sent(Turn *turn);
static EvschedPlace waits_for(const Turn *turn);
static int	collect_turns(EvschedStore store, int slot, Turn **turns, bool *serving);

/* Runs a turn; says when the queue wants the next. */
EvschedNextTurn
evsched_turn_run(EvschedStore store, int slot)
{
	EvschedNextTurn next = {.at = DT_NOEND};
	EvschedPlace low = EVSCHED_PLACE_LAST;
	EvschedPlace wake = EVSCHED_PLACE_NEVER;
	EvschedScanMark mark;
	Turn	   *turns;
	bool		serving;
	bool		may_serve;
	int			n;

	evsched_process_begin();
	n = collect_turns(store, slot, &turns, &serving);
	may_serve = evsched_mark_begin_turn(slot, serving, &mark);
	if (n == 0 || !may_serve)
	{
		/* A join, or the end of a take, will touch the queue. */
		low = mark.low;
		wake = EVSCHED_PLACE_FIRST;
		n = 0;
	}
	for (int i = 0; i < n; i++)
	{
		Turn	   *turn = &turns[i];

		run_named(turn, mark.low);
		next.again |= turn->starving && !rest_starving(turn);
		next.blocked |= turn->blocked || evsched_place_before(turn->held, EVSCHED_PLACE_LAST);
		low = evsched_place_min(low, evsched_place_min(turn->stop, turn->held));
		wake = evsched_place_min(wake, waits_for(turn));
		if (evsched_place_before(EVSCHED_PLACE_FIRST, waits_for(turn)))
			next.at = Min(next.at, waits_for(turn).due_at);
	}
	evsched_process_end();

	for (int i = 0; i < n; i++)
		next.sent |= mark_sent(&turns[i]);
	if (!evsched_mark_end_turn(slot, &mark, low, wake))
		next.again = true;
	return next;
}

/* Before which place something new is of interest; the first: before none. */
static EvschedPlace
waits_for(const Turn *turn)
{
	EvschedPlace wake = {turn->linger_until, PG_INT64_MIN};

	if (turn->starving || turn->blocked)
		return EVSCHED_PLACE_FIRST;
	if (turn->stop.due_at > turn->now)
		wake = evsched_place_min(wake, turn->stop);
	return wake;
}

/* The turn of one queue, which has its slot for itself or shares it. */
static void
run_named(Turn *turn, EvschedPlace from)
{
	turn->stop = EVSCHED_PLACE_LAST;
	turn->held = EVSCHED_PLACE_LAST;
	turn->linger_until = DT_NOEND;
	initStringInfo(&turn->piece);

	find_hands(turn);
	if (turn->num_hands == 0 && turn->told == EVSCHED_NO_SLOT)
	{
		turn->stop = from;
		turn->starving = true;
		return;
	}
	evsched_table_open_for_write(&turn->table, "evsched turn");
	turn->now = GetCurrentTimestamp();
	turn->clock = evsched_lease_clock();
	for (int i = 0; i < turn->num_hands && turn->available == NULL; i++)
	{
		if (turn->hands[i].linger > 0)
			count_available(turn, from);
	}
	hand_out(turn, from);
	send_all(turn);
	evsched_table_close(&turn->table);
	rotate_ring(turn);
}

/* Who may be handed something, in the order of the ring; and whom to tell. */
static void
find_hands(Turn *turn)
{
	int			max = turn->queue->num_listeners + 1;

	turn->hands = palloc0(sizeof(Hand) * max);
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int slot = turn->queue->first_listener;
		 slot != EVSCHED_NO_SLOT && turn->num_hands < max;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		EvschedListener *listener = evsched_listener_get(slot);
		int			credit = evsched_listener_credit(listener);

		if (strcmp(listener->queue_name, turn->name) != 0)
			continue;
		if (listener->max_events > 0)
		{
			if (credit > 0 && !evsched_reader_is_blocked(listener))
				add_hand(turn, slot, credit);
		}
		else if (turn->told == EVSCHED_NO_SLOT && turn->queue->told == EVSCHED_NO_SLOT)
		{
			turn->told = slot;
			strlcpy(turn->told_channel, listener->channel, sizeof(turn->told_channel));
		}
	}
	LWLockRelease(evsched_lease_lock);
}

static void
add_hand(Turn *turn, int slot, int credit)
{
	EvschedListener *listener = evsched_listener_get(slot);
	Hand	   *hand = &turn->hands[turn->num_hands++];

	hand->ref = (EvschedListenerRef) {slot, listener->generation};
	strlcpy(hand->channel, listener->channel, sizeof(hand->channel));
	hand->pid = listener->pid;
	hand->credit = credit;
	hand->empty = listener->unconfirmed == 0;
	hand->once = listener->max_events;
	hand->bytes = evsched_max_unconfirmed_bytes - listener->unconfirmed_bytes;
	hand->conf_timeout = listener->terms.conf_timeout;
	hand->linger = listener->terms.linger;
}

static void
hand_out(Turn *turn, EvschedPlace from)
{
	EvschedTable *table = &turn->table;

	evsched_table_begin_due(table, turn->name, from);
	while (evsched_table_next_due(table))
	{
		EvschedPlace place = evsched_event_place(table->row);

		if (place.due_at > turn->now)
		{
			turn->stop = place;
			break;
		}
		if (evsched_event_is_job(table->row) ||
			evsched_lease_exists(turn->store, place.id))
			continue;
		if (!hand_row(turn, place))
		{
			turn->stop = place;
			break;
		}
	}
	evsched_table_end_due(table);
}

/* Deals with a row that is due; false when the turn is over because of it. */
static bool
hand_row(Turn *turn, EvschedPlace place)
{
	EvschedTable *table = &turn->table;
	bool		once = evsched_event_max_retries(table->row) == 0;

	for (;;)
	{
		Hand	   *hand = choose_hand(turn, once);

		if (hand == NULL || turn->handed >= MAX_HANDED)
		{
			if (hand == NULL && turn->told != EVSCHED_NO_SLOT)
			{
				if (evsched_table_is_changing(table))
					return true;
				tell(turn);
			}
			turn->starving = true;
			return false;
		}
		if (hand->handed == 0 && must_linger(turn, hand))
			return false;
		switch (offer_row(turn, hand, once))
		{
			case OFFER_TAKEN:
				turn->handed++;
				return true;
			case OFFER_PASSED:
				return true;
			case OFFER_HELD:
				turn->held = evsched_place_min(turn->held, place);
				return true;
			case OFFER_REFUSED:
				hand->full = true;
				break;
			case OFFER_BLOCKED:
				turn->blocked = true;
				return false;
		}
	}
}

/* The hand whose turn it is, if it may take such an event, else the next. */
static Hand *
choose_hand(Turn *turn, bool once)
{
	for (; turn->current < turn->num_hands; turn->current++)
	{
		Hand	   *hand = &turn->hands[turn->current];

		if (hand->full)
			continue;
		if (once ? hand->once > 0 : has_room(hand))
			return hand;
	}
	return NULL;
}

/* May the hand get one more event that is to be confirmed? */
static bool
has_room(const Hand *hand)
{
	return hand->credit > 0 &&
		(hand->bytes >= EVSCHED_NOTIFY_BYTES || hand->empty);
}

static Offer
offer_row(Turn *turn, Hand *hand, bool once)
{
	EvschedTable *table = &turn->table;

	if (once && !evsched_reader_may_send(hand->ref, hand->bytes_once))
		return OFFER_BLOCKED;
	switch (evsched_table_try_lock(table, &table->row->tts_tid))
	{
		case EVSCHED_ATTEMPT_DONE:
			break;
		case EVSCHED_ATTEMPT_LOCKED:
			return OFFER_HELD;
		default:
			return OFFER_PASSED;
	}
	/* Whoever leased it before us has committed by now. */
	if (evsched_lease_exists(turn->store, evsched_event_id(table->row)))
		return OFFER_PASSED;
	return deliver_row(turn, hand, once);
}

static Offer
deliver_row(Turn *turn, Hand *hand, bool once)
{
	TupleTableSlot *row = turn->table.row;
	bool		fits = evsched_notice_format(&turn->piece, row);

	if (!fits)
		evsched_notice_format_fetch(&turn->piece, evsched_event_id(row));
	if (once && fits)
	{
		LWLockAcquire(evsched_lease_lock, LW_SHARED);
		fits = evsched_listener_is_joined(hand->ref);
		LWLockRelease(evsched_lease_lock);
		if (!fits)
			return OFFER_REFUSED;
		evsched_effect_back(turn->store, turn->name, evsched_event_place(row));
		if (evsched_table_delete_locked(&turn->table) != EVSCHED_ATTEMPT_DONE)
			return OFFER_PASSED;
		hand->once--;
		hand->bytes_once += turn->piece.len;
	}
	else
	{
		if (!has_room(hand))
			return OFFER_REFUSED;
		if (!grant(turn, hand, once ? EVSCHED_LEASE_FETCH : EVSCHED_LEASE_LISTENER))
			return log_if_full() ? OFFER_BLOCKED : OFFER_REFUSED;
		hand->credit--;
		hand->empty = false;
		hand->bytes -= turn->piece.len;
	}
	hand->handed++;
	if (hand->pending.data == NULL)
		initStringInfo(&hand->pending);
	evsched_notice_add(&hand->pending, hand->channel, &turn->piece);
	return OFFER_TAKEN;
}

/* Leases the row to the hand; false when its session is gone, or no lease left. */
static bool
grant(Turn *turn, Hand *hand, EvschedLeaseKind kind)
{
	EvschedPlace place = evsched_event_place(turn->table.row);
	EvschedLease lease = {
		.store = turn->store,
		.id = place.id,
		.due_at = place.due_at,
		.deadline = turn->clock + hand->conf_timeout,
		.bytes = turn->piece.len,
		.queue = turn->slot,
		.listener = hand->ref.slot,
		.pid = hand->pid,
		.kind = kind
	};
	bool		granted;

	evsched_effect_granted(turn->store, place.id);
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	granted = evsched_listener_is_joined(hand->ref) && evsched_lease_grant(&lease) != NULL;
	LWLockRelease(evsched_lease_lock);
	return granted;
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

/* One listener that is not served hears that something is due. */
static void
tell(Turn *turn)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	turn->queue->told = turn->told;
	evsched_listener_to_end(turn->told);
	LWLockRelease(evsched_lease_lock);
	evsched_notice_tell(turn->told_channel);
}

/* The due times of what could be handed out, as far as all credit reaches. */
static void
count_available(Turn *turn, EvschedPlace from)
{
	EvschedTable *table = &turn->table;
	int			max = 0;

	for (int i = 0; i < turn->num_hands; i++)
		max += Min(turn->hands[i].credit, MAX_HANDED);
	max = Min(max, MAX_HANDED);
	turn->available = palloc(sizeof(TimestampTz) * Max(max, 1));

	evsched_table_begin_due(table, turn->name, from);
	while (turn->num_available < max && evsched_table_next_due(table))
	{
		EvschedPlace place = evsched_event_place(table->row);

		if (place.due_at > turn->now)
			break;
		if (!evsched_lease_exists(turn->store, place.id))
			turn->available[turn->num_available++] = place.due_at;
	}
	evsched_table_end_due(table);
}

/*
 * Shall the hand wait for more?  Yes, while it could take more than there is
 * and the first of it has not been due for as long as it lingers.
 */
static bool
must_linger(Turn *turn, Hand *hand)
{
	int			left = turn->num_available - turn->handed;
	TimestampTz until;

	if (hand->linger == 0 || hand->credit <= 1 || left <= 0 || left >= hand->credit)
		return false;
	until = turn->available[turn->handed] + hand->linger;
	if (until <= turn->now)
		return false;
	turn->linger_until = until;
	return true;
}

static void
send_all(Turn *turn)
{
	for (int i = 0; i < turn->num_hands; i++)
	{
		if (turn->hands[i].handed > 0)
			evsched_notice_send(&turn->hands[i].pending, turn->hands[i].channel);
	}
}

/* Who has had a turn goes to the end. */
static void
rotate_ring(Turn *turn)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < turn->num_hands; i++)
	{
		if (turn->hands[i].handed > 0 && evsched_listener_is_joined(turn->hands[i].ref))
			evsched_listener_to_end(turn->hands[i].ref.slot);
	}
	LWLockRelease(evsched_lease_lock);
}

/*
 * Something is due that nobody could take.  If that is still so, whoever gets a
 * credit back will touch the queue.
 */
static bool
rest_starving(Turn *turn)
{
	bool		rest = true;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int slot = turn->queue->first_listener; slot != EVSCHED_NO_SLOT && rest;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		EvschedListener *listener = evsched_listener_get(slot);

		if (strcmp(listener->queue_name, turn->name) == 0 &&
			evsched_listener_credit(listener) > 0 && !evsched_reader_is_blocked(listener))
			rest = false;
	}
	turn->queue->starving = rest;
	LWLockRelease(evsched_lease_lock);
	return rest;
}

/* After the commit: who was sent something has not read it yet.  Was anybody? */
static bool
mark_sent(Turn *turn)
{
	bool		sent = false;

	for (int i = 0; i < turn->num_hands; i++)
	{
		if (turn->hands[i].handed == 0)
			continue;
		evsched_reader_sent(turn->hands[i].ref, turn->hands[i].bytes_once, turn->clock);
		sent = true;
	}
	return sent;
}

/*
 * The queues that have listeners in this slot: one, or those that share it.  Are
 * any of them served, not only told?
 */
static int
collect_turns(EvschedStore store, int slot, Turn **turns, bool *serving)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	int			max = queue->num_listeners + 1;
	int			n = 0;

	*turns = palloc0(sizeof(Turn) * max);
	*serving = false;
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int l = queue->first_listener; l != EVSCHED_NO_SLOT && n < max;
		 l = evsched_listener_get(l)->next_in_ring)
	{
		const char *name = evsched_listener_get(l)->queue_name;
		bool		known = false;

		*serving |= evsched_listener_get(l)->max_events > 0;
		for (int i = 0; i < n && !known; i++)
			known = strcmp((*turns)[i].name, name) == 0;
		if (known)
			continue;
		(*turns)[n].store = store;
		(*turns)[n].slot = slot;
		(*turns)[n].queue = queue;
		(*turns)[n].told = EVSCHED_NO_SLOT;
		strlcpy((*turns)[n].name, name, sizeof((*turns)[n].name));
		n++;
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

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

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "broadcast.h"
#include "crew.h"
#include "fence.h"
#include "hand.h"
#include "lease.h"
#include "listener.h"
#include "mark.h"
#include "notice.h"
#include "pool.h"
#include "process.h"
#include "queue.h"
#include "reader.h"
#include "right.h"
#include "setting.h"
#include "shared.h"
#include "stat.h"
#include "stop.h"
#include "table.h"

/* How many events are handed out in one transaction at the most. */
#define MAX_HANDED		5000

/* How many jobs, whose roles have enough to do, a turn passes over to find others. */
#define MAX_WAITING		10000

/* So many that were taken since are no reason yet for another turn. */
#define MAX_JOBS_TAKEN	16

typedef struct Turn
{
	EvschedStore store;
	char		name[EVSCHED_QUEUE_BYTES + 1];
	bool		pool;			/* the queue is served by workers */
	EvschedTable table;
	TimestampTz now;
	EvschedHands hands;
	TimestampTz *due_at;		/* of what was handed out */
	int			handed;
	TimestampTz *available;		/* due times, where somebody lingers */
	int			num_available;

	EvschedPlace stop;			/* first place not dealt with */
	EvschedPlace held;			/* first place merely locked by somebody */
	EvschedPlace crowded;		/* first place that waits for another of its series */
	EvschedPlace waiting;		/* first job whose role has enough to do */
	int			num_waiting;
	bool		halted;			/* nothing may be handed out */
	bool		starving;		/* it is due, but nobody has a credit */
	bool		blocked;		/* it is due, but must wait a little */
	bool		again;			/* things have changed: look again */
	TimestampTz linger_until;	/* DT_NOEND: nobody lingers */
} Turn;

static int	collect_turns(EvschedStore store, int slot, Turn **turns, bool *serving);
static void add_turn(Turn *turn, EvschedStore store, const char *name, bool pool);
static void note_halt(int slot);
static void add_up(Turn *turn, EvschedNextTurn *next, EvschedPlace *low, EvschedPlace *wake);
static EvschedPlace waits_for(const Turn *turn);
static void run_named(Turn *turn, int slot, EvschedPlace from, bool serving);
static void hand_out(Turn *turn, EvschedPlace from);
static bool hand_row(Turn *turn, EvschedPlace place);
static bool hand_job(Turn *turn, EvschedPlace place);
static bool nobody_left(Turn *turn);
static bool lingers(const EvschedHands *hands);
static void count_available(Turn *turn, EvschedPlace from);
static bool must_linger(Turn *turn, const EvschedHand *hand);
static bool rest_starving(Turn *turn);
static bool rest_waiting(Turn *turn);
static void recall(Turn *turn, int slot);
static void remember_handed(Turn *turn, TimestampTz due_at);

/* Runs a turn; says when the queue wants the next. */
EvschedNextTurn
evsched_turn_run(EvschedStore store, int slot)
{
	int64		sent = evsched_notice_sent();
	EvschedNextTurn next = evsched_broadcast_run(store, slot);
	EvschedPlace low = EVSCHED_PLACE_LAST;
	EvschedPlace wake = EVSCHED_PLACE_NEVER;
	EvschedScanMark mark;
	Turn	   *turns;
	bool		serving;
	bool		may_serve;
	int			n;

	evsched_process_begin();
	evsched_fence_begin();
	n = collect_turns(store, slot, &turns, &serving);
	may_serve = evsched_mark_begin_turn(slot, serving, &mark);
	if (n == 0)
		note_halt(slot);
	if (n == 0 || !may_serve)
	{
		/* A join, or the end of a take, will touch the queue. */
		low = mark.low;
		wake = EVSCHED_PLACE_FIRST;
		n = 0;
	}
	for (int i = 0; i < n; i++)
	{
		run_named(&turns[i], slot, mark.low, serving);
		add_up(&turns[i], &next, &low, &wake);
	}
	if (!evsched_fence_wait(evsched_queue_get(slot)->database))
	{
		evsched_process_abort();
		return (EvschedNextTurn) {.at = DT_NOEND, .again = true};
	}
	evsched_process_end();
	EVSCHED_STOP("turn committed");

	/* Until the turn has ended, its slot is not given away. */
	for (int i = 0; i < n; i++)
	{
		evsched_hand_sent(&turns[i].hands);
		evsched_stat_handed(slot, turns[i].due_at, turns[i].handed, turns[i].pool);
	}
	evsched_stat_turn(slot, next.progress, evsched_notice_sent() - sent);
	if (!evsched_mark_end_turn(slot, &mark, low, wake))
		next.again = true;
	return next;
}

/*
 * The pools, and the queues that have listeners, in this slot: one, or those that share
 * it.  Are any of them served, not only told?
 */
static int
collect_turns(EvschedStore store, int slot, Turn **turns, bool *serving)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	int			max = queue->num_listeners + 1 + evsched_pool_count();
	int			n = 0;

	*turns = palloc0(sizeof(Turn) * max);
	*serving = false;
	for (int i = 0; i < evsched_pool_count(); i++)
	{
		const char *name = evsched_pool_name(i);

		if (!evsched_queue_is_in(store, name, slot))
			continue;
		add_turn(&(*turns)[n++], store, name, true);
		*serving = true;
	}
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int l = queue->first_listener; l != EVSCHED_NO_SLOT && n < max;
		 l = evsched_listener_get(l)->next_in_ring)
	{
		const char *name = evsched_listener_get(l)->queue_name;
		bool		known = false;

		if (evsched_listener_get(l)->crew)
			continue;
		*serving |= evsched_listener_get(l)->max_events > 0;
		for (int i = 0; i < n && !known; i++)
			known = strcmp((*turns)[i].name, name) == 0;
		if (!known)
			add_turn(&(*turns)[n++], store, name, false);
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

static void
add_turn(Turn *turn, EvschedStore store, const char *name, bool pool)
{
	turn->store = store;
	turn->pool = pool;
	strlcpy(turn->name, name, sizeof(turn->name));
}

/* A queue without listeners is halted for those who take from it, too. */
static void
note_halt(int slot)
{
	char		name[EVSCHED_QUEUE_BYTES + 1];

	if (evsched_queue_copy_name(slot, name))
		evsched_queue_set_halted(slot, evsched_setting_is_halted(name));
}

/* What one of the queues of a slot means for the slot's next turn, and for its mark. */
static void
add_up(Turn *turn, EvschedNextTurn *next, EvschedPlace *low, EvschedPlace *wake)
{
	next->again |= turn->again;
	if (turn->pool && (turn->starving || turn->num_waiting > 0))
		next->again |= !rest_waiting(turn);
	else if (turn->starving || turn->blocked)
		next->again |= !rest_starving(turn) && turn->starving;
	next->progress |= turn->handed > 0;
	next->watch |= turn->hands.blocked || turn->hands.unread;
	next->blocked |= turn->blocked || evsched_place_before(turn->held, EVSCHED_PLACE_LAST);
	*low = evsched_place_min(*low, evsched_place_min(turn->stop, turn->held));
	*low = evsched_place_min(*low, evsched_place_min(turn->waiting, turn->crowded));
	*wake = evsched_place_min(*wake, waits_for(turn));
	if (evsched_place_before(EVSCHED_PLACE_FIRST, waits_for(turn)))
		next->at = Min(next->at, waits_for(turn).due_at);
}

/* Before which place something new is of interest; the first: before none. */
static EvschedPlace
waits_for(const Turn *turn)
{
	EvschedPlace wake = {turn->linger_until, PG_INT64_MIN};

	if (turn->halted || turn->starving || turn->blocked)
		return EVSCHED_PLACE_FIRST;
	if (turn->stop.due_at > turn->now)
		wake = evsched_place_min(wake, turn->stop);
	return wake;
}

/* The turn of one queue, which has its slot for itself or shares it. */
static void
run_named(Turn *turn, int slot, EvschedPlace from, bool serving)
{
	turn->stop = EVSCHED_PLACE_LAST;
	turn->held = EVSCHED_PLACE_LAST;
	turn->crowded = EVSCHED_PLACE_LAST;
	turn->waiting = EVSCHED_PLACE_LAST;
	turn->linger_until = DT_NOEND;

	turn->halted = evsched_setting_is_halted(turn->name);
	evsched_queue_set_halted(slot, turn->halted);
	if (turn->halted)
	{
		/* Who lets it go on touches the queue. */
		turn->stop = from;
		if (turn->pool)
			recall(turn, slot);
		return;
	}
	if (turn->pool)
		evsched_hand_find_workers(&turn->hands, slot, turn->store, turn->name);
	else
		evsched_hand_find(&turn->hands, slot, turn->name, serving);
	if (!turn->pool && turn->hands.n == 0 && turn->hands.told.slot == EVSCHED_NO_SLOT)
	{
		turn->stop = from;
		turn->starving = true;
		return;
	}
	evsched_table_open_for_write(&turn->table, "evsched turn");
	turn->now = GetCurrentTimestamp();
	turn->hands.now = turn->now;
	EVSCHED_STOP("turn begun");
	if (lingers(&turn->hands))
		count_available(turn, from);
	hand_out(turn, from);
	evsched_hand_send_all(&turn->hands);
	EVSCHED_STOP("turn notified");
	evsched_table_close(&turn->table);
}

/* Hands out what is due, from the mark on. */
static void
hand_out(Turn *turn, EvschedPlace from)
{
	EvschedTable *table = &turn->table;
	EvschedGate gate = {.queue = turn->name};

	evsched_table_begin_due(table, turn->name, from);
	while (evsched_table_next_due(table))
	{
		EvschedPlace place = evsched_event_place(table->row);

		CHECK_FOR_INTERRUPTS();
		if (place.due_at > turn->now)
		{
			turn->stop = place;
			break;
		}
		if (evsched_event_is_job(table->row) != turn->pool ||
			evsched_event_is_paused(table->row) || evsched_event_is_for_all(table->row) ||
			evsched_lease_exists(turn->store, place.id) ||
			!evsched_right_passes(&gate, table->row))
			continue;
		if (!(turn->pool ? hand_job(turn, place) : hand_row(turn, place)))
		{
			turn->stop = place;
			break;
		}
	}
	evsched_table_end_due(table);
	/* What this turn has entered wakes nobody: it knows of it. */
	turn->stop = evsched_place_min(turn->stop, turn->hands.planned);
	if (gate.unbound)
		evsched_right_log_unbound();
}

/* Deals with a row that is due; false when the turn is over because of it. */
static bool
hand_row(Turn *turn, EvschedPlace place)
{
	bool		once = evsched_setting_max_retries(turn->table.row) == 0;

	for (;;)
	{
		EvschedHand *hand = turn->handed < MAX_HANDED ?
			evsched_hand_choose(&turn->hands, once) : NULL;

		if (hand == NULL)
			return nobody_left(turn);
		if (hand->handed == 0 && must_linger(turn, hand))
			return false;
		switch (evsched_hand_offer(&turn->hands, hand, &turn->table, once))
		{
			case EVSCHED_OFFER_TAKEN:
				remember_handed(turn, place.due_at);
				EVSCHED_STOP("turn claimed");
				return true;
			case EVSCHED_OFFER_PASSED:
				return true;
			case EVSCHED_OFFER_HELD:
				turn->held = evsched_place_min(turn->held, place);
				return true;
			case EVSCHED_OFFER_CROWDED:
				turn->crowded = evsched_place_min(turn->crowded, place);
				return true;
			case EVSCHED_OFFER_REFUSED:
			case EVSCHED_OFFER_WAITS:
				hand->full = true;
				break;
			case EVSCHED_OFFER_BLOCKED:
				turn->blocked = true;
				return false;
		}
	}
}

/* The same of a job. */
static bool
hand_job(Turn *turn, EvschedPlace place)
{
	switch (evsched_hand_offer_job(&turn->hands, &turn->table, turn->name))
	{
		case EVSCHED_OFFER_TAKEN:
			remember_handed(turn, place.due_at);
			EVSCHED_STOP("turn claimed");
			return true;
		case EVSCHED_OFFER_PASSED:
			return true;
		case EVSCHED_OFFER_HELD:
			turn->held = evsched_place_min(turn->held, place);
			return true;
		case EVSCHED_OFFER_CROWDED:
			turn->crowded = evsched_place_min(turn->crowded, place);
			return true;
		case EVSCHED_OFFER_WAITS:
			turn->waiting = evsched_place_min(turn->waiting, place);
			turn->starving = ++turn->num_waiting == MAX_WAITING;
			return !turn->starving;
		case EVSCHED_OFFER_REFUSED:
			turn->starving = true;
			return false;
		case EVSCHED_OFFER_BLOCKED:
			turn->blocked = true;
			return false;
	}
	return false;
}

/*
 * Nobody can be handed the row.  Who is not served is told of it, unless another
 * is taking it away just now; then the turn goes on.
 */
static bool
nobody_left(Turn *turn)
{
	if (turn->hands.told.slot != EVSCHED_NO_SLOT && turn->handed < MAX_HANDED)
	{
		if (evsched_table_is_changing(&turn->table))
			return true;
		if (!evsched_hand_tell(&turn->hands))
			turn->again = true;
	}
	if (turn->hands.unread)
		turn->blocked = true;
	else
		turn->starving = true;
	return false;
}

static bool
lingers(const EvschedHands *hands)
{
	for (int i = 0; i < hands->n; i++)
	{
		if (hands->hand[i].linger > 0)
			return true;
	}
	return false;
}

/* The due times of what could be handed out, as far as all credit reaches. */
static void
count_available(Turn *turn, EvschedPlace from)
{
	EvschedTable *table = &turn->table;
	EvschedGate gate = {.queue = turn->name};
	int			max = 0;

	for (int i = 0; i < turn->hands.n; i++)
		max += Min(turn->hands.hand[i].credit, MAX_HANDED);
	max = Min(max, MAX_HANDED);
	turn->available = palloc(sizeof(TimestampTz) * Max(max, 1));

	evsched_table_begin_due(table, turn->name, from);
	while (turn->num_available < max && evsched_table_next_due(table))
	{
		EvschedPlace place = evsched_event_place(table->row);

		CHECK_FOR_INTERRUPTS();
		if (place.due_at > turn->now)
			break;
		if (!evsched_lease_exists(turn->store, place.id) &&
			!evsched_event_is_job(table->row) && !evsched_event_is_paused(table->row) &&
			!evsched_event_is_for_all(table->row) &&
			evsched_right_passes(&gate, table->row))
			turn->available[turn->num_available++] = place.due_at;
	}
	evsched_table_end_due(table);
}

/*
 * Shall the hand wait for more?  Yes, while it could take more than there is
 * and the first of it has not been due for as long as it lingers.
 */
static bool
must_linger(Turn *turn, const EvschedHand *hand)
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

/*
 * Something is due that nobody could take.  Whoever gets a credit back will touch
 * the queue; false when somebody has one already.
 */
static bool
rest_starving(Turn *turn)
{
	EvschedQueue *queue = evsched_queue_get(turn->hands.slot);
	bool		rest = true;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int slot = queue->first_listener; slot != EVSCHED_NO_SLOT && rest;
		 slot = evsched_listener_get(slot)->next_in_ring)
	{
		EvschedListener *listener = evsched_listener_get(slot);

		if (listener->crew || strcmp(listener->queue_name, turn->name) != 0 ||
			!list_member_oid(turn->hands.roles, listener->role) ||
			evsched_listener_credit(listener) == 0)
			continue;
		/* Nobody says when a blocked one goes on: look again soon. */
		if (evsched_reader_is_blocked(listener))
			turn->blocked = true;
		else
			rest = false;
	}
	queue->starving = true;
	LWLockRelease(evsched_lease_lock);
	return rest;
}

/*
 * Jobs are due for which there is no room.  The worker that takes one of the last ahead
 * of them will touch the queue; false when that has happened meanwhile.
 */
static bool
rest_waiting(Turn *turn)
{
	int			slot = turn->hands.slot;
	ListCell   *cell;
	bool		rest;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	/* What this turn has handed out is not counted before its commit. */
	rest = !turn->starving ||
		evsched_crew_credit(turn->store, slot, turn->name) - turn->handed <= MAX_JOBS_TAKEN;
	foreach(cell, turn->hands.waiting_roles)
	{
		int			crew = evsched_crew_find(turn->store, slot, turn->name, lfirst_oid(cell));

		if (crew != EVSCHED_NO_SLOT && evsched_listener_get(crew)->start_at == 0 &&
			evsched_hand_count_jobs(&turn->hands, lfirst_oid(cell)) == 0 &&
			evsched_crew_runs_low(evsched_listener_get(crew)))
			rest = false;
	}
	evsched_queue_get(slot)->starving = true;
	LWLockRelease(evsched_lease_lock);
	return rest;
}

/* Nothing of the pool is to be run now: what waits in memory goes back to the table. */
static void
recall(Turn *turn, int slot)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	evsched_crew_recall(slot, turn->name, InvalidOid);
	LWLockRelease(evsched_lease_lock);
}

/* An event that was handed out; how late it is, the commit will tell. */
static void
remember_handed(Turn *turn, TimestampTz due_at)
{
	/* Room is made at 0 and at each power of two from 16 on. */
	if (turn->due_at == NULL)
		turn->due_at = palloc(sizeof(TimestampTz) * 16);
	else if (turn->handed >= 16 && (turn->handed & (turn->handed - 1)) == 0)
		turn->due_at = repalloc(turn->due_at, sizeof(TimestampTz) * turn->handed * 2);
	turn->due_at[turn->handed++] = due_at;
}

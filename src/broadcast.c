/*
 * broadcast.c
 *		Events of which every listener gets a copy.
 *
 * Called by the scheduler at the beginning of a queue's turn, outside a transaction; it
 * has one of its own.  Such an event needs neither credit nor listeners: it is gone when it
 * is due and every listener that is served has got its copy.  So its queue gets turns
 * whether or not anybody has joined: whoever enters, moves or gives back such an event
 * touches the queue, and its slot says that there may be some (effect.c).
 */
#include "postgres.h"

#include "broadcast.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "fence.h"
#include "hand.h"
#include "process.h"
#include "queue.h"
#include "right.h"
#include "setting.h"
#include "stat.h"
#include "statement.h"

/* How many events are handed out at a time at the most. */
#define MAX_EVENTS		1000

/* What is for all in one queue. */
typedef struct Broadcast
{
	EvschedTable table;
	EvschedHands hands;
	EvschedGate gate;
	TimestampTz now;
	TimestampTz due_at[MAX_EVENTS];	/* of what was handed out */
	int			handed;
	bool		left;			/* there is more, be it for later */
	EvschedNextTurn next;
} Broadcast;

static List *queues_of_slot(EvschedStore store, int slot);
static void run_queue(Broadcast *broadcast, int slot, const char *queue);
static int	find_events(const char *queue, TimestampTz now, int64 **ids);
static bool hand_out(Broadcast *broadcast);

/* The scheduler starts: nobody has told what is there since. */
void
evsched_broadcast_start(EvschedStore store)
{
	ListCell   *cell;

	evsched_process_begin();
	foreach(cell, queues_of_slot(store, EVSCHED_NO_SLOT))
	{
		int			slot = evsched_queue_find(store, lfirst(cell)).slot;

		if (slot == EVSCHED_NO_SLOT)
			continue;
		evsched_queue_set_for_all(slot);
		evsched_queue_touch(slot);
	}
	evsched_process_end();
}

/* Hands out what is for all and due; says when there will be more. */
EvschedNextTurn
evsched_broadcast_run(EvschedStore store, int slot)
{
	Broadcast  *broadcast;
	EvschedNextTurn next = {.at = DT_NOEND};
	ListCell   *cell;
	bool		left = false;

	if (!evsched_queue_begin_for_all(slot))
		return next;
	evsched_process_begin();
	evsched_fence_begin();
	broadcast = palloc0(sizeof(Broadcast));
	broadcast->next.at = DT_NOEND;
	foreach(cell, queues_of_slot(store, slot))
		run_queue(broadcast, slot, lfirst(cell));
	if (!evsched_fence_wait(evsched_queue_get(slot)->database))
	{
		evsched_process_abort();
		return (EvschedNextTurn) {.at = DT_NOEND, .again = true};
	}
	next = broadcast->next;
	next.progress = broadcast->handed > 0;
	left = broadcast->left;
	evsched_process_end();
	evsched_stat_handed(slot, broadcast->due_at, broadcast->handed, false);
	if (!left)
		evsched_queue_end_for_all(slot);
	return next;
}

/* The queues with events for all; EVSCHED_NO_SLOT: in whatever slot. */
static List *
queues_of_slot(EvschedStore store, int slot)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *queues = NIL;
	char		name[EVSCHED_QUEUE_BYTES + 1];
	EvschedCaller caller;
	uint64		n;

	if (slot != EVSCHED_NO_SLOT && evsched_queue_copy_name(slot, name))
		return list_make1(pstrdup(name));
	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_FOR_ALL_QUEUES, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		char	   *queue = TextDatumGetCString(evsched_statement_value(i, 1, &isnull));
		MemoryContext spi_context = MemoryContextSwitchTo(context);

		if (slot == EVSCHED_NO_SLOT || evsched_queue_find(store, queue).slot == slot)
			queues = lappend(queues, pstrdup(queue));
		MemoryContextSwitchTo(spi_context);
	}
	evsched_statement_end(&caller);
	return queues;
}

static void
run_queue(Broadcast *broadcast, int slot, const char *queue)
{
	int64	   *ids;
	int			n;
	int			before = broadcast->handed;

	/* Who lets it go on touches the queue. */
	broadcast->left |= evsched_setting_is_halted(queue);
	if (evsched_setting_is_halted(queue))
		return;
	broadcast->now = GetCurrentTimestamp();
	n = find_events(queue, broadcast->now, &ids);
	evsched_hand_find_all(&broadcast->hands, slot, queue);
	evsched_table_open_for_write(&broadcast->table, "evsched turn");
	broadcast->hands.now = broadcast->now;
	broadcast->gate = (EvschedGate) {.queue = queue};
	for (int i = 0; i < n && broadcast->handed < MAX_EVENTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (evsched_table_find(&broadcast->table, ids[i]) && !hand_out(broadcast))
			break;
	}
	broadcast->next.at = Min(broadcast->next.at, broadcast->hands.planned.due_at);
	broadcast->next.again |= n == MAX_EVENTS && broadcast->handed > before;
	broadcast->left |= n > broadcast->handed - before ||
		broadcast->hands.planned.due_at != DT_NOEND;
	evsched_hand_send_all(&broadcast->hands);
	evsched_table_close(&broadcast->table);
}

/* Those that are due, and the first that will be, unless they are paused. */
static int
find_events(const char *queue, TimestampTz now, int64 **ids)
{
	Datum		values[] = {CStringGetTextDatum(queue), TimestampTzGetDatum(now)};
	EvschedCaller caller;
	int			n;

	*ids = palloc(sizeof(int64) * MAX_EVENTS);
	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_FOR_ALL_FIRST, values);
	Assert(n <= MAX_EVENTS);
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		(*ids)[i] = DatumGetInt64(evsched_statement_value(i, 1, &isnull));
	}
	evsched_statement_end(&caller);
	return n;
}

/* Deals with the row found last; false when the rest must wait. */
static bool
hand_out(Broadcast *broadcast)
{
	TimestampTz due_at = evsched_event_place(broadcast->table.row).due_at;

	if (due_at > broadcast->now)
	{
		broadcast->next.at = Min(broadcast->next.at, due_at);
		return false;
	}
	if (!evsched_right_passes(&broadcast->gate, broadcast->table.row))
		return true;
	switch (evsched_hand_offer_all(&broadcast->hands, &broadcast->table))
	{
		case EVSCHED_OFFER_TAKEN:
			broadcast->due_at[broadcast->handed++] = due_at;
			break;
		case EVSCHED_OFFER_HELD:
			broadcast->next.blocked = true;
			break;
		case EVSCHED_OFFER_BLOCKED:
			broadcast->next.blocked = true;
			broadcast->next.watch = broadcast->hands.unread;
			return false;
		case EVSCHED_OFFER_PASSED:
		case EVSCHED_OFFER_CROWDED:
		case EVSCHED_OFFER_WAITS:
		case EVSCHED_OFFER_REFUSED:
			break;
	}
	return true;
}

/*
 * attention.c
 *		Which queues the scheduler is to look at: now, because something has
 *		happened in them, or at a time.
 *
 * The scheduler's own memory; no lock, no transaction.  A queue is known by the
 * number of its slot; whose the slot is by now, the scheduler asks.
 */
#include "postgres.h"

#include "attention.h"

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue.h"

/* A queue that must be looked at again soon: at first after, at last after. */
#define FIRST_PAUSE_MS		1
#define LAST_PAUSE_MS		1000

typedef struct Attention
{
	int			slot;
	bool		pending;		/* on the list of those to look at */
	bool		timed;			/* in the heap of those with a time */
	TimestampTz at;
	int			pause_ms;		/* last pause of a blocked queue */
	dlist_node	node;
	pairingheap_node heap_node;
} Attention;

static Attention **attentions;	/* by slot; NULL until needed */
static dlist_head pending;

static Attention *attention_of(int slot);
static void add_pending(Attention *attention);
static void set_time(Attention *attention, TimestampTz at);
static int	compare_times(const pairingheap_node *a, const pairingheap_node *b, void *arg);

static pairingheap timed = {.ph_compare = compare_times};

void
evsched_attention_start(void)
{
	attentions = MemoryContextAllocZero(TopMemoryContext,
										sizeof(Attention *) * evsched_queue_slots());
	dlist_init(&pending);
}

/* Adds the queues that were touched, and those whose time has come. */
void
evsched_attention_collect(int database, TimestampTz now)
{
	int			slot;

	while ((slot = evsched_queue_next_dirty(database)) != EVSCHED_NO_SLOT)
		add_pending(attention_of(slot));
	while (evsched_attention_wake_at() <= now && !pairingheap_is_empty(&timed))
	{
		Attention  *attention = pairingheap_container(Attention, heap_node,
													  pairingheap_first(&timed));

		set_time(attention, DT_NOEND);
		add_pending(attention);
	}
}

/* How many queues are to be looked at now. */
int
evsched_attention_pending(void)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &pending)
		n++;
	return n;
}

/* The next of these. */
int
evsched_attention_next(void)
{
	Attention  *attention = dlist_container(Attention, node, dlist_pop_head_node(&pending));

	attention->pending = false;
	return attention->slot;
}

/* A queue has had its turn; one that wants another goes to the list's end. */
void
evsched_attention_after(int slot, EvschedNextTurn next)
{
	Attention  *attention = attention_of(slot);

	if (next.again)
		add_pending(attention);
	if (next.progress || !next.blocked)
		attention->pause_ms = 0;
	if (next.blocked)
	{
		attention->pause_ms = Min(Max(attention->pause_ms * 2, FIRST_PAUSE_MS), LAST_PAUSE_MS);
		next.at = Min(next.at, GetCurrentTimestamp() + attention->pause_ms * INT64CONST(1000));
	}
	set_time(attention, next.at);
}

/* The first time for which a queue waits; DT_NOEND: none does. */
TimestampTz
evsched_attention_wake_at(void)
{
	if (pairingheap_is_empty(&timed))
		return DT_NOEND;
	return pairingheap_container(Attention, heap_node, pairingheap_first(&timed))->at;
}

static Attention *
attention_of(int slot)
{
	if (attentions[slot] == NULL)
	{
		attentions[slot] = MemoryContextAllocZero(TopMemoryContext, sizeof(Attention));
		attentions[slot]->slot = slot;
	}
	return attentions[slot];
}

static void
add_pending(Attention *attention)
{
	if (!attention->pending)
		dlist_push_tail(&pending, &attention->node);
	attention->pending = true;
}

/* DT_NOEND: no time. */
static void
set_time(Attention *attention, TimestampTz at)
{
	if (attention->timed)
		pairingheap_remove(&timed, &attention->heap_node);
	attention->timed = at != DT_NOEND;
	attention->at = at;
	if (attention->timed)
		pairingheap_add(&timed, &attention->heap_node);
}

/* The first time is the greatest for a pairing heap. */
static int
compare_times(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz at_a = pairingheap_const_container(Attention, heap_node, a)->at;
	TimestampTz at_b = pairingheap_const_container(Attention, heap_node, b)->at;

	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

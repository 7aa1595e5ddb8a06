/*
 * rule_session.c
 *		When this session has last run the rules of mode each.
 *
 * The session's own memory, for as long as it lives.  What a (sub)transaction has run
 * is undone with it: the callbacks are registered once, allocate and raise nothing.
 */
#include "postgres.h"

#include "rule_session.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A call may be early by so much of the period, and no more than that, µs. */
#define EARLY_FRACTION	100
#define MAX_EARLY		(10 * INT64CONST(1000))

typedef struct Key
{
	EvschedStore store;
	int64		rule;
} Key;

typedef struct Last
{
	Key			key;
	bool		known;			/* it was run */
	TimestampTz at;				/* when, on the grid of the first run */
} Last;

typedef struct Change
{
	int			level;			/* nesting level of the subtransaction */
	Last		before;
} Change;

static HTAB *lasts;
static Change *changes;			/* in TopTransactionContext, and gone with it */
static int	num_changes;
static int	max_changes;

static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId id,
							   SubTransactionId parent, void *arg);
static Last *find_last(EvschedStore store, int64 rule, HASHACTION action);
static int64 early_by(int64 period);
static void note_change(const Last *before);
static void undo_from(int level);
static void forget_changes(void);

void
evsched_rule_session_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/*
 * Is it time for this session to run that rule?  It counts from its first run in whole
 * periods, so that who comes once in a period, a little earlier or later, always runs it,
 * and who comes more often runs it as often as everybody.
 */
bool
evsched_rule_session_is_due(EvschedStore store, int64 rule, int64 period, TimestampTz now)
{
	const Last *last = find_last(store, rule, HASH_FIND);

	/* Somebody may have set the clock back: then it is due, and counts from then on. */
	return last == NULL || !last->known || now - last->at >= period - early_by(period) ||
		now < last->at - early_by(period);
}

/* The same; then it counts as run. */
bool
evsched_rule_session_take(EvschedStore store, int64 rule, int64 period, TimestampTz now)
{
	int64		early = early_by(period);
	Last	   *last;

	if (!evsched_rule_session_is_due(store, rule, period, now))
		return false;
	last = find_last(store, rule, HASH_ENTER);
	note_change(last);
	last->at = last->known && now >= last->at - early ?
		last->at + (now - last->at + early) / period * period : now;
	last->known = true;
	return true;
}

/* The session starts anew: DISCARD ALL. */
void
evsched_rule_session_forget(void)
{
	if (lasts != NULL)
		hash_destroy(lasts);
	lasts = NULL;
	forget_changes();
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		undo_from(0);
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		forget_changes();
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId id,
				   SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		undo_from(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = num_changes - 1; i >= 0 && changes[i].level >= level; i--)
			changes[i].level = level - 1;
	}
}

/* NULL: it was not run yet, or, entered, it counts as not run. */
static Last *
find_last(EvschedStore store, int64 rule, HASHACTION action)
{
	HASHCTL		info = {.keysize = sizeof(Key), .entrysize = sizeof(Last), .hcxt = TopMemoryContext};
	Key			key = {store, rule};
	Last	   *last;
	bool		found;

	if (lasts == NULL)
		lasts = hash_create("evsched rule runs", 32, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	last = hash_search(lasts, &key, action, &found);
	if (!found && last != NULL)
		last->known = false;
	return last;
}

static int64
early_by(int64 period)
{
	return Min(period / EARLY_FRACTION, MAX_EARLY);
}

static void
note_change(const Last *before)
{
	if (num_changes == max_changes)
	{
		int			max = Max(max_changes * 2, 16);

		if (changes == NULL)
			changes = MemoryContextAlloc(TopTransactionContext, max * sizeof(Change));
		else
			changes = repalloc(changes, max * sizeof(Change));
		max_changes = max;
	}
	changes[num_changes++] = (Change) {GetCurrentTransactionNestLevel(), *before};
}

/* The newest first. */
static void
undo_from(int level)
{
	while (num_changes > 0 && changes[num_changes - 1].level >= level)
	{
		const Last *before = &changes[--num_changes].before;
		Last	   *last = hash_search(lasts, &before->key, HASH_FIND, NULL);

		if (last != NULL)
			*last = *before;
	}
}

static void
forget_changes(void)
{
	changes = NULL;
	num_changes = max_changes = 0;
}

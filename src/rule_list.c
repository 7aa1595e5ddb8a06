/*
 * rule_list.c
 *		Sets of rules as this process knows them.
 *
 * Whoever asks whether there is something to run, in each of his requests, mostly hears
 * that there is not: that must not cost a query.  So what was read is kept until one of the
 * tables changes, be it back, and with it the last slots, which only grow; but none that is
 * not committed.  Called inside a transaction; where rules are run, what is kept may go.
 */
#include "postgres.h"

#include "rule_list.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "statement.h"
#include "store.h"

/* A set that changes all the time is used as it was read last. */
#define MAX_READS	3

/* More sets than that, and all are read again. */
#define MAX_KNOWN	64

typedef struct Known
{
	char		name[EVSCHED_QUEUE_BYTES + 1];	/* hash key */
	EvschedRuleSet *set;
} Known;

static HTAB *known;				/* NULL: nothing is */
static MemoryContext known_context;
static bool stale;				/* a table has changed */
static bool spent;				/* this transaction has spent slots */

static void forget_lists(void);
static void end_transaction(XactEvent event, void *arg);
static EvschedRuleSet *look_up(const char *name);
static void start_again(void);
static EvschedRuleSet *read_list(const char *name);
static bool read_set(EvschedRuleSet *set, MemoryContext context);
static void read_grants(EvschedRuleSet *set, MemoryContext context);
static void read_rules(EvschedRuleSet *set, MemoryContext context);
static void read_rule(EvschedRule *rule, uint64 row);

void
evsched_rule_list_init(void)
{
	evsched_store_on_change(forget_lists);
	RegisterXactCallback(end_transaction, NULL);
}

/* A set as it is by now, to be looked at before anything else is done; NULL: there is none. */
const EvschedRuleSet *
evsched_rule_list_find(const char *name)
{
	EvschedRuleSet *set;
	MemoryContext context;
	Known	   *entry;
	char		key[EVSCHED_QUEUE_BYTES + 1] = {0};

	AcceptInvalidationMessages();
	set = look_up(name);
	if (set != NULL)
		return set;
	/* What of slots this transaction has done may be undone. */
	if (spent)
		return read_list(name);

	/* What changes while it is read may be in one part of it and not in another. */
	for (int i = 0; i < MAX_READS; i++)
	{
		start_again();
		set = read_list(name);
		if (!stale)
			break;
	}
	if (set == NULL || stale)
		return set;
	context = MemoryContextSwitchTo(known_context);
	set = evsched_rule_list_copy(set);
	MemoryContextSwitchTo(context);
	strlcpy(key, name, sizeof(key));
	entry = hash_search(known, key, HASH_ENTER, NULL);
	entry->set = set;
	return set;
}

/* What find has returned, in this memory, where it stays. */
EvschedRuleSet *
evsched_rule_list_copy(const EvschedRuleSet *set)
{
	EvschedRuleSet *copy = palloc(sizeof(EvschedRuleSet));

	*copy = *set;
	copy->name = pstrdup(set->name);
	copy->slot_function = set->slot_function ? pstrdup(set->slot_function) : NULL;
	copy->slot_path = set->slot_path ? pstrdup(set->slot_path) : NULL;
	copy->grants = palloc(sizeof(int32) * Max(set->num_grants, 1));
	memcpy(copy->grants, set->grants, sizeof(int32) * set->num_grants);
	copy->rules = palloc(sizeof(EvschedRule) * Max(set->num_rules, 1));
	for (int i = 0; i < set->num_rules; i++)
	{
		EvschedRule *rule = &copy->rules[i];

		*rule = set->rules[i];
		rule->identifier = pstrdup(rule->identifier);
		rule->command = pstrdup(rule->command);
		rule->search_path = pstrdup(rule->search_path);
		if (rule->filter != NULL)
			rule->filter = DatumGetTextPCopy(PointerGetDatum(rule->filter));
	}
	return copy;
}

/* That slot was seen to be run. */
void
evsched_rule_list_note_slot(const char *set, int64 rule, int64 slot)
{
	EvschedRuleSet *in = spent ? NULL : look_up(set);

	for (int i = 0; in != NULL && i < in->num_rules; i++)
	{
		if (in->rules[i].id != rule)
			continue;
		in->rules[i].has_run = true;
		in->rules[i].last_slot = slot;
	}
}

/* This transaction is about to spend a slot. */
void
evsched_rule_list_note_spent(void)
{
	spent = true;
	stale = known != NULL;
}

static void
forget_lists(void)
{
	stale = known != NULL;
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		spent = false;
}

/* NULL: it is not known. */
static EvschedRuleSet *
look_up(const char *name)
{
	char		key[EVSCHED_QUEUE_BYTES + 1] = {0};
	Known	   *entry;

	if (known == NULL || stale)
		return NULL;
	strlcpy(key, name, sizeof(key));
	entry = hash_search(known, key, HASH_FIND, NULL);
	return entry == NULL ? NULL : entry->set;
}

/* Makes room for what is to be kept. */
static void
start_again(void)
{
	HASHCTL		info = {.keysize = EVSCHED_QUEUE_BYTES + 1, .entrysize = sizeof(Known)};

	if (known != NULL && !stale && hash_get_num_entries(known) < MAX_KNOWN)
		return;
	known = NULL;
	if (known_context == NULL)
		known_context = AllocSetContextCreate(TopMemoryContext, "evsched rules",
											  ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(known_context);
	info.hcxt = known_context;
	known = hash_create("evsched rules", 16, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stale = false;
}

/* Reads a set into this memory; NULL: there is none. */
static EvschedRuleSet *
read_list(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	EvschedRuleSet *set = palloc0(sizeof(EvschedRuleSet));
	EvschedCaller caller;
	bool		found;

	set->name = pstrdup(name);
	evsched_statement_begin(&caller);
	found = read_set(set, context);
	if (found)
	{
		read_grants(set, context);
		read_rules(set, context);
	}
	evsched_statement_end(&caller);
	return found ? set : NULL;
}

static bool
read_set(EvschedRuleSet *set, MemoryContext context)
{
	Datum		value = CStringGetTextDatum(set->name);
	MemoryContext spi_context;
	bool		isnull;
	Datum		function;

	if (evsched_statement_read(EVSCHED_STMT_RULE_SET_FIND, &value) == 0)
		return false;
	spi_context = MemoryContextSwitchTo(context);
	function = evsched_statement_value(0, 2, &isnull);
	set->slot_function = isnull ? NULL : TextDatumGetCString(function);
	if (!isnull)
		set->slot_path = TextDatumGetCString(evsched_statement_value(0, 3, &isnull));
	set->owner = DatumGetInt32(evsched_statement_value(0, 1, &isnull));
	MemoryContextSwitchTo(spi_context);
	return true;
}

static void
read_grants(EvschedRuleSet *set, MemoryContext context)
{
	Datum		values[2] = {CStringGetTextDatum(set->name), Int32GetDatum(set->owner)};
	bool		isnull;

	set->num_grants = evsched_statement_read(EVSCHED_STMT_RULE_GRANT_FIND, values);
	set->grants = MemoryContextAlloc(context, sizeof(int32) * Max(set->num_grants, 1));
	for (int i = 0; i < set->num_grants; i++)
		set->grants[i] = DatumGetInt32(evsched_statement_value(i, 1, &isnull));
}

static void
read_rules(EvschedRuleSet *set, MemoryContext context)
{
	Datum		values[2] = {CStringGetTextDatum(set->name), Int32GetDatum(set->owner)};
	MemoryContext spi_context;

	set->num_rules = evsched_statement_read(EVSCHED_STMT_RULE_LIST, values);
	spi_context = MemoryContextSwitchTo(context);
	set->rules = palloc0(sizeof(EvschedRule) * Max(set->num_rules, 1));
	for (int i = 0; i < set->num_rules; i++)
		read_rule(&set->rules[i], i);
	MemoryContextSwitchTo(spi_context);
}

static void
read_rule(EvschedRule *rule, uint64 row)
{
	bool		isnull;
	Datum		filter;

	rule->id = DatumGetInt64(evsched_statement_value(row, 1, &isnull));
	rule->identifier = TextDatumGetCString(evsched_statement_value(row, 2, &isnull));
	rule->nth = DatumGetInt32(evsched_statement_value(row, 3, &isnull));
	rule->period = *DatumGetIntervalP(evsched_statement_value(row, 4, &isnull));
	rule->each = DatumGetBool(evsched_statement_value(row, 5, &isnull));
	filter = evsched_statement_value(row, 6, &isnull);
	if (!isnull)
		rule->filter = DatumGetTextPCopy(filter);
	rule->command = TextDatumGetCString(evsched_statement_value(row, 7, &isnull));
	rule->search_path = TextDatumGetCString(evsched_statement_value(row, 8, &isnull));
	rule->last_slot = DatumGetInt64(evsched_statement_value(row, 9, &isnull));
	rule->has_run = !isnull;
}

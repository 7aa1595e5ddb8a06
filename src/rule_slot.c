/*
 * rule_slot.c
 *		The slots of rules of mode once: which one a moment is in, and whether it is
 *		spent.
 *
 * Runs in the session that runs rules, or changes them, in its transaction.  A name's
 * slots are guarded by an advisory lock of the transaction: who runs rules tries it, who
 * forgets slots waits for it.  What was spent is looked at, and written, with the latest
 * snapshot, for nobody else can write it meanwhile.
 */
#include "postgres.h"

#include "rule_slot.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "rule_owner.h"
#include "statement.h"

/* Advisory locks of users are of class 1 and 2. */
#define LOCK_CLASS		3

/* Where a rule is at a moment. */
typedef struct Slot
{
	int64		number;
	const char *name;
	int			nth;
} Slot;

/* A slot function that is called for a rule. */
typedef struct Calling
{
	const EvschedRuleSet *set;
	const EvschedRule *rule;
	TimestampTz now;
	MemoryContext context;		/* of the slot's name */
	Slot		slot;
} Calling;

static Slot find_slot(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now);
static int64 number_of(const EvschedRule *rule, TimestampTz now);
static Slot call_slot_function(const EvschedRuleSet *set, const EvschedRule *rule,
							   TimestampTz now);
static void ask_slot_function(void *calling);
static void tell_slot_function(void *calling);
static bool is_spent(const EvschedRuleSet *set, const EvschedRule *rule, const Slot *slot);
static bool is_same(const EvschedRuleSet *set, const EvschedRule *rule);
static void spend(const EvschedRuleSet *set, const Slot *slot, TimestampTz now);
static bool lock_slot(const char *set, const char *name, int nth, bool wait);
static void unlock_slot(const char *set, const char *name, int nth);
static LOCKTAG slot_tag(const char *set, const char *name, int nth);

/* Is it, by what is known?  A slot function is not called for that. */
bool
evsched_rule_slot_may_be_due(const EvschedRuleSet *set, const EvschedRule *rule,
							 TimestampTz now)
{
	return set->slot_function != NULL || !rule->has_run ||
		number_of(rule, now) > rule->last_slot;
}

/* Is the rule due, and nobody else running it?  Then its slot is spent. */
bool
evsched_rule_slot_take(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now)
{
	Slot		slot;

	if (!evsched_rule_slot_may_be_due(set, rule, now))
		return false;
	slot = find_slot(set, rule, now);
	if (set->slot_function != NULL && is_spent(set, rule, &slot))
		return false;
	/* Of those who come at the same time one gets the lock; who comes later sees the slot. */
	if (!lock_slot(set->name, slot.name, slot.nth, false))
		return false;
	if (is_spent(set, rule, &slot) || !is_same(set, rule))
	{
		unlock_slot(set->name, slot.name, slot.nth);
		return false;
	}
	spend(set, &slot, now);
	return true;
}

/*
 * As if the rules had never been run of which the statement run last has listed n, by name
 * and number; waits for who is running them.
 */
void
evsched_rule_slot_forget(const char *set, uint64 n)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *nths = palloc(sizeof(Datum) * Max(n, 1));
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		names[i] = evsched_statement_value(i, 1, &isnull);
		nths[i] = evsched_statement_value(i, 2, &isnull);
	}
	for (uint64 i = 0; i < n; i++)
		evsched_rule_slot_forget_one(set, names[i], DatumGetInt32(nths[i]));
}

/* The same of one. */
void
evsched_rule_slot_forget_one(const char *set, Datum name, int nth)
{
	Datum		values[] = {CStringGetTextDatum(set), name, Int32GetDatum(nth)};

	(void) lock_slot(set, TextDatumGetCString(name), nth, true);
	evsched_statement_run_now(EVSCHED_STMT_RULE_SLOT_REMOVE, values, NULL);
}

/* The slot of a moment. */
static Slot
find_slot(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now)
{
	if (set->slot_function != NULL)
		return call_slot_function(set, rule, now);
	return (Slot)
	{
		.number = number_of(rule, now),
			.name = rule->identifier,
			.nth = rule->nth
	};
}

/* By default: how many whole periods since 1970. */
static int64
number_of(const EvschedRule *rule, TimestampTz now)
{
	const int64 unix_epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		since = now + unix_epoch;
	int64		period = evsched_arg_us(&rule->period);

	return since / period - (since % period < 0);
}

static Slot
call_slot_function(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now)
{
	Calling		calling = {set, rule, now, CurrentMemoryContext, {.name = rule->identifier}};
	ErrorContextCallback told = {error_context_stack, tell_slot_function, &calling};
	ErrorData  *error;

	error_context_stack = &told;
	error = evsched_rule_owner_run(set->owner, set->slot_path, ask_slot_function, &calling);
	error_context_stack = told.previous;
	if (error != NULL)
		ReThrowError(error);
	return calling.slot;
}

/* As the owner. */
static void
ask_slot_function(void *arg)
{
	Calling    *calling = arg;
	const EvschedRule *rule = calling->rule;
	Oid			types[] = {TEXTOID, INTERVALOID, TIMESTAMPTZOID};
	Datum		values[] = {
		CStringGetTextDatum(rule->identifier), IntervalPGetDatum(&rule->period),
		TimestampTzGetDatum(calling->now)
	};
	bool		isnull;

	/* Its result has been looked at, but it may be another function by now. */
	if (SPI_execute_with_args(psprintf("SELECT slot::pg_catalog.int8, name::pg_catalog.text"
									   " FROM %s($1, $2, $3) AS s(slot, name)",
									   calling->set->slot_function),
							  lengthof(types), types, values, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the slot function returns no row")));
	calling->slot.number = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													   SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the slot function returns no slot")));
	values[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	if (!isnull)
		calling->slot.name = MemoryContextStrdup(calling->context, TextDatumGetCString(values[0]));
	if (strlen(calling->slot.name) > EVSCHED_KEY_BYTES)
		evsched_arg_refuse("the slot function returns too long a name",
						   psprintf("A name has at most %d bytes.", EVSCHED_KEY_BYTES));
}

static void
tell_slot_function(void *arg)
{
	const Calling *calling = arg;

	errcontext("slot function %s of rule set \"%s\", for rule \"%s\"",
			   calling->set->slot_function, calling->set->name, calling->rule->identifier);
}

/* Was this slot, or a later one, run by now?  So one wins nothing by setting the clock back. */
static bool
is_spent(const EvschedRuleSet *set, const EvschedRule *rule, const Slot *slot)
{
	Datum		values[] = {
		CStringGetTextDatum(set->name), CStringGetTextDatum(slot->name),
		Int32GetDatum(slot->nth), Int32GetDatum(set->owner)
	};
	EvschedCaller caller;
	bool		spent = false;
	bool		isnull;

	evsched_statement_begin(&caller);
	if (evsched_statement_read(EVSCHED_STMT_RULE_SLOT_FIND, values) > 0)
	{
		int64		last = DatumGetInt64(evsched_statement_value(0, 1, &isnull));

		spent = last >= slot->number;
		if (set->slot_function == NULL)
			evsched_rule_list_note_slot(set->name, rule->id, last);
	}
	evsched_statement_end(&caller);
	return spent;
}

/*
 * Who forgets slots waits for the locks of those that are being run; what was looked at
 * before may be another rule by now, or be counted otherwise.
 */
static bool
is_same(const EvschedRuleSet *set, const EvschedRule *rule)
{
	Datum		values[] = {
		Int64GetDatum(rule->id), Int32GetDatum(set->owner),
		set->slot_function == NULL ? (Datum) 0 : CStringGetTextDatum(set->slot_function),
		IntervalPGetDatum(&rule->period)
	};
	EvschedCaller caller;
	bool		same;

	evsched_statement_begin(&caller);
	same = evsched_statement_run_now(EVSCHED_STMT_RULE_SAME, values,
									 set->slot_function == NULL ? "  n " : NULL) > 0;
	evsched_statement_end(&caller);
	return same;
}

static void
spend(const EvschedRuleSet *set, const Slot *slot, TimestampTz now)
{
	Datum		values[] = {
		CStringGetTextDatum(set->name), CStringGetTextDatum(slot->name),
		Int32GetDatum(slot->nth), Int32GetDatum(set->owner),
		Int64GetDatum(slot->number), TimestampTzGetDatum(now)
	};
	EvschedCaller caller;

	evsched_rule_list_note_spent();
	evsched_statement_begin(&caller);
	if (evsched_statement_run_now(EVSCHED_STMT_RULE_SLOT_SET, values, NULL) == 0)
		evsched_statement_run_now(EVSCHED_STMT_RULE_SLOT_ADD, values, NULL);
	evsched_statement_end(&caller);
}

/* Until the transaction ends; false: another one has it. */
static bool
lock_slot(const char *set, const char *name, int nth, bool wait)
{
	LOCKTAG		tag = slot_tag(set, name, nth);

	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void
unlock_slot(const char *set, const char *name, int nth)
{
	LOCKTAG		tag = slot_tag(set, name, nth);

	(void) LockRelease(&tag, ExclusiveLock, false);
}

static LOCKTAG
slot_tag(const char *set, const char *name, int nth)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) set, strlen(set), nth);
	LOCKTAG		tag;

	hash = hash_bytes_extended((const unsigned char *) name, strlen(name), hash);
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, LOCK_CLASS);
	return tag;
}

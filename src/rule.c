/*
 * rule.c
 *		Rules: adding, removing and loading them.
 *
 * Runs in the session that calls it, in its transaction.  The set's row is locked
 * first, so of two who change a set one waits for the other.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "compat.h"
#include "expression.h"
#include "job.h"
#include "role.h"
#include "rule_owner.h"
#include "rule_set.h"
#include "rule_slot.h"
#include "statement.h"
#include "store.h"

/* Who changes a set may lock the slots of all of them. */
#define MAX_RULES		1000

/* A rule to be; NULL is not said. */
typedef struct NewRule
{
	text	   *identifier;
	Interval   *period;
	text	   *command;
	text	   *mode;
	text	   *filter;
} NewRule;

/* The members of a rule as JSON, and where they go. */
static const struct
{
	const char *name;
	size_t		offset;
}			members[] = {
	{"identifier", offsetof(NewRule, identifier)},
	{"command", offsetof(NewRule, command)},
	{"mode", offsetof(NewRule, mode)},
	{"filter", offsetof(NewRule, filter)}
};

static const char *const mode_words[] = {"once", "each"};

static void check_rule(const NewRule *rule);
static int64 put_rule(const char *set, int32 owner, const NewRule *rule,
					  const char *search_path, bool loading);
static NewRule *parse_rules(Jsonb *rules, int *n);
static void tell_rule(void *number);
static void parse_rule(JsonbContainer *object, NewRule *rule);
static void parse_member(const char *name, JsonbValue *value, NewRule *rule);
static Interval *parse_period(const char *given);

PG_FUNCTION_INFO_V1(evsched_sql_add_rule);
PG_FUNCTION_INFO_V1(evsched_sql_remove_rule);
PG_FUNCTION_INFO_V1(evsched_sql_load_rules);

/* add_rule(identifier, period, command, mode, filter, rule_set) */
Datum
evsched_sql_add_rule(PG_FUNCTION_ARGS)
{
	NewRule		rule = {
		.identifier = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0),
		.period = evsched_arg_interval(fcinfo, 1),
		.command = evsched_job_command(fcinfo, 2, "command"),
		.mode = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3),
		.filter = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4)
	};
	const char *set = evsched_rule_set_name(fcinfo, 5);
	const char *search_path = evsched_rule_owner_path();
	EvschedCaller caller;
	bool		slots_named;
	int32		owner;
	int64		id;

	PreventCommandIfReadOnly("evsched.add_rule()");
	evsched_store_require_current();
	check_rule(&rule);
	evsched_statement_begin(&caller);
	owner = evsched_rule_set_change(set, caller.user, &slots_named);
	owner = evsched_rule_set_own(set, owner, caller.user);
	id = put_rule(set, owner, &rule, search_path, false);
	evsched_statement_end(&caller);
	PG_RETURN_INT64(id);
}

/* remove_rule(identifier, rule_set) */
Datum
evsched_sql_remove_rule(PG_FUNCTION_ARGS)
{
	const char *set = evsched_rule_set_name(fcinfo, 1);
	Datum		values[2] = {CStringGetTextDatum(set)};
	EvschedCaller caller;
	bool		slots_named;
	int			n = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	PreventCommandIfReadOnly("evsched.remove_rule()");
	evsched_store_require_current();
	values[1] = PG_GETARG_DATUM(0);
	evsched_statement_begin(&caller);
	if (evsched_statement_read(EVSCHED_STMT_RULE_SET_FIND, values) > 0)
	{
		(void) evsched_rule_set_change(set, caller.user, &slots_named);
		n = evsched_statement_run(EVSCHED_STMT_RULE_REMOVE, values, NULL);
		if (!slots_named)
			evsched_rule_slot_forget(set, n);
	}
	evsched_statement_end(&caller);
	PG_RETURN_INT32(n);
}

/* load_rules(rules, rule_set) */
Datum
evsched_sql_load_rules(PG_FUNCTION_ARGS)
{
	const char *set = evsched_rule_set_name(fcinfo, 1);
	const char *search_path = evsched_rule_owner_path();
	Datum		value = CStringGetTextDatum(set);
	EvschedCaller caller;
	bool		slots_named;
	NewRule    *rules;
	int32		owner;
	uint64		removed;
	int			n;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("rules must not be null", "Give an array of rules; it may be empty.");
	PreventCommandIfReadOnly("evsched.load_rules()");
	evsched_store_require_current();
	rules = parse_rules(PG_GETARG_JSONB_P(0), &n);
	evsched_statement_begin(&caller);
	owner = evsched_rule_set_change(set, caller.user, &slots_named);
	/* A rule that is there again is the same one, and goes on with its slots. */
	evsched_statement_run(EVSCHED_STMT_RULE_SHELVE, &value, NULL);
	if (!OidIsValid(evsched_role_of(owner)))
		evsched_statement_run(EVSCHED_STMT_RULE_REMOVE_SHELVED, &value, NULL);
	owner = evsched_rule_set_own(set, owner, caller.user);
	for (int i = 0; i < n; i++)
		(void) put_rule(set, owner, &rules[i], search_path, true);
	removed = evsched_statement_run(EVSCHED_STMT_RULE_REMOVE_SHELVED, &value, NULL);
	if (!slots_named)
		evsched_rule_slot_forget(set, removed);
	evsched_statement_end(&caller);
	PG_RETURN_INT32(n);
}

/* Raises 22023 for what cannot be a rule, 42601 for what is no SQL. */
static void
check_rule(const NewRule *rule)
{
	if (rule->identifier == NULL || VARSIZE_ANY_EXHDR(rule->identifier) < 1 ||
		VARSIZE_ANY_EXHDR(rule->identifier) > EVSCHED_KEY_BYTES)
		evsched_arg_refuse("invalid identifier",
						   psprintf("A rule's identifier has 1 to %d bytes.", EVSCHED_KEY_BYTES));
	if (rule->period == NULL)
		evsched_arg_refuse("period must not be null", "Give an interval such as '5 min'.");
	if (rule->period->month != 0 || !evsched_interval_is_finite(rule->period))
		evsched_arg_refuse("a rule's period has no months", "Give days, hours, minutes and seconds.");
	(void) evsched_arg_positive_us(rule->period, "period");
	(void) evsched_arg_word(rule->mode, "mode", mode_words, lengthof(mode_words));
	if (rule->command == NULL)
		evsched_arg_refuse("command must not be null", "Give an SQL command.");
	evsched_expression_check_command(rule->command);
	if (rule->filter != NULL)
		(void) evsched_expression_query(rule->filter, "filter");
}

/* Last of its set; while that is loaded, perhaps as one that it had before. */
static int64
put_rule(const char *set, int32 owner, const NewRule *rule, const char *search_path,
		 bool loading)
{
	int			mode = evsched_arg_word(rule->mode, "mode", mode_words, lengthof(mode_words));
	Datum		values[] = {
		CStringGetTextDatum(set), PointerGetDatum(rule->identifier), Int32GetDatum(owner),
		IntervalPGetDatum(rule->period), CStringGetTextDatum(mode_words[mode]),
		PointerGetDatum(rule->filter), PointerGetDatum(rule->command),
		CStringGetTextDatum(search_path)
	};
	const char *nulls = rule->filter == NULL ? "     n  " : NULL;
	bool		replaced = loading &&
		evsched_statement_run(EVSCHED_STMT_RULE_REPLACE, values, nulls) > 0;
	bool		isnull;
	int64		id;

	if (!replaced && evsched_statement_run(EVSCHED_STMT_RULE_ADD, values, nulls) == 0)
		evsched_store_refuse_stale();
	id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	if (DatumGetInt32(evsched_statement_value(0, 2, &isnull)) > MAX_RULES)
		evsched_arg_refuse(psprintf("a rule set has no more than %d rules", MAX_RULES),
						   "Make several sets.");
	/* The slots of another period tell nothing. */
	if (replaced && DatumGetBool(evsched_statement_value(0, 4, &isnull)))
		evsched_rule_slot_forget_one(set, PointerGetDatum(rule->identifier),
									 DatumGetInt32(evsched_statement_value(0, 3, &isnull)));
	return id;
}

/* All of them checked. */
static NewRule *
parse_rules(Jsonb *rules, int *n)
{
	NewRule    *read;

	if (!JB_ROOT_IS_ARRAY(rules) || JB_ROOT_IS_SCALAR(rules))
		evsched_arg_refuse("rules must be a JSON array", "Give an array of objects.");
	*n = JB_ROOT_COUNT(rules);
	read = palloc0(sizeof(NewRule) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&rules->root, i);
		int			number = i + 1;
		ErrorContextCallback told = {error_context_stack, tell_rule, &number};

		error_context_stack = &told;
		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			evsched_arg_refuse("a rule is not an object",
							   "A rule is {\"identifier\": …, \"period\": …, \"command\": …}.");
		parse_rule(value->val.binary.data, &read[i]);
		check_rule(&read[i]);
		error_context_stack = told.previous;
	}
	return read;
}

static void
tell_rule(void *number)
{
	errcontext("rule %d", *(int *) number);
}

static void
parse_rule(JsonbContainer *object, NewRule *rule)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue	value;
	char	   *name = NULL;

	for (;;)
	{
		JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true);

		if (token == WJB_DONE)
			break;
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			parse_member(name, &value, rule);
	}
}

/* A member that is null is not said. */
static void
parse_member(const char *name, JsonbValue *value, NewRule *rule)
{
	char	   *given;
	int			i = 0;

	while (i < lengthof(members) && strcmp(name, members[i].name) != 0)
		i++;
	if (i == lengthof(members) && strcmp(name, "period") != 0)
		evsched_arg_refuse(psprintf("a rule has no member \"%s\"", evsched_arg_clip(name)),
						   "Its members are identifier, period, command, mode and filter.");
	if (value->type == jbvNull)
		return;
	if (value->type != jbvString)
		evsched_arg_refuse(psprintf("member \"%s\" of a rule is not a string", name),
						   "All of them are; a period is one such as \"5 min\".");
	given = pnstrdup(value->val.string.val, value->val.string.len);
	if (i == lengthof(members))
		rule->period = parse_period(given);
	else
		*(text **) ((char *) rule + members[i].offset) = cstring_to_text(given);
}

/* What is no interval is 22007 or 22008, as everywhere. */
static Interval *
parse_period(const char *given)
{
	return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(given),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

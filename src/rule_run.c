/*
 * rule_run.c
 *		Running the rules that are due: run_rules.
 *
 * Runs in the session that calls it, in its transaction: what a rule has done, and that
 * its slot is spent, is undone when that rolls back.  Filter, command and slot function
 * are run as the set's owner.  A command has a subtransaction of its own, so its failure
 * is its own; nobody is waited for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "expression.h"
#include "history.h"
#include "role.h"
#include "rule_list.h"
#include "rule_owner.h"
#include "rule_session.h"
#include "rule_set.h"
#include "rule_slot.h"
#include "setting.h"
#include "statement.h"
#include "store.h"

/* A rule on its way. */
typedef struct Run
{
	const EvschedRule *rule;
	MemoryContext context;		/* of responses */
	Jsonb	   *response;
	Jsonb	   *rewritten;		/* NULL: it stays */
} Run;

static bool may_run(const EvschedRuleSet *set);
static bool is_any_due(const EvschedRuleSet *set, TimestampTz now);
static void run_all(const EvschedRuleSet *set, TimestampTz now, Jsonb **response);
static bool take_turn(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now);
static ErrorData *run_apart(const EvschedRuleSet *set, const EvschedRule *rule, Jsonb **response);
static void run_rule(void *run);
static bool passes_filter(const EvschedRule *rule, Jsonb *response);
static void execute(const char *sql, Jsonb *response);
static Jsonb *new_response(MemoryContext context);
static void record_failure(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz started_at,
						   const ErrorData *error);

PG_FUNCTION_INFO_V1(evsched_sql_run_rules);

/* run_rules(response, rule_set) */
Datum
evsched_sql_run_rules(PG_FUNCTION_ARGS)
{
	Jsonb	   *response = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	TimestampTz now = GetCurrentTimestamp();
	const char *name = evsched_rule_set_name(fcinfo, 1);
	const EvschedRuleSet *set;

	PreventCommandIfReadOnly("evsched.run_rules()");
	evsched_store_require_current();
	set = evsched_rule_list_find(name);
	/* What is known may be forgotten while something is run. */
	if (set != NULL && may_run(set) && is_any_due(set, now))
		run_all(evsched_rule_list_copy(set), now, &response);
	if (response == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(response);
}

/* Raises 42501 for who may not; false: nobody may now, as what was restored before start(). */
static bool
may_run(const EvschedRuleSet *set)
{
	if (!OidIsValid(evsched_role_of(set->owner)) || evsched_setting_is_stopped())
		return false;
	evsched_rule_set_require_run(set);
	return true;
}

/* Is there a rule that may be due? */
static bool
is_any_due(const EvschedRuleSet *set, TimestampTz now)
{
	bool		due = false;

	for (int i = 0; i < set->num_rules && !due; i++)
	{
		const EvschedRule *rule = &set->rules[i];

		due = rule->each ?
			evsched_rule_session_is_due(evsched_store_here(), rule->id,
										evsched_arg_us(&rule->period), now) :
			evsched_rule_slot_may_be_due(set, rule, now);
	}
	return due;
}

static void
run_all(const EvschedRuleSet *set, TimestampTz now, Jsonb **response)
{
	for (int i = 0; i < set->num_rules; i++)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		/* What was run before may have taken a while. */
		if (!OidIsValid(evsched_role_of(set->owner)))
			break;
		if (!take_turn(set, &set->rules[i], now))
			continue;
		error = run_apart(set, &set->rules[i], response);
		if (error != NULL)
			record_failure(set, &set->rules[i], now, error);
	}
}

/* Is it this caller's turn to run the rule?  Then nobody else's, whatever comes of it. */
static bool
take_turn(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz now)
{
	if (rule->each)
		return evsched_rule_session_take(evsched_store_here(), rule->id,
										 evsched_arg_us(&rule->period), now);
	return evsched_rule_slot_take(set, rule, now);
}

/* Runs a rule; returns its error, when it has been rolled back, or NULL. */
static ErrorData *
run_apart(const EvschedRuleSet *set, const EvschedRule *rule, Jsonb **response)
{
	Run			run = {rule, CurrentMemoryContext, *response, NULL};
	ErrorData  *error = evsched_rule_owner_run(set->owner, rule->search_path, run_rule, &run);

	/* Who wants the whole call to end must have it end; and who has to try again, try again. */
	if (error != NULL && (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
						  error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
						  error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED))
		ReThrowError(error);
	if (error == NULL && run.rewritten != NULL)
		*response = run.rewritten;
	return error;
}

/* As the owner. */
static void
run_rule(void *arg)
{
	Run		   *run = arg;

	if (run->rule->filter != NULL && !passes_filter(run->rule, run->response))
		return;
	execute(run->rule->command, run->response);
	run->rewritten = new_response(run->context);
}

static bool
passes_filter(const EvschedRule *rule, Jsonb *response)
{
	Datum		value;
	bool		isnull;

	execute(evsched_expression_query(rule->filter, "filter"), response);
	/* What returns a set may return an empty one. */
	if (SPI_processed == 0)
		return false;
	if (SPI_gettypeid(SPI_tuptable->tupdesc, 1) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("filter of rule \"%s\" must return boolean", rule->identifier)));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return !isnull && DatumGetBool(value);
}

/* $1 is the response. */
static void
execute(const char *sql, Jsonb *response)
{
	Oid			types[] = {JSONBOID};
	Datum		values[] = {PointerGetDatum(response)};
	int			result = SPI_execute_with_args(sql, 1, types, values,
											   response == NULL ? "n" : NULL, false, 0);

	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a rule cannot run this command"),
				 errdetail("%s", SPI_result_code_string(result)),
				 errhint("Use a job for what begins or ends transactions or copies from or to the client.")));
}

/* What the command has returned, if that is one json value; else NULL. */
static Jsonb *
new_response(MemoryContext context)
{
	MemoryContext spi_context;
	Jsonb	   *response;
	Datum		value;
	Oid			type;
	bool		isnull;

	if (SPI_tuptable == NULL || SPI_tuptable->numvals == 0 || SPI_tuptable->tupdesc->natts != 1)
		return NULL;
	type = SPI_gettypeid(SPI_tuptable->tupdesc, 1);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull || (type != JSONBOID && type != JSONOID))
		return NULL;
	spi_context = MemoryContextSwitchTo(context);
	response = type == JSONBOID ? DatumGetJsonbPCopy(value) :
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(value))));
	MemoryContextSwitchTo(spi_context);
	return response;
}

/* In the history of runs, among those of the rule's. */
static void
record_failure(const EvschedRuleSet *set, const EvschedRule *rule, TimestampTz started_at,
			   const ErrorData *error)
{
	EvschedRecord record = {
		.id = evsched_history_next_run(),
		.event_id = rule->id,
		.recurring = rule->id,
		.owner = set->owner,
		.started_at = started_at,
		.ended_at = GetCurrentTimestamp(),
		.state = EVSCHED_RUN_FAILED,
		.command = rule->command,
		.sqlstate = unpack_sql_state(error->sqlerrcode),
		.message = error->message != NULL ? error->message : ""
	};

	evsched_history_add(&record);
}

/*
 * coroutine.c
 *		Jobs that go on in steps and sleep in between: coroutine, sleep.
 *
 * A coroutine is posted like any job.  Its command calls the step function with the
 * state, which is the event's payload, and then _go_on, which moves the event in the
 * run's own transaction: so state, due time and what the step has done commit together.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "job.h"
#include "run.h"
#include "table.h"

/* What a step has returned, and where the event stood when it began. */
typedef struct GoOn
{
	EvschedPlace place;
	TimestampTz due_at;
	struct varlena *state;		/* jsonb; NULL: null */
} GoOn;

static const EvschedSignature step_signature = {
	.kind = "step of a coroutine",
	.num_args = 1,
	.args = {JSONBOID},
	.columns = {JSONBOID, INTERVALOID},
	.hint = "It is called with (state jsonb) and returns (state jsonb, sleep interval)."
};

static void move_on(GoOn *go_on);
static EvschedVerdict decide_go_on(EvschedTable *table, void *arg);

PG_FUNCTION_INFO_V1(evsched_sql_coroutine);
PG_FUNCTION_INFO_V1(evsched_sql_go_on);
PG_FUNCTION_INFO_V1(evsched_sql_sleep);

/* coroutine(step, state, pool) */
Datum
evsched_sql_coroutine(PG_FUNCTION_ARGS)
{
	EvschedEntry entry = {
		.due_at = GetCurrentTimestamp(),
		.has_max_retries = true,
		.payload = (struct varlena *) evsched_arg_pointer(fcinfo, 1)
	};

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("step must not be null", "Name a function.");
	entry.command = cstring_to_text(psprintf("SELECT evsched._go_on(s.state, s.sleep)"
											 " FROM %s($1) AS s(state, sleep)",
											 evsched_arg_function(PG_GETARG_OID(0),
																  &step_signature)));
	entry.queue = evsched_job_pool(fcinfo, 2);
	evsched_job_require_login();
	PG_RETURN_INT64(evsched_entry_post(&entry, "evsched.coroutine()"));
}

/* _go_on(state, sleep): the event of this run is due again after it, with that state */
Datum
evsched_sql_go_on(PG_FUNCTION_ARGS)
{
	static TransactionId called_in;
	GoOn		go_on = {.state = (struct varlena *) evsched_arg_pointer(fcinfo, 0)};
	TimestampTz now = GetCurrentTimestamp();

	if (!evsched_run_event(&go_on.place))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("evsched._go_on() is called by the steps of coroutines"),
				 errhint("Start one with evsched.coroutine.")));
	if (called_in == GetTopTransactionId())
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("the step of a coroutine returns more than one row")));
	called_in = GetTopTransactionId();
	if (!PG_ARGISNULL(1))
	{
		/* Later than it was in any case: else it would be done. */
		go_on.due_at = Max(Max(evsched_arg_due_after(PG_GETARG_INTERVAL_P(1), now), now),
						   go_on.place.due_at + 1);
		move_on(&go_on);
	}
	if (go_on.state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(go_on.state);
}

/* sleep(delay) */
Datum
evsched_sql_sleep(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		evsched_arg_refuse("delay must not be null", "Give an interval such as '5 s'.");
	return DirectFunctionCall1(pg_sleep,
							   Float8GetDatum(evsched_arg_us(PG_GETARG_INTERVAL_P(0)) /
											  (double) USECS_PER_SEC));
}

static void
move_on(GoOn *go_on)
{
	bool		read_only = XactReadOnly;
	EvschedTable table;

	/* What its role has promised for its transactions does not bind us. */
	XactReadOnly = false;
	evsched_table_open_now(&table, "evsched coroutine");
	/* Who has cancelled it meanwhile has the last word. */
	(void) evsched_table_change(&table, go_on->place.id, decide_go_on, go_on);
	evsched_table_close(&table);
	XactReadOnly = read_only;
}

/* So has who has moved it. */
static EvschedVerdict
decide_go_on(EvschedTable *table, void *arg)
{
	GoOn	   *go_on = arg;

	evsched_table_copy_next(table);
	if (evsched_event_place(table->row).due_at == go_on->place.due_at)
		evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(go_on->due_at));
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_RETRIES, Int32GetDatum(0));
	table->next->tts_isnull[EVSCHED_EVENT_LAST_ERROR - 1] = true;
	table->next->tts_isnull[EVSCHED_EVENT_NUM_LOST - 1] = true;
	if (go_on->state != NULL)
		evsched_table_set_next(table, EVSCHED_EVENT_PAYLOAD, PointerGetDatum(go_on->state));
	else
		table->next->tts_isnull[EVSCHED_EVENT_PAYLOAD - 1] = true;
	return EVSCHED_UPDATE;
}

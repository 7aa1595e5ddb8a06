/*
 * dead.c
 *		Events that are given up: kept, brought back, thrown away.
 *
 * The scheduler and reject() add them in the transaction that removes the
 * event; redrive and discard run in sessions.
 */
#include "postgres.h"

#include "dead.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "effect.h"
#include "guc.h"
#include "pool.h"
#include "right.h"
#include "setting.h"
#include "statement.h"
#include "store.h"

/* A dead event that somebody wants to bring back or throw away. */
typedef struct Candidate
{
	Datum		id;
	int32		owner;
	char		queue[EVSCHED_QUEUE_BYTES + 1];
} Candidate;

static Datum run_on_ids(FunctionCallInfo fcinfo, EvschedStatement statement,
						const char *command);
static Datum own_ids(Datum ids);
static Datum run_counting(EvschedStatement statement, Datum *values, const char *nulls,
						  const char *command);

PG_FUNCTION_INFO_V1(evsched_sql_redrive);
PG_FUNCTION_INFO_V1(evsched_sql_redrive_ids);
PG_FUNCTION_INFO_V1(evsched_sql_discard);

/* Has the event been delivered as often as it may? */
bool
evsched_dead_is_due(TupleTableSlot *row)
{
	int			max_retries = evsched_setting_max_retries(row);

	return max_retries != EVSCHED_RETRY_FOREVER &&
		evsched_event_num_retries(row) >= max_retries;
}

/* Keeps an event that has just been removed, and removes the oldest ones. */
void
evsched_dead_add(TupleTableSlot *row, const char *why, const char *sqlstate)
{
	static const int columns[] = {
		EVSCHED_EVENT_ID, EVSCHED_EVENT_QUEUE, EVSCHED_EVENT_KEY, EVSCHED_EVENT_PAYLOAD,
		EVSCHED_EVENT_COMMAND, EVSCHED_EVENT_OWNER, EVSCHED_EVENT_RECURRING,
		EVSCHED_EVENT_MAX_RETRIES, EVSCHED_EVENT_NUM_RETRIES, EVSCHED_EVENT_RETRY_DELAY,
		EVSCHED_EVENT_RUN_TIMEOUT, EVSCHED_EVENT_BODY, EVSCHED_EVENT_HANDLES
	};
	Datum		values[lengthof(columns) + 2];
	char		nulls[lengthof(columns) + 3];
	Interval	age = {.time = evsched_dead_age * USECS_PER_MINUTE};
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	EvschedCaller caller;
	int			n = lengthof(columns);

	for (int i = 0; i < n; i++)
	{
		values[i] = evsched_event_value(row, columns[i]);
		nulls[i] = evsched_event_has(row, columns[i]) ? ' ' : 'n';
	}
	values[n] = CStringGetTextDatum(why);
	nulls[n] = ' ';
	values[n + 1] = sqlstate ? CStringGetTextDatum(sqlstate) : (Datum) 0;
	nulls[n + 1] = sqlstate ? ' ' : 'n';
	nulls[n + 2] = '\0';

	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_DEAD_ADD, values, nulls);
	evsched_statement_run(EVSCHED_STMT_DEAD_PRUNE, (Datum[]) {IntervalPGetDatum(&age)}, NULL);
	evsched_statement_end(&caller);

	evsched_event_queue(row, queue);
	evsched_effect_count(evsched_store_here(), queue, EVSCHED_COUNT_DEAD, 1);
}

/* redrive(queue, max_events) */
Datum
evsched_sql_redrive(PG_FUNCTION_ARGS)
{
	const char *queue = evsched_arg_required_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	Datum		values[2] = {CStringGetTextDatum(queue), Int64GetDatum(PG_INT64_MAX)};

	if (!PG_ARGISNULL(1) && PG_GETARG_INT32(1) < 1)
		evsched_arg_refuse("max_events must be at least 1", "Give a number, or NULL for all.");
	if (!PG_ARGISNULL(1))
		values[1] = Int64GetDatum(PG_GETARG_INT32(1));
	evsched_store_require_current();
	evsched_right_require_queue_control(queue, "redrive()");
	return run_counting(EVSCHED_STMT_DEAD_REDRIVE_QUEUE, values, NULL, "evsched.redrive()");
}

/* redrive(ids) */
Datum
evsched_sql_redrive_ids(PG_FUNCTION_ARGS)
{
	return run_on_ids(fcinfo, EVSCHED_STMT_DEAD_REDRIVE_IDS, "evsched.redrive()");
}

/* discard(ids) */
Datum
evsched_sql_discard(PG_FUNCTION_ARGS)
{
	return run_on_ids(fcinfo, EVSCHED_STMT_DEAD_DISCARD, "evsched.discard()");
}

static Datum
run_on_ids(FunctionCallInfo fcinfo, EvschedStatement statement, const char *command)
{
	Datum		ids;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("ids must not be null", "Give an array of ids.");
	if (ARR_NDIM(PG_GETARG_ARRAYTYPE_P(0)) > 1)
		evsched_arg_refuse("ids has more than one dimension", "Give a one-dimensional array.");
	ids = PG_GETARG_DATUM(0);
	evsched_store_require_current();
	if (!evsched_right_controls())
		ids = own_ids(ids);
	return run_counting(statement, &ids, NULL, command);
}

/*
 * Of these dead events, those that are in queues of current_user's, or are jobs of a role
 * of which it is a member: nobody owns a pool.
 */
static Datum
own_ids(Datum ids)
{
	EvschedCaller caller;
	Candidate  *candidates;
	Datum	   *own;
	int			n;
	int			num_own = 0;

	/* To ask for rights runs statements, too. */
	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_DEAD_FIND, &ids);
	candidates = SPI_palloc(sizeof(Candidate) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool		isnull;

		candidates[i].id = evsched_statement_value(i, 1, &isnull);
		text_to_cstring_buffer(DatumGetTextPP(evsched_statement_value(i, 2, &isnull)),
							   candidates[i].queue, sizeof(candidates[i].queue));
		candidates[i].owner = DatumGetInt32(evsched_statement_value(i, 3, &isnull));
	}
	evsched_statement_end(&caller);

	own = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (evsched_right_owns(candidates[i].queue) ||
			(evsched_pool_exists(candidates[i].queue) &&
			 evsched_right_is_member(GetUserId(), candidates[i].owner)))
			own[num_own++] = candidates[i].id;
	}
	return PointerGetDatum(construct_array(own, num_own, INT8OID, 8, FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* Runs a statement that answers with a number. */
static Datum
run_counting(EvschedStatement statement, Datum *values, const char *nulls,
			 const char *command)
{
	EvschedCaller caller;
	Datum		n;
	bool		isnull;

	PreventCommandIfReadOnly(command);
	evsched_statement_begin(&caller);
	evsched_statement_run(statement, values, nulls);
	n = evsched_statement_value(0, 1, &isnull);
	evsched_statement_end(&caller);
	return n;
}

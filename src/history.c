/*
 * history.c
 *		The runs of jobs: what became of them, as history.
 *
 * Written by the worker in the transaction of the run, or by the scheduler for a
 * run that was lost.  Whoever adds a run removes what is too old or too many.
 */
#include "postgres.h"

#include "history.h"

#include "access/xact.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "right.h"
#include "shared.h"
#include "staff.h"
#include "statement.h"
#include "store.h"

/* In the order of sql/run_record.sql. */
#define RUN_COLUMNS		17

/* The history as a whole is pruned by one of so many runs, and by each of few. */
#define MAX_PRUNE_STEP	64

/* The oldest runs are looked for from the first one on by one of so many prunes. */
#define PRUNES_FROM_START	64

static const char *const state_words[] = {
	[EVSCHED_RUN_RUNNING] = "running",
	[EVSCHED_RUN_SUCCEEDED] = "succeeded",
	[EVSCHED_RUN_FAILED] = "failed",
	[EVSCHED_RUN_CANCELLED] = "cancelled",
	[EVSCHED_RUN_LOST] = "lost"
};

static int64 running_now(int64 id, Oid role);
static bool write_down(const EvschedRecord *run, EvschedStatement statement);
static bool add(const EvschedRecord *run, EvschedStatement statement);
static void prune_series(const EvschedRecord *run);
static void prune(const EvschedRecord *run);

PG_FUNCTION_INFO_V1(evsched_sql_result);

int64
evsched_history_next_run(void)
{
	(void) evsched_store_lock(AccessShareLock);
	return nextval_internal(evsched_store_objects()->run_sequence, false);
}

/* Writes a run down. */
void
evsched_history_add(const EvschedRecord *run)
{
	(void) write_down(run, EVSCHED_STMT_RUN_ADD);
}

/*
 * The same of one that may have been written down when it began; false: it was written down
 * as ended already.
 */
bool
evsched_history_end(const EvschedRecord *run)
{
	return write_down(run, EVSCHED_STMT_RUN_END);
}

/* result(id) */
Datum
evsched_sql_result(PG_FUNCTION_ARGS)
{
	EvschedCaller caller;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {true, true, true};
	HeapTuple	tuple;
	Datum		id = PG_ARGISNULL(0) ? Int64GetDatum(0) : PG_GETARG_DATUM(0);
	int64		running;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	evsched_store_require_current();
	evsched_statement_begin(&caller);
	running = running_now(DatumGetInt64(id), caller.user);
	if (evsched_statement_run(EVSCHED_STMT_RUN_LAST, &id, NULL) > 0)
	{
		bool		isnull;
		int32		owner = DatumGetInt32(evsched_statement_value(0, 5, &isnull));

		/* What has just been written down may still be taken for running. */
		if (DatumGetInt64(evsched_statement_value(0, 1, &isnull)) >= running)
			running = 0;
		for (int i = 0; i < 3 && evsched_right_is_member(caller.user, owner); i++)
			values[i] = evsched_statement_value(0, i + 2, &nulls[i]);
	}
	if (running != 0)
	{
		values[0] = CStringGetTextDatum(state_words[EVSCHED_RUN_RUNNING]);
		nulls[0] = false;
		nulls[1] = nulls[2] = true;
	}
	/* SPI's memory goes away with the end. */
	tuple = SPI_copytuple(heap_form_tuple(desc, values, nulls));
	evsched_statement_end(&caller);
	return HeapTupleGetDatum(tuple);
}

/* The run of the event, or of one of the series, by a worker of the role's; 0: none. */
static int64
running_now(int64 id, Oid role)
{
	EvschedStaff *staff;
	int64		running = 0;
	int			n;

	if (!evsched_shared_ready())
		return 0;
	n = evsched_staff_list(evsched_store_here(), &staff);
	for (int i = 0; i < n; i++)
	{
		if (staff[i].state == EVSCHED_STAFF_BUSY &&
			(staff[i].task.event_id == id || staff[i].task.recurring == id) &&
			evsched_is_member(role, staff[i].role))
			running = Max(running, staff[i].run_id);
	}
	return running;
}

/* False: nothing was new. */
static bool
write_down(const EvschedRecord *run, EvschedStatement statement)
{
	EvschedCaller caller;
	bool		added;

	evsched_statement_begin(&caller);
	added = add(run, statement);
	/* With an old snapshot one runs into what others have pruned. */
	if (run->state != EVSCHED_RUN_RUNNING && !IsolationUsesXactSnapshot())
	{
		if (run->recurring != 0)
			prune_series(run);
		prune(run);
	}
	evsched_statement_end(&caller);
	return added;
}

static bool
add(const EvschedRecord *run, EvschedStatement statement)
{
	Datum		values[RUN_COLUMNS] = {
		Int64GetDatum(run->id), Int64GetDatum(run->event_id), Int64GetDatum(run->recurring),
		Int32GetDatum(run->owner), Int32GetDatum(run->worker),
		TimestampTzGetDatum(run->started_at), TimestampTzGetDatum(run->ended_at),
		Float8GetDatum(run->cpu_ms), Int64GetDatum(run->rows), Int64GetDatum(run->wal_bytes),
		Int64GetDatum(run->shared_blks), (Datum) 0,
		CStringGetTextDatum(state_words[run->state]), CStringGetTextDatum(run->command),
		PointerGetDatum(run->result)
	};
	char		nulls[] = "                 ";

	if (run->recurring == 0)
		nulls[2] = 'n';
	if (run->owner == 0)
		nulls[3] = 'n';
	if (run->worker == 0)
		nulls[4] = 'n';
	if (run->ended_at == 0)
		nulls[6] = 'n';
	for (int i = 7; i < 11 && !run->measured; i++)
		nulls[i] = 'n';
	if (run->pool != NULL)
		values[11] = CStringGetTextDatum(run->pool);
	else
		nulls[11] = 'n';
	if (run->result == NULL)
		nulls[14] = 'n';
	if (run->sqlstate != NULL)
		values[15] = CStringGetTextDatum(run->sqlstate);
	else
		nulls[15] = 'n';
	if (run->message != NULL)
		values[16] = CStringGetTextDatum(run->message);
	else
		nulls[16] = 'n';
	return evsched_statement_run(statement, values, nulls) > 0;
}

/*
 * Of its series, what is beyond evsched.history_keep: one for the one that was added, and
 * now and then more, which passes over all that was removed and is not vacuumed away.
 */
static void
prune_series(const EvschedRecord *run)
{
	Datum		values[3] = {
		Int64GetDatum(run->recurring), Int64GetDatum(evsched_history_keep),
		Int64GetDatum(run->id % MAX_PRUNE_STEP == 0 ? MAX_PRUNE_STEP : 1)
	};

	evsched_statement_run(EVSCHED_STMT_RUN_PRUNE_SERIES, values, NULL);
}

/*
 * Of all, what is beyond evsched.history_rows or older than evsched.history_age.  There
 * are not more runs than numbers of runs.  What was pruned before, this process
 * remembers, so as not to pass over it each time; but a long run may have an old number.
 */
static void
prune(const EvschedRecord *run)
{
	static int64 pruned;
	static int	num_prunes;
	int			step = Max(1, Min(evsched_history_rows / 64, MAX_PRUNE_STEP));
	Datum		values[4];
	Datum		last;
	bool		isnull;

	if (run->id % step != 0)
		return;
	if (num_prunes++ % PRUNES_FROM_START == 0)
		pruned = 0;
	values[0] = Int64GetDatum(pruned);
	/* Less by as many as may be added until the next one prunes. */
	values[1] = Int64GetDatum(run->id - Max(evsched_history_rows - 4 * step, 1));
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp() -
									evsched_history_age * USECS_PER_MINUTE);
	values[3] = Int64GetDatum(step * 4);
	evsched_statement_run(EVSCHED_STMT_RUN_PRUNE, values, NULL);
	last = evsched_statement_value(0, 1, &isnull);
	if (!isnull)
		pruned = DatumGetInt64(last);
}

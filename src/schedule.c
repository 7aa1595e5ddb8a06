/*
 * schedule.c
 *		Looking at events that wait, and changing when they are due: cancel,
 *		change_delay, peek, upcoming.
 *
 * Runs in any session, in its transaction.  A row that a turn or another
 * session holds is waited for before it is changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arg.h"
#include "effect.h"
#include "key.h"
#include "lease.h"
#include "right.h"
#include "series.h"
#include "shared.h"
#include "step.h"
#include "table.h"

/* How change_delay goes about it. */
typedef struct Change
{
	TimestampTz due_at;
	bool		series;			/* the event stands for one */
} Change;

static bool cancel_event(int64 id, void *arg);
static bool change_event(int64 id, void *due_at);
static TimestampTz new_due_at(FunctionCallInfo fcinfo, int delay);
static bool note_id(int64 id, void *noted);
static Datum peek_event(FunctionCallInfo fcinfo, bool known, int64 id);
static EvschedVerdict decide_cancel(EvschedTable *table, void *arg);
static EvschedVerdict decide_change(EvschedTable *table, void *arg);
static bool is_delivered(EvschedStore store, int64 id);

PG_FUNCTION_INFO_V1(evsched_sql_cancel);
PG_FUNCTION_INFO_V1(evsched_sql_cancel_key);
PG_FUNCTION_INFO_V1(evsched_sql_change_delay);
PG_FUNCTION_INFO_V1(evsched_sql_change_delay_key);
PG_FUNCTION_INFO_V1(evsched_sql_peek);
PG_FUNCTION_INFO_V1(evsched_sql_peek_key);
PG_FUNCTION_INFO_V1(evsched_sql_upcoming);

/* cancel(id) */
Datum
evsched_sql_cancel(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && cancel_event(PG_GETARG_INT64(0), NULL));
}

/* cancel(key, queue) */
Datum
evsched_sql_cancel_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 1, cancel_event, NULL));
}

/* change_delay(id, delay) */
Datum
evsched_sql_change_delay(PG_FUNCTION_ARGS)
{
	TimestampTz due_at = new_due_at(fcinfo, 1);

	PG_RETURN_BOOL(!PG_ARGISNULL(0) && change_event(PG_GETARG_INT64(0), &due_at));
}

/* change_delay(key, delay, queue) */
Datum
evsched_sql_change_delay_key(PG_FUNCTION_ARGS)
{
	TimestampTz due_at = new_due_at(fcinfo, 1);

	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 2, change_event, &due_at));
}

/* peek(id) */
Datum
evsched_sql_peek(PG_FUNCTION_ARGS)
{
	return peek_event(fcinfo, !PG_ARGISNULL(0), PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0));
}

/* peek(key, queue) */
Datum
evsched_sql_peek_key(PG_FUNCTION_ARGS)
{
	int64		id = 0;
	bool		known = evsched_key_apply(fcinfo, 0, 1, note_id, &id);

	return peek_event(fcinfo, known, id);
}

/* upcoming(queue, start_offset, duration, max_rows) */
Datum
evsched_sql_upcoming(PG_FUNCTION_ARGS)
{
	static const int columns[] = {
		EVSCHED_EVENT_ID, EVSCHED_EVENT_KEY, EVSCHED_EVENT_DUE_AT, EVSCHED_EVENT_PAYLOAD
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *queue = evsched_arg_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	Interval   *offset = evsched_arg_interval(fcinfo, 1);
	Interval   *duration = evsched_arg_interval(fcinfo, 2);
	int			left = PG_ARGISNULL(3) || PG_GETARG_INT32(3) <= 0 ? PG_INT32_MAX : PG_GETARG_INT32(3);
	TimestampTz start = evsched_arg_due_after(offset, GetCurrentTimestamp());
	TimestampTz end = duration ? evsched_arg_due_after(duration, start) : DT_NOEND;
	EvschedPlace first = EVSCHED_PLACE_FIRST;
	EvschedTable table;
	bool		sees_all = evsched_right_may_consume(queue);

	if (offset != NULL)
		first.due_at = start;
	InitMaterializedSRF(fcinfo, 0);
	evsched_table_open(&table);
	evsched_table_begin_due(&table, queue, first);
	while (left > 0 && evsched_table_next_due(&table) &&
		   evsched_event_place(table.row).due_at <= end)
	{
		Datum		values[lengthof(columns)];
		bool		nulls[lengthof(columns)];

		CHECK_FOR_INTERRUPTS();
		if (evsched_event_is_job(table.row) || evsched_event_is_series(table.row) ||
			is_delivered(table.store, evsched_event_id(table.row)) ||
			!(sees_all || evsched_right_sees_row(table.row)))
			continue;
		for (int i = 0; i < lengthof(columns); i++)
		{
			values[i] = evsched_event_value(table.row, columns[i]);
			nulls[i] = !evsched_event_has(table.row, columns[i]);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		left--;
	}
	evsched_table_close(&table);
	return (Datum) 0;
}

static bool
cancel_event(int64 id, void *arg)
{
	EvschedTable table;
	EvschedStep step;
	bool		done;
	bool		series;

	evsched_table_open_for_write(&table, "evsched.cancel()");
	done = evsched_table_change(&table, id, decide_cancel, &step) == EVSCHED_DELETE;
	series = done && evsched_event_is_series(table.row);
	if (done)
	{
		evsched_effect_end_lease(table.store, id, false);
		evsched_table_count(&table, EVSCHED_COUNT_CANCELLED);
		(void) evsched_step_go_on(&table, &step);
	}
	evsched_table_close(&table);
	if (series)
		evsched_series_end(id);
	return done;
}

static bool
change_event(int64 id, void *due_at)
{
	EvschedTable table;
	Change		change = {.due_at = *(TimestampTz *) due_at};
	bool		done;

	evsched_table_open_for_write(&table, "evsched.change_delay()");
	done = evsched_table_change(&table, id, decide_change, &change) == EVSCHED_UPDATE;
	if (done)
		evsched_effect_end_lease(table.store, id, false);
	evsched_table_close(&table);
	return change.series ? evsched_series_move(id, change.due_at) : done;
}

/* The time that the argument `delay` means, whether or not there is an event. */
static TimestampTz
new_due_at(FunctionCallInfo fcinfo, int delay)
{
	if (PG_ARGISNULL(delay))
		evsched_arg_refuse("delay must not be null", "Give an interval such as '5 min'.");
	return evsched_arg_due_after(PG_GETARG_INTERVAL_P(delay), GetCurrentTimestamp());
}

static bool
note_id(int64 id, void *noted)
{
	*(int64 *) noted = id;
	return true;
}

static Datum
peek_event(FunctionCallInfo fcinfo, bool known, int64 id)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {true, true};
	TimestampTz now = GetCurrentTimestamp();
	EvschedTable table;
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	evsched_table_open(&table);
	known = known && evsched_table_find(&table, id);
	if (known && evsched_event_is_series(table.row))
	{
		/* Seen anew, as it is when that is known. */
		evsched_table_close(&table);
		id = evsched_series_waiting(id);
		evsched_table_open(&table);
		known = evsched_table_find(&table, id);
	}
	if (known && !is_delivered(table.store, id) && evsched_right_sees_row(table.row))
	{
		TimestampTz due_at = evsched_event_place(table.row).due_at;

		if (!TIMESTAMP_NOT_FINITE(due_at) || TIMESTAMP_IS_NOBEGIN(due_at))
		{
			values[0] = DirectFunctionCall2(timestamp_mi,
											TimestampTzGetDatum(Max(due_at, now)),
											TimestampTzGetDatum(now));
			nulls[0] = false;
		}
		values[1] = evsched_event_value(table.row, EVSCHED_EVENT_PAYLOAD);
		nulls[1] = !evsched_event_has(table.row, EVSCHED_EVENT_PAYLOAD);
	}
	tuple = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	evsched_table_close(&table);
	return HeapTupleGetDatum(tuple);
}

/* An occurrence that waited for its time is passed over by its series. */
static EvschedVerdict
decide_cancel(EvschedTable *table, void *step)
{
	if (!evsched_right_sees_row(table->row))
		return EVSCHED_KEEP;
	*(EvschedStep *) step = evsched_step_hold(table->row, GetCurrentTimestamp());
	return EVSCHED_DELETE;
}

/* As if posted anew: whatever was delivered or failed before is forgotten. */
static EvschedVerdict
decide_change(EvschedTable *table, void *arg)
{
	Change	   *change = arg;

	if (!evsched_right_sees_row(table->row))
		return EVSCHED_KEEP;
	change->series = evsched_event_is_series(table->row);
	if (change->series)
		return EVSCHED_KEEP;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(change->due_at));
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_RETRIES, Int32GetDatum(0));
	table->next->tts_isnull[EVSCHED_EVENT_LAST_ERROR - 1] = true;
	table->next->tts_isnull[EVSCHED_EVENT_NUM_LOST - 1] = true;
	return EVSCHED_UPDATE;
}

static bool
is_delivered(EvschedStore store, int64 id)
{
	return evsched_shared_ready() && evsched_lease_exists(store, id);
}

/*
 * pause.c
 *		Holding events back, letting them go on, and having them now: pause,
 *		resume, run_now.
 *
 * Runs in any session, in its transaction.  For members of the event's owner: to
 * others it is unknown.  A row that a turn or another session holds is waited for
 * before it is changed.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "key.h"
#include "lease.h"
#include "right.h"
#include "series.h"
#include "shared.h"
#include "table.h"

static bool set_paused(int64 id, void *paused);
static EvschedVerdict decide_pause(EvschedTable *table, void *paused);
static bool run_now(int64 id, void *arg);
static EvschedVerdict decide_run_now(EvschedTable *table, void *now);
static bool owns_row(TupleTableSlot *row);

PG_FUNCTION_INFO_V1(evsched_sql_pause);
PG_FUNCTION_INFO_V1(evsched_sql_pause_key);
PG_FUNCTION_INFO_V1(evsched_sql_resume);
PG_FUNCTION_INFO_V1(evsched_sql_resume_key);
PG_FUNCTION_INFO_V1(evsched_sql_run_now);
PG_FUNCTION_INFO_V1(evsched_sql_run_now_key);

/* pause(id) */
Datum
evsched_sql_pause(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && set_paused(PG_GETARG_INT64(0), &(bool) {true}));
}

/* pause(key, queue) */
Datum
evsched_sql_pause_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 1, set_paused, &(bool) {true}));
}

/* resume(id) */
Datum
evsched_sql_resume(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && set_paused(PG_GETARG_INT64(0), &(bool) {false}));
}

/* resume(key, queue) */
Datum
evsched_sql_resume_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 1, set_paused, &(bool) {false}));
}

/* run_now(id) */
Datum
evsched_sql_run_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && run_now(PG_GETARG_INT64(0), NULL));
}

/* run_now(key, queue) */
Datum
evsched_sql_run_now_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 1, run_now, NULL));
}

/* False: unknown, or so already.  Its lease, if it has one, runs on. */
static bool
set_paused(int64 id, void *paused)
{
	EvschedTable table;
	bool		done;
	bool		series;

	evsched_table_open_for_write(&table, *(bool *) paused ? "evsched.pause()" : "evsched.resume()");
	done = evsched_table_change(&table, id, decide_pause, paused) == EVSCHED_UPDATE;
	series = done && evsched_event_is_series(table.row);
	evsched_table_close(&table);
	if (series)
		done = evsched_series_pause(id, *(bool *) paused);
	return done;
}

static EvschedVerdict
decide_pause(EvschedTable *table, void *paused)
{
	if (!owns_row(table->row) || evsched_event_is_paused(table->row) == *(bool *) paused)
		return EVSCHED_KEEP;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_PAUSED, BoolGetDatum(true));
	table->next->tts_isnull[EVSCHED_EVENT_PAUSED - 1] = !*(bool *) paused;
	return EVSCHED_UPDATE;
}

static bool
run_now(int64 id, void *arg)
{
	TimestampTz now = GetCurrentTimestamp();
	EvschedTable table;
	bool		series;
	bool		done;

	evsched_table_open_for_write(&table, "evsched.run_now()");
	series = evsched_table_find(&table, id) && evsched_event_is_series(table.row) &&
		owns_row(table.row);
	done = !series && evsched_table_change(&table, id, decide_run_now, &now) == EVSCHED_UPDATE;
	evsched_table_close(&table);
	return series ? evsched_series_run_now(id) : done;
}

/* What is due already, or delivered, is not scheduled. */
static EvschedVerdict
decide_run_now(EvschedTable *table, void *now)
{
	bool		due = evsched_event_place(table->row).due_at <= *(TimestampTz *) now;

	if (!owns_row(table->row) || evsched_event_is_series(table->row) ||
		(due && !evsched_event_is_paused(table->row)) ||
		(evsched_shared_ready() && evsched_lease_exists(table->store, evsched_event_id(table->row))))
		return EVSCHED_KEEP;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(*(TimestampTz *) now));
	table->next->tts_isnull[EVSCHED_EVENT_PAUSED - 1] = true;
	return EVSCHED_UPDATE;
}

static bool
owns_row(TupleTableSlot *row)
{
	return evsched_right_is_member(GetUserId(), evsched_event_owner(row));
}

/*
 * series.c
 *		Recurring events: posting them, and changing what they do.
 *
 * Runs in any session, in its transaction.  Whoever changes a series locks its row
 * of evsched.recurrence first, after the row that stands for it if he changes that,
 * too; then the occurrence that waits is the last one, and nobody is handing it out
 * (step.c).  It is written by SQL, whose row triggers tell the scheduler.
 */
#include "postgres.h"

#include "series.h"

#include "utils/timestamp.h"

#include "arg.h"
#include "effect.h"
#include "lease.h"
#include "shared.h"
#include "step.h"
#include "stop.h"
#include "store.h"

/* The occurrence that waits for its time. */
typedef struct Waiting
{
	int64		id;
	TimestampTz due_at;
	TimestampTz planned_at;
} Waiting;

static bool lock_series(EvschedPlan *plan, int64 series);
static void plan_waiting(int64 series, TimestampTz at);
static bool find_waiting(int64 series, Waiting *waiting);
static bool is_under_way(int64 series, TimestampTz now);

/*
 * Posts a series, or puts it in the place of the one that has its key; returns the id
 * of the row that stands for it.
 */
int64
evsched_series_post(EvschedEntry *entry, const EvschedTerms *terms, const char *function)
{
	EvschedPlan plan;
	TimestampTz first = evsched_plan_make(&plan, terms, GetCurrentTimestamp());
	EvschedTable table;
	EvschedCaller caller;
	bool		kept;
	int64		id;

	entry->series = true;
	entry->due_at = DT_NOEND;
	evsched_entry_open(&table, entry, function);
	evsched_store_require_current();
	id = evsched_entry_insert(&table, entry, &kept);
	if (!kept)
	{
		evsched_statement_begin(&caller);
		if (!evsched_plan_save(&plan, id, terms->schedule))
			evsched_store_refuse_stale();
		plan_waiting(id, first);
		evsched_statement_end(&caller);
	}
	evsched_table_close(&table);
	EVSCHED_STOP("post inserted");
	return id;
}

/* A watch comes, goes or changes with this transaction: the scheduler is to see to it. */
void
evsched_series_note_watch(void)
{
	/* By the invalidation also where a prepared transaction is committed. */
	evsched_store_invalidate();
	evsched_effect_recheck(evsched_store_here());
}

/* The occurrence that waits for its time, or 0. */
int64
evsched_series_waiting(int64 series)
{
	EvschedCaller caller;
	Waiting		waiting = {0};

	evsched_statement_begin(&caller);
	(void) find_waiting(series, &waiting);
	evsched_statement_end(&caller);
	return waiting.id;
}

/* The row that stands for it is gone: so is what waits; what is under way goes on. */
void
evsched_series_end(int64 series)
{
	EvschedCaller caller;
	Waiting		waiting;
	bool		isnull;

	evsched_statement_begin(&caller);
	if (evsched_statement_run(EVSCHED_STMT_SERIES_END,
							  (Datum[]) {Int64GetDatum(series)}, NULL) > 0 &&
		DatumGetBool(evsched_statement_value(0, 1, &isnull)))
		evsched_series_note_watch();
	if (find_waiting(series, &waiting) &&
		evsched_statement_run(EVSCHED_STMT_OCCURRENCE_REMOVE,
							  (Datum[]) {Int64GetDatum(waiting.id)}, NULL) == 0)
		evsched_store_refuse_stale();
	evsched_statement_end(&caller);
}

/* The next one is due then; a period goes on from there.  False: it has ended. */
bool
evsched_series_move(int64 series, TimestampTz due_at)
{
	EvschedCaller caller;
	EvschedPlan plan;
	bool		found;

	if (TIMESTAMP_NOT_FINITE(due_at))
		evsched_arg_refuse("a series needs a finite time", "Pause it instead.");
	evsched_statement_begin(&caller);
	found = lock_series(&plan, series);
	if (found && evsched_plan_is_watch(&plan))
		evsched_arg_refuse("a watch has no time",
						   "It runs when something comes in; pause it, resume it or cancel it.");
	if (found)
	{
		evsched_statement_run(EVSCHED_STMT_SERIES_MOVE,
							  (Datum[]) {Int64GetDatum(series), TimestampTzGetDatum(due_at)}, NULL);
		plan_waiting(series, due_at);
	}
	evsched_statement_end(&caller);
	return found;
}

/*
 * What the row that stands for it says already, its occurrences do, too.  What was
 * missed during a pause is caught up with as after any other halt.
 */
bool
evsched_series_pause(int64 series, bool paused)
{
	TimestampTz now = GetCurrentTimestamp();
	const char *nulls = paused ? NULL : " n";
	Datum		values[2] = {Int64GetDatum(series), BoolGetDatum(true)};
	EvschedCaller caller;
	EvschedPlan plan;
	Waiting		waiting;
	bool		found;

	evsched_statement_begin(&caller);
	found = lock_series(&plan, series);
	if (found && evsched_plan_is_watch(&plan))
		evsched_series_note_watch();
	if (found && find_waiting(series, &waiting))
	{
		if (!paused && waiting.due_at <= now && plan.missed == EVSCHED_MISSED_SKIP)
			plan_waiting(series, evsched_plan_next(&plan, waiting.planned_at, now));
		else if (evsched_statement_run(EVSCHED_STMT_OCCURRENCE_PAUSE,
									   (Datum[]) {Int64GetDatum(waiting.id), values[1]},
									   nulls) == 0)
			evsched_store_refuse_stale();
	}
	if (found)
		evsched_statement_run(paused ? EVSCHED_STMT_SERIES_PAUSE : EVSCHED_STMT_SERIES_RESUME,
							  values, NULL);
	evsched_statement_end(&caller);
	return found;
}

/* One more, off the grid, is due now; false while one is due or under way. */
bool
evsched_series_run_now(int64 series)
{
	TimestampTz now = GetCurrentTimestamp();
	EvschedCaller caller;
	EvschedPlan plan;
	bool		done;

	evsched_statement_begin(&caller);
	done = lock_series(&plan, series);
	if (done && evsched_plan_is_watch(&plan))
		evsched_arg_refuse("a watch runs only when something comes in",
						   "Write to what is watched, or run its command.");
	done = done && !is_under_way(series, now);
	if (done)
		evsched_statement_run(EVSCHED_STMT_OCCURRENCE_ADD,
							  (Datum[]) {Int64GetDatum(series), TimestampTzGetDatum(now), 0},
							  "  n");
	evsched_statement_end(&caller);
	return done;
}

/* False: it has ended. */
static bool
lock_series(EvschedPlan *plan, int64 series)
{
	return evsched_plan_lock(plan, series, EVSCHED_STMT_SERIES_LOCK);
}

/*
 * The one that waits does so until then, and is what the series is now.  Those that
 * were handed out and would stand behind it give up their places.
 */
static void
plan_waiting(int64 series, TimestampTz at)
{
	Waiting		waiting = {0};
	bool		found = find_waiting(series, &waiting);
	Datum		values[] = {
		Int64GetDatum(series), Int64GetDatum(waiting.id), TimestampTzGetDatum(at)
	};

	evsched_statement_run(EVSCHED_STMT_SERIES_UNPLAN, values, NULL);
	if (!found)
		evsched_statement_run(EVSCHED_STMT_OCCURRENCE_ADD,
							  (Datum[]) {values[0], values[2], values[2]}, NULL);
	else if (evsched_statement_run(EVSCHED_STMT_OCCURRENCE_PLAN, values, NULL) == 0)
		evsched_store_refuse_stale();
}

/* False: none does, for the series has ended or its times have. */
static bool
find_waiting(int64 series, Waiting *waiting)
{
	bool		isnull;

	if (evsched_statement_read(EVSCHED_STMT_SERIES_WAITING, (Datum[]) {Int64GetDatum(series)}) == 0)
		return false;
	waiting->id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	waiting->due_at = DatumGetTimestampTz(evsched_statement_value(0, 2, &isnull));
	waiting->planned_at = DatumGetTimestampTz(evsched_statement_value(0, 3, &isnull));
	return true;
}

/* Is one of its occurrences delivered, or due and not paused? */
static bool
is_under_way(int64 series, TimestampTz now)
{
	EvschedStore store = evsched_store_here();
	uint64		n;
	bool		found = false;

	n = evsched_statement_read(EVSCHED_STMT_SERIES_LIVE, (Datum[]) {Int64GetDatum(series)});
	for (uint64 i = 0; i < n && !found; i++)
	{
		bool		isnull;
		int64		id = DatumGetInt64(evsched_statement_value(i, 1, &isnull));
		TimestampTz due_at = DatumGetTimestampTz(evsched_statement_value(i, 2, &isnull));
		bool		paused = DatumGetBool(evsched_statement_value(i, 3, &isnull)) && !isnull;

		found = (due_at <= now && !paused) ||
			(evsched_shared_ready() && evsched_lease_exists(store, id));
	}
	return found;
}

/*
 * step.c
 *		From one occurrence of a series to the next.
 *
 * Whoever hands out or removes the occurrence that waits for its time enters the
 * next one, in the same transaction: a turn, take and receive (take, then go_on
 * or drop), or who confirms, rejects or cancels it unseen (hold, then go_on).
 *
 * Locks: first the series' row of evsched.recurrence, shared, then the row of the
 * occurrence; whoever changes a series locks the former exclusively first.  take
 * waits for neither.
 */
#include "postgres.h"

#include "step.h"

#include "utils/timestamp.h"

#include "effect.h"
#include "lease.h"
#include "plan.h"
#include "queue.h"
#include "shared.h"

static EvschedStep take_row(EvschedTable *table, int slot, TimestampTz now);
static bool is_crowded(TupleTableSlot *row, int slot, EvschedOverlap overlap, bool waits);
static bool is_waiting(TupleTableSlot *row);

/*
 * What is to become of the row found last, which somebody could be handed.  If it
 * is handed out or dropped, its row is locked now.  A retry, or an extra
 * occurrence, is never missed.
 */
EvschedStep
evsched_step_take(EvschedTable *table, int slot, TimestampTz now)
{
	EvschedStep step = {EVSCHED_STEP_HAND_OUT, DT_NOEND};
	EvschedCaller caller;

	if (evsched_event_recurring(table->row) == 0)
		return step;
	evsched_statement_begin(&caller);
	step = take_row(table, slot, now);
	evsched_statement_end(&caller);
	return step;
}

/* Locks the row found last for who hands it out; does not wait. */
EvschedStepKind
evsched_step_lock(EvschedTable *table)
{
	switch (evsched_table_try_lock(table, &table->row->tts_tid))
	{
		case EVSCHED_ATTEMPT_DONE:
			break;
		case EVSCHED_ATTEMPT_LOCKED:
			return EVSCHED_STEP_HELD;
		case EVSCHED_ATTEMPT_CHANGING:
		case EVSCHED_ATTEMPT_GONE:
			return EVSCHED_STEP_PASSED;
	}
	/* Whoever leased it before us has committed by now. */
	if (evsched_shared_ready() &&
		evsched_lease_exists(table->store, evsched_event_id(table->row)))
		return EVSCHED_STEP_PASSED;
	return EVSCHED_STEP_HAND_OUT;
}

/* Enters the next one after the row found last; returns its place, else the last one. */
EvschedPlace
evsched_step_go_on(EvschedTable *table, const EvschedStep *step)
{
	Datum		values[EVSCHED_EVENT_COLUMNS];
	bool		nulls[EVSCHED_EVENT_COLUMNS];
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	EvschedPlace place = {step->next, 0};

	if (step->next == DT_NOEND)
		return EVSCHED_PLACE_LAST;
	place.id = evsched_table_next_id(table);
	memcpy(values, table->row->tts_values, sizeof(values));
	memcpy(nulls, table->row->tts_isnull, sizeof(nulls));
	values[EVSCHED_EVENT_ID - 1] = Int64GetDatum(place.id);
	values[EVSCHED_EVENT_DUE_AT - 1] = TimestampTzGetDatum(step->next);
	values[EVSCHED_EVENT_PLANNED_AT - 1] = TimestampTzGetDatum(step->next);
	values[EVSCHED_EVENT_NUM_RETRIES - 1] = Int32GetDatum(0);
	nulls[EVSCHED_EVENT_LAST_ERROR - 1] = true;
	nulls[EVSCHED_EVENT_NUM_LOST - 1] = true;
	evsched_table_insert(table, values, nulls);

	evsched_event_queue(table->row, queue);
	evsched_effect_due(table->store, queue, place);
	evsched_effect_count(table->store, queue, EVSCHED_COUNT_POSTED, 1);
	return place;
}

/* Removes the row found last, which take has locked, and goes on. */
EvschedPlace
evsched_step_drop(EvschedTable *table, const EvschedStep *step)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	evsched_event_queue(table->row, queue);
	evsched_effect_back(table->store, queue, evsched_event_place(table->row));
	if (evsched_table_delete_locked(table) != EVSCHED_ATTEMPT_DONE)
		return EVSCHED_PLACE_LAST;
	return evsched_step_go_on(table, step);
}

/*
 * The row is about to be removed by who need not have been handed it; waits for
 * who is changing its series.  To be called before the row is locked.
 */
EvschedStep
evsched_step_hold(TupleTableSlot *row, TimestampTz now)
{
	EvschedStep step = {EVSCHED_STEP_HAND_OUT, DT_NOEND};
	EvschedCaller caller;
	EvschedPlan plan;

	if (!evsched_event_has(row, EVSCHED_EVENT_PLANNED_AT))
		return step;
	evsched_statement_begin(&caller);
	if (is_waiting(row) &&
		evsched_plan_lock(&plan, evsched_event_recurring(row), EVSCHED_STMT_SERIES_HOLD) &&
		is_waiting(row))
		step.next = evsched_plan_next(&plan, evsched_event_planned_at(row), now);
	evsched_statement_end(&caller);
	return step;
}

static EvschedStep
take_row(EvschedTable *table, int slot, TimestampTz now)
{
	int64		series = evsched_event_recurring(table->row);
	EvschedStep step = {EVSCHED_STEP_HAND_OUT, DT_NOEND};
	EvschedPlan plan;
	TimestampTz planned_at;
	bool		waits;

	if (!evsched_plan_lock(&plan, series, EVSCHED_STMT_SERIES_SHARE))
	{
		/* Somebody is changing it; or it has ended, and this is what was under way. */
		if (evsched_statement_read(EVSCHED_STMT_SERIES_KNOWN, (Datum[]) {Int64GetDatum(series)}) > 0)
			step.kind = EVSCHED_STEP_HELD;
		return step;
	}
	step.kind = evsched_step_lock(table);
	if (step.kind != EVSCHED_STEP_HAND_OUT)
		return step;

	waits = is_waiting(table->row);
	if (waits)
	{
		planned_at = evsched_event_planned_at(table->row);
		step.next = evsched_plan_next(&plan, planned_at, now);
		if (evsched_plan_has_missed(&plan, planned_at, now, evsched_queue_served_since(slot)))
			step.kind = EVSCHED_STEP_DROP;
	}
	if (step.kind == EVSCHED_STEP_HAND_OUT && is_crowded(table->row, slot, plan.overlap, waits))
		step.kind = waits && plan.overlap == EVSCHED_OVERLAP_SKIP ?
			EVSCHED_STEP_DROP : EVSCHED_STEP_WAIT;
	return step;
}

/*
 * Must it not run beside another one of its series that is under way?  What has to
 * wait is looked at when a lease of its queue ends.
 */
static bool
is_crowded(TupleTableSlot *row, int slot, EvschedOverlap overlap, bool waits)
{
	bool		stays = !waits || overlap == EVSCHED_OVERLAP_QUEUE;

	return overlap != EVSCHED_OVERLAP_PARALLEL && slot != EVSCHED_NO_SLOT &&
		evsched_lease_any_of(slot, evsched_event_recurring(row), stays);
}

/* Is it the last occurrence of its series, so that the next is not there yet? */
static bool
is_waiting(TupleTableSlot *row)
{
	Datum		series = Int64GetDatum(evsched_event_recurring(row));
	bool		isnull;

	return evsched_event_has(row, EVSCHED_EVENT_PLANNED_AT) &&
		evsched_statement_read(EVSCHED_STMT_SERIES_WAITING, &series) > 0 &&
		DatumGetInt64(evsched_statement_value(0, 1, &isnull)) == evsched_event_id(row);
}

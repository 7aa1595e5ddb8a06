/*
 * confirm.c
 *		What becomes of a delivered event: confirm, reject, extend.
 *
 * Runs in any session, in its transaction; the lease ends when that commits.
 * A row that a turn or another session holds is waited for.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "dead.h"
#include "effect.h"
#include "key.h"
#include "lease.h"
#include "queue.h"
#include "right.h"
#include "setting.h"
#include "shared.h"
#include "step.h"
#include "stop.h"
#include "table.h"

/* How confirm goes about it. */
typedef struct Confirm
{
	TimestampTz now;
	EvschedStep step;			/* of its series */
} Confirm;

/* How reject goes about it. */
typedef struct Reject
{
	TimestampTz now;
	const Interval *delay;		/* NULL: the event's own */
	text	   *error;			/* may be NULL */
	EvschedStep step;			/* of its series, where it dies */
} Reject;

static bool may_extend(int64 id);
static bool confirm_one(int64 id, void *arg);
static bool confirm_event(EvschedTable *table, int64 id);
static EvschedVerdict decide_confirm(EvschedTable *table, void *arg);
static EvschedVerdict decide_reject(EvschedTable *table, void *arg);

PG_FUNCTION_INFO_V1(evsched_sql_confirm);
PG_FUNCTION_INFO_V1(evsched_sql_confirm_many);
PG_FUNCTION_INFO_V1(evsched_sql_confirm_key);
PG_FUNCTION_INFO_V1(evsched_sql_reject);
PG_FUNCTION_INFO_V1(evsched_sql_extend);

/* confirm(id) */
Datum
evsched_sql_confirm(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && confirm_one(PG_GETARG_INT64(0), NULL));
}

/* confirm(ids); null elements are nobody */
Datum
evsched_sql_confirm_many(PG_FUNCTION_ARGS)
{
	EvschedTable table;
	Datum	   *ids;
	bool	   *nulls;
	int			n;
	int64		done = 0;

	n = evsched_arg_array((ArrayType *) (PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0)),
						  "ids", INT8OID, &ids, &nulls);
	evsched_table_open_for_write(&table, "evsched.confirm()");
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!nulls[i] && confirm_event(&table, DatumGetInt64(ids[i])))
			done++;
	}
	evsched_table_close(&table);
	PG_RETURN_INT64(done);
}

/* confirm(key, queue) */
Datum
evsched_sql_confirm_key(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		evsched_right_require(evsched_arg_required_queue(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1)),
							  EVSCHED_RIGHT_CONSUME);
	PG_RETURN_BOOL(evsched_key_apply(fcinfo, 0, 1, confirm_one, NULL));
}

/* reject(id, delay, error) */
Datum
evsched_sql_reject(PG_FUNCTION_ARGS)
{
	EvschedTable table;
	EvschedVerdict verdict;
	Reject		reject = {
		.now = GetCurrentTimestamp(),
		.delay = evsched_arg_interval(fcinfo, 1),
		.error = (text *) evsched_arg_pointer(fcinfo, 2)
	};

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	evsched_arg_due_after(reject.delay, reject.now);
	evsched_table_open_for_write(&table, "evsched.reject()");
	verdict = evsched_table_change(&table, PG_GETARG_INT64(0), decide_reject, &reject);
	if (verdict != EVSCHED_KEEP)
	{
		evsched_effect_end_lease(table.store, PG_GETARG_INT64(0), false);
		evsched_table_count(&table, EVSCHED_COUNT_FAILED);
	}
	if (verdict == EVSCHED_DELETE)
	{
		(void) evsched_step_go_on(&table, &reject.step);
		evsched_dead_add(table.row, reject.error ? text_to_cstring(reject.error) : "rejected", NULL);
	}
	evsched_table_close(&table);
	PG_RETURN_BOOL(verdict != EVSCHED_KEEP);
}

/* extend(id, by); changes no table, so a rollback does not undo it */
Datum
evsched_sql_extend(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	if (PG_ARGISNULL(1))
		evsched_arg_refuse("by must not be null", "Give an interval such as '1 min'.");
	if (!evsched_shared_ready())
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(may_extend(PG_GETARG_INT64(0)) &&
				   evsched_lease_extend(evsched_store_here(), PG_GETARG_INT64(0),
										evsched_lease_clock() +
										evsched_arg_us(PG_GETARG_INTERVAL_P(1))));
}

/* In which queue the event is says its lease, else its row. */
static bool
may_extend(int64 id)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	EvschedTable table;
	bool		may;
	int			slot = evsched_lease_queue(evsched_store_here(), id);

	if (slot == EVSCHED_NO_SLOT)
		return false;
	if (evsched_queue_copy_name(slot, queue))
		return evsched_right_may_consume(queue);
	evsched_table_open(&table);
	may = evsched_table_find(&table, id) && evsched_right_consumes_row(table.row);
	evsched_table_close(&table);
	return may;
}

static bool
confirm_one(int64 id, void *arg)
{
	EvschedTable table;
	bool		done;

	evsched_table_open_for_write(&table, "evsched.confirm()");
	done = confirm_event(&table, id);
	evsched_table_close(&table);
	return done;
}

static bool
confirm_event(EvschedTable *table, int64 id)
{
	Confirm		confirm = {.now = GetCurrentTimestamp()};

	if (evsched_table_change(table, id, decide_confirm, &confirm) != EVSCHED_DELETE)
		return false;
	(void) evsched_step_go_on(table, &confirm.step);
	evsched_effect_end_lease(table->store, id, true);
	evsched_table_count(table, EVSCHED_COUNT_CONFIRMED);
	EVSCHED_STOP("confirm deleted");
	return true;
}

/* An event can be done once it is or was due; a job is done by its worker. */
static EvschedVerdict
decide_confirm(EvschedTable *table, void *arg)
{
	Confirm    *confirm = arg;

	if (evsched_event_is_job(table->row) || !evsched_right_consumes_row(table->row))
		return EVSCHED_KEEP;
	if (evsched_event_place(table->row).due_at > confirm->now &&
		evsched_event_num_retries(table->row) == 0)
		return EVSCHED_KEEP;
	confirm->step = evsched_step_hold(table->row, confirm->now);
	return EVSCHED_DELETE;
}

static EvschedVerdict
decide_reject(EvschedTable *table, void *arg)
{
	Reject	   *reject = arg;
	TimestampTz due_at;

	if (evsched_event_is_job(table->row) || !evsched_right_consumes_row(table->row))
		return EVSCHED_KEEP;
	if (evsched_event_place(table->row).due_at > reject->now)
		return EVSCHED_KEEP;
	if (evsched_dead_is_due(table->row))
	{
		reject->step = evsched_step_hold(table->row, reject->now);
		return EVSCHED_DELETE;
	}

	due_at = reject->delay != NULL
		? evsched_arg_due_after(reject->delay, reject->now)
		: evsched_setting_retry_at(table->row, reject->now);
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(due_at));
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_RETRIES,
						   Int32GetDatum(evsched_event_next_retry(table->row)));
	if (reject->error != NULL)
		evsched_table_set_next(table, EVSCHED_EVENT_LAST_ERROR, PointerGetDatum(reject->error));
	return EVSCHED_UPDATE;
}

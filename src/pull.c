/*
 * pull.c
 *		Consuming events without joining: take, receive, fetch.
 *
 * Runs in any session, in its transaction.  A call scans the queue from its
 * mark, passes over what is delivered or held by others, and raises the mark to
 * where it stopped: what it removes or leases itself comes back through its
 * effects, should the transaction abort.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "storage/ipc.h"

#include "arg.h"
#include "database.h"
#include "effect.h"
#include "lease.h"
#include "mark.h"
#include "pool.h"
#include "queue.h"
#include "right.h"
#include "setting.h"
#include "shared.h"
#include "step.h"
#include "stop.h"
#include "table.h"
#include "wait.h"

#define DELIVERY_COLUMNS	8

/* How long receive waits between two looks at the calls of take under way. */
#define RECEIVING_PAUSE_MS	1

/* One call of take or receive. */
typedef struct Pull
{
	EvschedTable table;
	const char *queue;
	EvschedQueueRef ref;		/* of the queue */
	int			slot;			/* the same; EVSCHED_NO_SLOT: without shared memory */
	bool		deleting;		/* rows may be deleted without locking them */
	bool		leases;			/* receive, not take */
	int64		conf_timeout;	/* µs, of receive */
	int			wanted;
	int			got;
	bool		full;			/* no lease is left: the rest waits */
	EvschedPlace stop;			/* nothing available stands before it */
	ReturnSetInfo *rsinfo;
} Pull;

static Datum pull_events(FunctionCallInfo fcinfo, Pull *pull, const char *command);
static void begin_call(Pull *pull, EvschedStore store, EvschedScanMark *mark);
static void end_call(int code, Datum pull_datum);
static void scan_queue(Pull *pull, EvschedPlace from, TimestampTz now);
static bool pull_row(Pull *pull, TimestampTz now);
static bool deliver_row(Pull *pull);
static EvschedAttempt remove_row(Pull *pull);
static EvschedAttempt lease_row(Pull *pull);
static void begin_receiving(EvschedQueueRef ref);
static bool may_receive(void *ref);
static void answer_told(Pull *pull);
static void put_delivery(ReturnSetInfo *rsinfo, TupleTableSlot *row);
static EvschedVerdict decide_fetch(EvschedTable *table, void *now);

PG_FUNCTION_INFO_V1(evsched_sql_take);
PG_FUNCTION_INFO_V1(evsched_sql_receive);
PG_FUNCTION_INFO_V1(evsched_sql_fetch);

/* take(queue, max_events) */
Datum
evsched_sql_take(PG_FUNCTION_ARGS)
{
	Pull		pull = {0};

	return pull_events(fcinfo, &pull, "evsched.take()");
}

/* receive(queue, max_events, conf_timeout) */
Datum
evsched_sql_receive(PG_FUNCTION_ARGS)
{
	Pull		pull = {.leases = true, .conf_timeout = 10 * USECS_PER_SEC};

	evsched_shared_require();
	if (!PG_ARGISNULL(2))
		pull.conf_timeout = evsched_arg_positive_us(PG_GETARG_INTERVAL_P(2), "conf_timeout");
	return pull_events(fcinfo, &pull, "evsched.receive()");
}

/* fetch(ids); what must be delivered once only is removed by it */
Datum
evsched_sql_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedTable table;
	Datum	   *ids;
	bool	   *nulls;
	int			n;

	evsched_shared_require();
	n = evsched_arg_array((ArrayType *) (PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0)),
						  "ids", INT8OID, &ids, &nulls);
	InitMaterializedSRF(fcinfo, 0);
	evsched_table_open_for_write(&table, "evsched.fetch()");
	for (int i = 0; i < n; i++)
	{
		int64		id = DatumGetInt64(ids[i]);
		TimestampTz now = GetCurrentTimestamp();

		CHECK_FOR_INTERRUPTS();
		if (nulls[i] || !evsched_lease_exists(table.store, id) ||
			!evsched_table_find(&table, id) || !evsched_right_consumes_row(table.row) ||
			evsched_event_place(table.row).due_at > now)
			continue;
		if (evsched_setting_max_retries(table.row) == 0)
		{
			if (evsched_table_change(&table, id, decide_fetch, &now) == EVSCHED_KEEP)
				continue;
			evsched_effect_end_lease(table.store, id, true);
		}
		put_delivery(rsinfo, table.row);
	}
	evsched_table_close(&table);
	return (Datum) 0;
}

static Datum
pull_events(FunctionCallInfo fcinfo, Pull *pull, const char *command)
{
	TimestampTz now = GetCurrentTimestamp();
	EvschedScanMark mark = {.low = EVSCHED_PLACE_FIRST};
	EvschedStore store = evsched_store_here();

	pull->queue = evsched_arg_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	pull->wanted = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT32(1);
	if (pull->wanted < 1)
		evsched_arg_refuse("max_events must be at least 1", "Give a number of 1 or more.");
	evsched_pool_refuse(pull->queue);
	pull->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	pull->slot = EVSCHED_NO_SLOT;
	PreventCommandIfReadOnly(command);
	evsched_store_require_current();
	evsched_right_require(pull->queue, EVSCHED_RIGHT_CONSUME);
	InitMaterializedSRF(fcinfo, 0);
	if (evsched_setting_is_halted(pull->queue))
	{
		/* Whoever was told has come; after the halt somebody is to be told again. */
		if (evsched_shared_ready())
			pull->slot = evsched_queue_find(store, pull->queue).slot;
		if (pull->slot != EVSCHED_NO_SLOT)
			answer_told(pull);
		return (Datum) 0;
	}

	begin_call(pull, store, &mark);

	/* Also when the session is terminated: others wait for the end of this. */
	PG_ENSURE_ERROR_CLEANUP(end_call, PointerGetDatum(pull));
	{
		evsched_table_open_for_write(&pull->table, command);
		scan_queue(pull, evsched_place_min(mark.low, evsched_effect_first(store, pull->queue)),
				   now);
		if (pull->got > 0)
			evsched_effect_count(store, pull->queue, pull->leases ?
								 EVSCHED_COUNT_RECEIVED : EVSCHED_COUNT_TAKEN, pull->got);
		evsched_table_close(&pull->table);
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_call, PointerGetDatum(pull));
	end_call(0, PointerGetDatum(pull));

	if (pull->slot != EVSCHED_NO_SLOT)
	{
		/* An old snapshot has not seen what was committed since. */
		if (!IsolationUsesXactSnapshot())
			evsched_mark_raise(pull->slot, &mark, pull->stop);
		answer_told(pull);
	}
	return (Datum) 0;
}

/*
 * Finds the queue's slot, announces in it what the call will do, and opens the
 * scan; once more if the slot has been given to another queue just then.
 */
static void
begin_call(Pull *pull, EvschedStore store, EvschedScanMark *mark)
{
	pull->deleting = !pull->leases;
	while (evsched_shared_ready())
	{
		pull->ref = evsched_queue_find(store, pull->queue);
		pull->slot = pull->ref.slot;
		if (pull->slot == EVSCHED_NO_SLOT)
			break;
		EVSCHED_STOP("slot found");
		if (pull->leases)
			begin_receiving(pull->ref);
		else
			pull->deleting = evsched_mark_begin_deleting(pull->ref);
		evsched_mark_begin_scan(pull->slot, mark);
		if (mark->generation == pull->ref.generation)
			break;
		end_call(0, PointerGetDatum(pull));
	}
}

/* The queue may be deleted from, or granted leases in, by others again. */
static void
end_call(int code, Datum pull_datum)
{
	Pull	   *pull = (Pull *) DatumGetPointer(pull_datum);

	if (pull->slot != EVSCHED_NO_SLOT && pull->leases)
		evsched_mark_end_receiving(pull->ref);
	else if (pull->slot != EVSCHED_NO_SLOT && pull->deleting)
		evsched_mark_end_deleting(pull->ref);
}

static void
scan_queue(Pull *pull, EvschedPlace from, TimestampTz now)
{
	EvschedTable *table = &pull->table;
	EvschedPlace held = EVSCHED_PLACE_LAST;
	EvschedGate gate = {.queue = pull->queue};

	pull->stop = EVSCHED_PLACE_LAST;
	evsched_table_begin_due(table, pull->queue, from);
	while (evsched_table_next_due(table))
	{
		EvschedPlace place = evsched_event_place(table->row);

		CHECK_FOR_INTERRUPTS();
		if (place.due_at > now || pull->got == pull->wanted)
		{
			pull->stop = place;
			break;
		}
		if (evsched_event_is_job(table->row) || evsched_event_is_paused(table->row) ||
			evsched_event_is_for_all(table->row) ||
			!evsched_right_passes(&gate, table->row))
			continue;
		if (!pull_row(pull, now))
			held = evsched_place_min(held, place);
		if (pull->full)
		{
			pull->stop = place;
			break;
		}
	}
	pull->stop = evsched_place_min(pull->stop, held);
}

/* Hands out the row, or passes over it; false when it may come back untold. */
static bool
pull_row(Pull *pull, TimestampTz now)
{
	EvschedTable *table = &pull->table;
	EvschedStep step;
	int			got = pull->got;
	bool		told;

	if (pull->slot != EVSCHED_NO_SLOT && !pull->deleting &&
		evsched_lease_exists(table->store, evsched_event_id(table->row)))
		return true;
	step = evsched_step_take(table, pull->slot, now);
	if (step.kind == EVSCHED_STEP_DROP)
		(void) evsched_step_drop(table, &step);
	if (step.kind != EVSCHED_STEP_HAND_OUT)
		return step.kind != EVSCHED_STEP_HELD && step.kind != EVSCHED_STEP_WAIT;
	told = deliver_row(pull);
	if (pull->got > got)
		(void) evsched_step_go_on(table, &step);
	return told;
}

static bool
deliver_row(Pull *pull)
{
	EvschedTable *table = &pull->table;
	EvschedAttempt attempt;

	if (pull->leases && evsched_setting_max_retries(table->row) != 0)
		attempt = lease_row(pull);
	else
		attempt = remove_row(pull);
	if (attempt == EVSCHED_ATTEMPT_DONE)
	{
		put_delivery(pull->rsinfo, table->row);
		pull->got++;
		EVSCHED_STOP("row pulled");
	}
	return attempt != EVSCHED_ATTEMPT_LOCKED;
}

static EvschedAttempt
remove_row(Pull *pull)
{
	EvschedTable *table = &pull->table;
	EvschedAttempt attempt;

	evsched_effect_back(table->store, pull->queue, evsched_event_place(table->row));
	/* What is of a series is locked already. */
	if (pull->deleting && evsched_event_recurring(table->row) == 0)
		return evsched_table_try_delete(table);
	attempt = evsched_table_try_lock(table, &table->row->tts_tid);
	if (attempt != EVSCHED_ATTEMPT_DONE)
		return attempt;
	/* Whoever granted one has committed, or the lock were not ours. */
	if (!pull->deleting && evsched_lease_exists(table->store, evsched_event_id(table->row)))
		return EVSCHED_ATTEMPT_GONE;
	return evsched_table_delete_locked(table);
}

static EvschedAttempt
lease_row(Pull *pull)
{
	EvschedTable *table = &pull->table;
	EvschedPlace place = evsched_event_place(table->row);
	EvschedAttempt attempt = evsched_table_try_lock(table, &table->row->tts_tid);
	EvschedLease *granted;
	EvschedLease lease = {
		.store = table->store,
		.id = place.id,
		.due_at = place.due_at,
		.deadline = evsched_lease_clock() + pull->conf_timeout,
		.queue = pull->slot,
		.listener = EVSCHED_NO_SLOT,
		.pid = MyProcPid,
		.owner = evsched_event_owner(table->row),
		.recurring = evsched_event_recurring(table->row),
		.granted_at = evsched_lease_clock(),
		.kind = EVSCHED_LEASE_PULL
	};

	if (attempt != EVSCHED_ATTEMPT_DONE)
		return attempt;
	evsched_effect_reserve();
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	granted = evsched_lease_grant(&lease);
	if (granted != NULL)
		evsched_effect_granted(granted);
	pull->full = granted == NULL && evsched_lease_table_full();
	LWLockRelease(evsched_lease_lock);
	return granted != NULL ? EVSCHED_ATTEMPT_DONE : EVSCHED_ATTEMPT_GONE;
}

/* Waits for calls of take under way that do not look for leases. */
static void
begin_receiving(EvschedQueueRef ref)
{
	(void) evsched_wait_until(may_receive, &ref, RECEIVING_PAUSE_MS, EVSCHED_WAIT_FOREVER);
}

static bool
may_receive(void *ref)
{
	return evsched_mark_begin_receiving(*(EvschedQueueRef *) ref);
}

/* The queue is drained as far as this call can tell: the next one may be told. */
static void
answer_told(Pull *pull)
{
	EvschedQueue *queue = evsched_queue_get(pull->slot);

	if (pull->got == pull->wanted || pull->full || queue->told == EVSCHED_NO_SLOT)
		return;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	queue->told = EVSCHED_NO_SLOT;
	LWLockRelease(evsched_lease_lock);
	evsched_queue_touch(pull->slot);
}

/* In the order of the columns of evsched.delivery. */
static void
put_delivery(ReturnSetInfo *rsinfo, TupleTableSlot *row)
{
	static const int columns[DELIVERY_COLUMNS] = {
		EVSCHED_EVENT_ID, EVSCHED_EVENT_RECURRING, EVSCHED_EVENT_KEY, EVSCHED_EVENT_QUEUE,
		EVSCHED_EVENT_PAYLOAD, EVSCHED_EVENT_DUE_AT, EVSCHED_EVENT_MAX_RETRIES,
		EVSCHED_EVENT_NUM_RETRIES
	};
	Datum		values[DELIVERY_COLUMNS];
	bool		nulls[DELIVERY_COLUMNS];

	for (int i = 0; i < DELIVERY_COLUMNS; i++)
	{
		values[i] = evsched_event_value(row, columns[i]);
		nulls[i] = !evsched_event_has(row, columns[i]);
		if (columns[i] == EVSCHED_EVENT_PAYLOAD && !nulls[i])
			values[i] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
		if (columns[i] == EVSCHED_EVENT_MAX_RETRIES)
		{
			values[i] = Int32GetDatum(evsched_setting_max_retries(row));
			nulls[i] = false;
		}
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Who has just moved it has ended its lease, or is about to. */
static EvschedVerdict
decide_fetch(EvschedTable *table, void *now)
{
	return evsched_event_place(table->row).due_at > *(TimestampTz *) now ?
		EVSCHED_KEEP : EVSCHED_DELETE;
}

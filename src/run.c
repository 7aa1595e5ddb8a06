/*
 * run.c
 *		One run of a job by a worker.
 *
 * Called by a worker, outside a transaction.  A run is three steps: the job is read
 * and marked as being run (run_slot.c); its command runs, and in the same transaction
 * its event is removed, the run is written down and what follows on it is posted; or,
 * after a failure, another transaction counts that.  The event's row is not locked
 * meanwhile: whoever cancels or moves it need not wait, and has the last word.
 */
#include "postgres.h"

#include "run.h"

#include <sys/resource.h>

#include "access/xact.h"
#include "executor/instrument.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "compat.h"
#include "effect.h"
#include "entry.h"
#include "failure.h"
#include "history.h"
#include "pool.h"
#include "process.h"
#include "right.h"
#include "role.h"
#include "run_slot.h"
#include "script.h"
#include "setting.h"
#include "shared.h"
#include "stat.h"
#include "stop.h"
#include "table.h"

/* What a run has used so far, of what the process counts. */
typedef struct Usage
{
	double		cpu_ms;
	int64		wal_bytes;
	int64		shared_blks;
} Usage;

/* The job in hand; lives in its context. */
typedef struct Run
{
	EvschedStore store;
	Oid			role;
	EvschedTask task;
	EvschedScript script;
	EvschedRecord record;
	text	   *body;			/* NULL: nothing follows */
	int64		timeout;		/* µs; 0: none */
	int			num_retries;
	Usage		before;
} Run;

static MemoryContext context;
static Run *current;			/* NULL: no command is being run */

static bool is_own(void);
static void begin_own(void);
static bool prepare(Run *run);
static void tell_begin(const Run *run);
static bool may_run(Run *run, EvschedTable *table);
static void read_row(Run *run, EvschedTable *table);
static void put_back(Run *run);
static void execute(Run *run);
static void write_down_begin(Run *run);
static void arm_timeout(const Run *run);
static void finish(Run *run);
static EvschedVerdict decide_finish(EvschedTable *table, void *run);
static void post_body(Run *run, EvschedTable *table);
static void fail(Run *run, ErrorData *error);
static Usage measure(void);
static void end_measuring(Run *run);
static EvschedStaffStop stop_asked(void);

PG_FUNCTION_INFO_V1(evsched_sql_current_event);

void
evsched_run_init(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "evsched job", ALLOCSET_DEFAULT_SIZES);
}

/* The event of current_user's that is being run, and since when it was due; false: none is. */
bool
evsched_run_event(EvschedPlace *place)
{
	if (!is_own())
		return false;
	*place = (EvschedPlace) {current->task.due_at, current->task.event_id};
	return true;
}

/* Runs a job that was handed to this process; false: it was run and did not succeed. */
bool
evsched_run_task(EvschedStore store, Oid role, const EvschedTask *task)
{
	MemoryContext old_context;
	Run		   *run;
	bool		failed = false;

	MemoryContextReset(context);
	old_context = MemoryContextSwitchTo(context);
	run = palloc0(sizeof(Run));
	run->store = store;
	run->role = role;
	run->task = *task;
	if (prepare(run))
	{
		ErrorData  *volatile error = NULL;

		PG_TRY();
		{
			execute(run);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			EmitErrorReport();
			FlushErrorState();
		}
		PG_END_TRY();
		evsched_staff_set_cancellable(false);
		disable_all_timeouts(false);
		QueryCancelPending = false;
		failed = error != NULL;
		if (failed)
			fail(run, error);
		EVSCHED_STOP("run committed");
		evsched_run_slot_end();
	}
	current = NULL;
	debug_query_string = NULL;
	MemoryContextSwitchTo(old_context);
	return !failed;
}

/* current_event() */
Datum
evsched_sql_current_event(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[6] = {0};
	bool		nulls[6] = {true, true, true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (is_own())
	{
		values[0] = Int64GetDatum(current->task.event_id);
		values[1] = Int64GetDatum(current->task.recurring);
		values[2] = Int64GetDatum(current->record.id);
		values[3] = Int32GetDatum(current->num_retries);
		values[4] = TimestampTzGetDatum(current->task.due_at);
		values[5] = PointerGetDatum(current->script.payload);
		memset(nulls, false, sizeof(nulls));
		nulls[1] = current->task.recurring == 0;
		nulls[5] = current->script.payload == NULL;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* A job may call functions, or rules, that run as others: it is none of theirs. */
static bool
is_own(void)
{
	return current != NULL && evsched_is_member(GetUserId(), current->role);
}

/* A transaction that is not the job's, whatever its role has set for all of its own. */
static void
begin_own(void)
{
	evsched_process_begin();
	XactReadOnly = false;
	XactIsoLevel = XACT_READ_COMMITTED;
	XactDeferrable = false;
}

/* Reads the job and marks it as being run; false when it is not to be run. */
static bool
prepare(Run *run)
{
	EvschedTable table;
	EvschedRunSlot mark;
	bool		may;

	/* Before it is looked at: who cancels it after that cancels what is being run. */
	run->record.started_at = GetCurrentTimestamp();
	begin_own();
	evsched_table_open(&table);
	may = evsched_store_equal(table.store, run->store) &&
		evsched_table_find(&table, run->task.event_id) && may_run(run, &table);
	if (may)
		read_row(run, &table);
	evsched_table_close(&table);
	if (may)
		run->record.id = evsched_history_next_run();
	else
		put_back(run);
	evsched_process_end();
	if (!may)
		return false;

	mark = (EvschedRunSlot) {
		.store = run->store,
		.event_id = run->task.event_id,
		.recurring = run->task.recurring,
		.run_id = run->record.id,
		.serial = run->task.serial,
		.due_at = run->task.due_at,
		.started_at = run->record.started_at,
		.owner = run->task.owner,
		.worker = run->task.number
	};
	strlcpy(mark.pool, run->task.pool, sizeof(mark.pool));
	evsched_run_slot_begin(&mark);
	tell_begin(run);
	return true;
}

/* That it has begun, and how late: if it was due for ever, nobody can say. */
static void
tell_begin(const Run *run)
{
	EvschedStaff *staff = evsched_staff_get(evsched_staff_mine());
	EvschedListener *crew = evsched_listener_get(run->task.crew);
	int64		late = run->record.started_at - run->task.due_at;

	/* From now on it may be stopped by its number. */
	evsched_staff_set_cancellable(true);
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	staff->run_id = run->record.id;
	staff->started_at = run->record.started_at;
	if (crew->crew && crew->role == run->role)
		crew->failures = 0;
	if (!TIMESTAMP_NOT_FINITE(run->task.due_at))
	{
		evsched_lateness_add(&staff->lateness, late);
		evsched_stat_begun(run->task.queue, late);
	}
	LWLockRelease(evsched_lease_lock);
}

/*
 * It is still the event that was handed out, and its owner, whose rights this process
 * has, still has them.
 */
static bool
may_run(Run *run, EvschedTable *table)
{
	EvschedGate gate = {.queue = run->task.pool};

	return evsched_event_place(table->row).due_at == run->task.due_at &&
		evsched_event_is_job(table->row) && !evsched_event_is_paused(table->row) &&
		!evsched_setting_is_halted(run->task.pool) &&
		evsched_right_passes(&gate, table->row) &&
		evsched_role_of(evsched_event_owner(table->row)) == run->role &&
		evsched_right_may_work(run->role);
}

static void
read_row(Run *run, EvschedTable *table)
{
	TupleTableSlot *row = table->row;
	MemoryContext old_context = MemoryContextSwitchTo(context);

	run->script.context = context;
	run->script.sql = TextDatumGetCString(evsched_event_value(row, EVSCHED_EVENT_COMMAND));
	if (evsched_event_has(row, EVSCHED_EVENT_PAYLOAD))
		run->script.payload = DatumGetJsonbPCopy(evsched_event_value(row, EVSCHED_EVENT_PAYLOAD));
	if (evsched_event_has(row, EVSCHED_EVENT_BODY))
		run->body = DatumGetTextPCopy(evsched_event_value(row, EVSCHED_EVENT_BODY));
	if (evsched_event_has(row, EVSCHED_EVENT_RUN_TIMEOUT))
		run->timeout = evsched_arg_us(DatumGetIntervalP(evsched_event_value(row,
																			EVSCHED_EVENT_RUN_TIMEOUT)));
	run->num_retries = evsched_event_num_retries(row);
	run->record.event_id = run->task.event_id;
	run->record.recurring = run->task.recurring;
	run->record.owner = run->task.owner;
	run->record.worker = run->task.number;
	run->record.pool = run->task.pool;
	run->record.command = run->script.sql;
	MemoryContextSwitchTo(old_context);
}

/* Whoever may hand it out or not looks at it again. */
static void
put_back(Run *run)
{
	evsched_effect_due(run->store, run->task.pool,
					   (EvschedPlace) {run->task.due_at, run->task.event_id});
	evsched_effect_finish(run->store, run->task.event_id, run->task.serial);
}

/* Runs the command, and ends the run with it. */
static void
execute(Run *run)
{
	ErrorContextCallback *process_context = error_context_stack;

	pgstat_report_activity(STATE_RUNNING, run->script.sql);
	debug_query_string = run->script.sql;
	current = run;
	EVSCHED_STOP("run begun");
	run->before = measure();
	arm_timeout(run);
	/* What an error tells of where it came up is the job's. */
	error_context_stack = NULL;

	evsched_process_begin();
	MemoryContextSwitchTo(context);
	evsched_script_parse(&run->script);
	if (run->script.controls)
		write_down_begin(run);
	evsched_script_run(&run->script);
	EVSCHED_STOP("run done");
	/* Its time goes on: what triggers are deferred to the commit is its, too. */
	finish(run);
	EVSCHED_STOP("run recorded");
	evsched_process_end();
	error_context_stack = process_context;
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* What may commit by itself leaves a trace even if the end of the run is cut off. */
static void
write_down_begin(Run *run)
{
	XactReadOnly = false;
	run->record.state = EVSCHED_RUN_RUNNING;
	evsched_history_add(&run->record);
	CommitTransactionCommand();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* The shorter of the job's own time and its role's statement_timeout. */
static void
arm_timeout(const Run *run)
{
	int64		ms = run->timeout == 0 ? PG_INT32_MAX : Max(run->timeout / 1000, 1);

	if (StatementTimeout > 0)
		ms = Min(ms, StatementTimeout);
	if (ms < PG_INT32_MAX)
		enable_timeout_after(STATEMENT_TIMEOUT, ms);
}

/* The event goes, unless the job or somebody else has moved it. */
static void
finish(Run *run)
{
	bool		read_only = XactReadOnly;
	EvschedTable table;

	/* What the job has promised for itself does not bind us. */
	XactReadOnly = false;
	end_measuring(run);
	run->record.state = EVSCHED_RUN_SUCCEEDED;
	run->record.result = run->script.result;
	run->record.rows = run->script.rows;

	evsched_table_open_now(&table, "evsched run");
	(void) evsched_table_change(&table, run->task.event_id, decide_finish, run);
	if (run->body != NULL)
		post_body(run, &table);
	if (run->script.controls)
		evsched_history_end(&run->record);
	else
		evsched_history_add(&run->record);
	evsched_effect_count(table.store, run->task.pool, EVSCHED_COUNT_SUCCEEDED, 1);
	evsched_effect_finish(table.store, run->task.event_id, run->task.serial);
	evsched_table_close(&table);
	XactReadOnly = read_only;
}

static EvschedVerdict
decide_finish(EvschedTable *table, void *arg)
{
	Run		   *run = arg;

	if (evsched_event_place(table->row).due_at == run->task.due_at)
		return EVSCHED_DELETE;
	/* It is to be looked at again when the lease is over. */
	evsched_effect_due(table->store, run->task.pool, evsched_event_place(table->row));
	return EVSCHED_KEEP;
}

/* What op has returned is what its body gets. */
static void
post_body(Run *run, EvschedTable *table)
{
	EvschedEntry entry = {
		.queue = EVSCHED_POOL_ACTIVE,
		.due_at = GetCurrentTimestamp(),
		.has_max_retries = true,
		.owner = run->task.owner,
		.command = run->body,
		.payload = (struct varlena *) run->script.result
	};
	bool		kept;

	if (entry.payload == NULL)
		entry.payload = (struct varlena *)
			DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum("null")));
	(void) evsched_entry_insert(table, &entry, &kept);
}

/* Rolls back, and counts the failure. */
static void
fail(Run *run, ErrorData *error)
{
	EvschedStaffStop stop = stop_asked();
	EvschedFailure failure = {
		.due_at = run->task.due_at,
		.serial = run->task.serial,
		.counts = stop != EVSCHED_STAFF_STOP_FORCED,
		.detail = error->detail,
		.context = error->context
	};

	evsched_process_abort();
	PortalErrorCleanup();
	MemoryContextSwitchTo(context);
	EVSCHED_STOP("run failed");
	end_measuring(run);
	failure.record = run->record;
	failure.record.state = stop == EVSCHED_STAFF_NO_STOP ? EVSCHED_RUN_FAILED : EVSCHED_RUN_CANCELLED;
	failure.record.result = NULL;
	failure.record.rows = 0;
	failure.record.sqlstate = unpack_sql_state(error->sqlerrcode);
	failure.record.message = stop == EVSCHED_STAFF_STOP_RUN ? "stopped by stop_run" :
		stop == EVSCHED_STAFF_STOP_FORCED ? "stopped by force_stop" :
		error->message != NULL ? error->message : "";

	current = NULL;
	begin_own();
	(void) evsched_failure_record(&failure, true);
	evsched_process_end();
	pgstat_report_activity(STATE_IDLE, NULL);
}

static Usage
measure(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (Usage)
	{
		.cpu_ms = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000.0 +
			(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000.0,
			.wal_bytes = pgWalUsage.wal_bytes,
			.shared_blks = pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read
	};
}

static void
end_measuring(Run *run)
{
	Usage		after = measure();

	run->record.ended_at = GetCurrentTimestamp();
	run->record.measured = true;
	run->record.cpu_ms = after.cpu_ms - run->before.cpu_ms;
	run->record.wal_bytes = after.wal_bytes - run->before.wal_bytes;
	run->record.shared_blks = after.shared_blks - run->before.shared_blks;
}

/* Has somebody asked for the end of this run? */
static EvschedStaffStop
stop_asked(void)
{
	EvschedStaffStop stop;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	stop = evsched_staff_get(evsched_staff_mine())->stop;
	LWLockRelease(evsched_lease_lock);
	return stop;
}

/*
 * scheduler.c
 *		The background process of a database, the only one that decides who
 *		gets what, and when.
 *
 * Its loop: deal with the leases that are over, take in some of what is watched,
 * look at the queues that were touched or whose time has come, and sleep until the
 * next of these.  No part waits; evsched_timer_sleep is the one place that does.
 * An error ends the process and the launcher starts another, which finds leases and
 * listeners in shared memory as they were.
 */
#include "postgres.h"

#include "scheduler.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attention.h"
#include "broadcast.h"
#include "command.h"
#include "crew.h"
#include "database.h"
#include "expire.h"
#include "guc.h"
#include "hire.h"
#include "lease.h"
#include "listener.h"
#include "mark.h"
#include "pool.h"
#include "process.h"
#include "queue.h"
#include "reader.h"
#include "run_slot.h"
#include "shared.h"
#include "stat.h"
#include "store.h"
#include "table.h"
#include "timer.h"
#include "turn.h"
#include "watch.h"

/* The clock was set when it went that much faster or slower than time. */
#define CLOCK_STEP			(USECS_PER_SEC / 2)

static EvschedStore store;
static bool current;			/* its version is the library's */
static int	database = EVSCHED_NO_SLOT;
static int64 check_readers_at = PG_INT64_MAX;	/* µs, monotonic */
static int64 hire_at;			/* the same */
static int64 watch_at = PG_INT64_MAX;	/* the same */
static uint32 pool_changes;		/* as far as they were seen to */
static int64 clock_offset;		/* of the wall clock to the monotonic one, µs */

static void connect_to(Oid oid);
static EvschedStore find_store(Oid last_table);
static void leave_if_gone(void);
static void forget_store(EvschedStore gone);
static void leave_if_held(void);
static void run_loop(void);
static void open_pools(void);
static void refit_pools(void);
static void look_again(void);
static void wait_for_update(void);
static bool clock_was_set(void);
static int64 clock_moved(void);
static void run_pending(void);
static void run_turn(int slot);
static EvschedNextTurn survive_full_queue(int slot);
static TimestampTz next_wake(TimestampTz now);
static void resign(int code, Datum arg);

/* Starts the scheduler of a database; false when there is no worker slot. */
bool
evsched_scheduler_launch(Oid oid, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = ObjectIdGetDatum(oid),
		.bgw_notify_pid = MyProcPid
	};

	evsched_process_describe(&worker, "evsched scheduler", "evsched_scheduler_main");
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

void
evsched_scheduler_main(Datum oid)
{
	Oid			last_table;

	connect_to(DatumGetObjectId(oid));
	last_table = evsched_database_served_table(database);
	store = find_store(last_table);
	if (!OidIsValid(store.table))
	{
		forget_store((EvschedStore) {MyDatabaseId, last_table});
		evsched_database_set_wanted(database, false);
		proc_exit(0);
	}
	evsched_lease_forget(store, true);
	evsched_listener_forget(store, true);
	evsched_queue_forget(store, true);
	evsched_run_slot_forget(store, true);
	evsched_stat_forget(store, true);
	evsched_stat_start(database, store);

	evsched_attention_start();
	evsched_hire_start();
	evsched_timer_start();
	evsched_watch_start();
	(void) evsched_database_set_scheduler(database, store.table);
	/* With its first queue a store gets the slot that the rest share. */
	(void) evsched_queue_find(store, "default");
	evsched_mark_start_all(store);
	check_readers_at = 0;
	hire_at = 0;
	PG_TRY();
	{
		if (current)
		{
			open_pools();
			evsched_broadcast_start(store);
			evsched_command_refresh();
		}
		run_loop();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* The extension may have been dropped while it was at work. */
		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		FlushErrorState();
		evsched_process_abort();
		LWLockReleaseAll();
		leave_if_gone();
		ReThrowError(error);
	}
	PG_END_TRY();
}

static void
connect_to(Oid oid)
{
	evsched_process_start("evsched scheduler");
	database = evsched_database_find(oid, true);
	if (database == EVSCHED_NO_SLOT)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("evsched serves no more than %d databases", EVSCHED_MAX_DATABASES)));
	on_shmem_exit(resign, 0);
	if (!evsched_database_set_scheduler(database, InvalidOid))
		proc_exit(0);			/* one is there; the launcher will see to it */
	leave_if_held();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(oid, InvalidOid, 0);

	/* Bookkeeping that a crash undoes means a second delivery, never a loss. */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname("evsched scheduler");
}

/*
 * The store that is there now, table InvalidOid where there is none; waits for
 * whoever drops the last one.
 */
static EvschedStore
find_store(Oid last_table)
{
	EvschedStore found = {MyDatabaseId, InvalidOid};
	bool		exists;

	evsched_process_begin();
	if (OidIsValid(last_table))
		LockRelationOid(last_table, AccessShareLock);
	/* In this order: they are dropped in one transaction. */
	exists = evsched_store_exists();
	if (OidIsValid(get_extension_oid(EVSCHED_NAME, true)))
	{
		if (!exists && !evsched_store_exists())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a table or index of extension evsched is missing or was renamed")));
		found = evsched_store_here();
		current = evsched_store_is_current();
	}
	evsched_process_end();
	return found;
}

/* The launcher looks what is there instead. */
static void
leave_if_gone(void)
{
	if (evsched_store_equal(find_store(store.table), store))
		return;
	forget_store(store);
	proc_exit(0);
}

/* Gives back what listeners and receivers of a store had that is dropped. */
static void
forget_store(EvschedStore gone)
{
	if (!OidIsValid(gone.table))
		return;
	evsched_lease_forget(gone, false);
	evsched_listener_forget(gone, false);
	evsched_queue_forget(gone, false);
	evsched_run_slot_forget(gone, false);
	evsched_hire_forget(gone);
}

/* Somebody wants the database for himself. */
static void
leave_if_held(void)
{
	if (evsched_database_is_held(database))
		proc_exit(0);
}

static void
run_loop(void)
{
	for (;;)
	{
		int64		clock;

		ResetLatch(MyLatch);
		evsched_process_interrupts();
		leave_if_held();
		if (pool_changes != evsched_pool_changes())
			refit_pools();
		if (evsched_database_take_recheck(database))
			look_again();
		if (!current)
		{
			wait_for_update();
			continue;
		}
		evsched_command_run(store, database);

		clock = evsched_lease_clock();
		/* Who has not confirmed may be one who does not read. */
		if (evsched_expire_run(store, database, clock))
			check_readers_at = Min(check_readers_at, evsched_reader_check_at());
		if (check_readers_at <= clock)
			check_readers_at = evsched_reader_check(store, clock);
		if (evsched_database_take_want_staff(database) || hire_at <= clock)
			hire_at = evsched_hire_run(store, database, clock);
		watch_at = evsched_watch_run(clock);
		/* A pause, or a time to wait for, may have moved far away. */
		evsched_attention_collect(database, clock_was_set() ? DT_NOEND : GetCurrentTimestamp());
		if (evsched_attention_pending() > 0)
			run_pending();
		else
		{
			evsched_timer_sleep(next_wake(GetCurrentTimestamp()));
			evsched_stat_wakeup(database);
		}
	}
}

/*
 * The pools that hold jobs get a slot, and with it a turn; the others get one from whoever
 * posts the first job.
 */
static void
open_pools(void)
{
	EvschedTable table;

	evsched_process_begin();
	evsched_table_open(&table);
	for (int i = 0; i < evsched_pool_count(); i++)
	{
		evsched_table_begin_due(&table, evsched_pool_name(i), EVSCHED_PLACE_FIRST);
		if (evsched_table_next_due(&table))
			(void) evsched_queue_find(store, evsched_pool_name(i));
		evsched_table_end_due(&table);
	}
	evsched_table_close(&table);
	evsched_process_end();
}

/* evsched.pools was set anew. */
static void
refit_pools(void)
{
	pool_changes = evsched_pool_changes();
	if (current)
		open_pools();
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	evsched_crew_refit(store);
	LWLockRelease(evsched_lease_lock);
	evsched_mark_note_all(store);
	evsched_watch_look_again();
	hire_at = 0;
}

/*
 * The extension may be gone or updated, roles and settings may have changed: what
 * could not be handed out may be now.
 */
static void
look_again(void)
{
	bool		was_current = current;

	leave_if_gone();
	/* Who waits for an update has nothing open and listens to nothing: the next one. */
	if (was_current && !current)
		proc_exit(0);
	if (current)
		evsched_command_refresh();
	evsched_watch_look_again();
	evsched_mark_note_all(store);
}

/* Nothing is done with tables and functions of another version. */
static void
wait_for_update(void)
{
	static bool logged = false;

	if (!logged)
		ereport(LOG,
				(errmsg("evsched waits: its extension in this database is not of version %s, as its library is",
						EVSCHED_VERSION),
				 errhint("Run ALTER EXTENSION evsched UPDATE; if that was done, restart the server.")));
	logged = true;
	evsched_timer_sleep(DT_NOEND);
}

/* Has somebody set the wall clock since this was asked?  It is slewed more slowly. */
static bool
clock_was_set(void)
{
	bool		first = clock_offset == 0;
	int64		moved = clock_moved();

	/* Looked at twice: the process may have been stopped between two readings. */
	if (llabs(moved) > CLOCK_STEP)
		moved = clock_moved();
	clock_offset += moved;
	if (llabs(moved) <= CLOCK_STEP)
		return false;
	if (!first)
		evsched_stat_clock_step(database, GetCurrentTimestamp());
	return true;
}

/* How far the wall clock has gone from the monotonic one, in µs. */
static int64
clock_moved(void)
{
	return GetCurrentTimestamp() - evsched_lease_clock() - clock_offset;
}

/* One turn for each queue that is to be looked at by now. */
static void
run_pending(void)
{
	for (int n = evsched_attention_pending(); n > 0; n--)
	{
		int			slot = evsched_attention_next();

		evsched_process_interrupts();
		leave_if_held();
		if (evsched_store_equal(evsched_queue_get(slot)->store, store))
			run_turn(slot);
	}
}

static void
run_turn(int slot)
{
	EvschedNextTurn next = survive_full_queue(slot);

	evsched_attention_after(slot, next);
	if (next.watch)
		check_readers_at = Min(check_readers_at, evsched_reader_check_at());
}

/*
 * When the notification queue of the cluster is full, the turn's commit fails;
 * its leases are given back and its rows stay: try again in a while.
 */
static EvschedNextTurn
survive_full_queue(int slot)
{
	static bool logged = false;
	MemoryContext context = CurrentMemoryContext;
	volatile EvschedNextTurn next;

	PG_TRY();
	{
		next = evsched_turn_run(store, slot);
		if (!next.blocked)
			logged = false;
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		evsched_process_abort();
		if (!logged)
			ereport(LOG,
					(errmsg("evsched waits because the notification queue is full"),
					 errhint("Some session listens but does not read its notifications.")));
		logged = true;
		next = (EvschedNextTurn) {.at = DT_NOEND, .blocked = true};
	}
	PG_END_TRY();
	return next;
}

/* When there is something to do even if nobody asks for it. */
static TimestampTz
next_wake(TimestampTz now)
{
	TimestampTz at = evsched_attention_wake_at();
	int64		clock_at = Min(Min(evsched_lease_arm(database), check_readers_at),
						   Min(hire_at, watch_at));

	if (clock_at != PG_INT64_MAX)
		at = Min(at, now + Max(clock_at - evsched_lease_clock(), 0));
	return at;
}

static void
resign(int code, Datum arg)
{
	evsched_database_clear_scheduler(database);
}

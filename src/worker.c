/*
 * worker.c
 *		The background processes that run jobs and calls.
 *
 * Each is logged in as the role whose jobs it runs and never becomes another: what a
 * job can do, its role could do in a session.  It is handed jobs (run.c) and calls
 * (call.c) through shared memory (crew.c) and a latch, and between two of them forgets
 * what a session keeps in mind.
 * It ends when it has had nothing to do for a while, or when its place is needed.
 */
#include "postgres.h"

#include "worker.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "call.h"
#include "crew.h"
#include "database.h"
#include "guc.h"
#include "process.h"
#include "run.h"
#include "run_slot.h"
#include "shared.h"
#include "staff.h"

/* After so many jobs and calls a worker takes the oldest of its role, in whatever pool. */
#define TASKS_IN_POOL	16

/* So long it stays at least while something of its role waits for its turn, ms. */
#define TURN_PATIENCE	1000

static EvschedStore store;
static Oid	role;
static uint32 num_tasks;		/* that it has done */

static void cancel_run(SIGNAL_ARGS);
static void run_loop(void);
static int	idle_ms(void);
static bool next_task(EvschedTask *task);
static void done(const EvschedTask *task, bool succeeded);
static void clean_session(void);
static void retire(void);
static bool has_retired(void);
static void leave(int code, Datum arg);
static void leave_task(const EvschedTask *task, bool lost);

/* Starts a worker for a slot that was reserved for it; false when there is no process slot. */
bool
evsched_worker_launch(int slot, uint32 generation, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = Int32GetDatum(slot),
		.bgw_notify_pid = MyProcPid
	};

	memcpy(worker.bgw_extra, &generation, sizeof(generation));
	evsched_process_describe(&worker, "evsched worker", "evsched_worker_main");
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

void
evsched_worker_main(Datum slot)
{
	EvschedStaff *staff = evsched_staff_get(DatumGetInt32(slot));
	uint32		generation;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	evsched_process_start("evsched worker");
	pqsignal(SIGINT, cancel_run);
	on_shmem_exit(leave, 0);
	if (!evsched_staff_enter(DatumGetInt32(slot), generation))
		proc_exit(0);			/* it came too late */
	store = staff->store;
	role = staff->role;
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(store.database, role, 0);
	pgstat_report_appname("evsched worker");
	evsched_run_init();

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	evsched_staff_set_state(evsched_staff_mine(), EVSCHED_STAFF_IDLE);
	evsched_crew_dispatch_all(store, role);
	LWLockRelease(evsched_lease_lock);
	run_loop();
}

/* Between two runs there is nothing to cancel. */
static void
cancel_run(SIGNAL_ARGS)
{
	if (evsched_staff_is_cancellable())
		StatementCancelHandler(postgres_signal_arg);
}

static void
run_loop(void)
{
	EvschedTask task;

	for (;;)
	{
		ResetLatch(MyLatch);
		evsched_process_interrupts();
		if (next_task(&task))
		{
			bool		succeeded = task.call ? evsched_call_run(&task) :
				evsched_run_task(store, role, &task);

			clean_session();
			done(&task, succeeded);
			continue;
		}
		if (has_retired())
			proc_exit(0);
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					  idle_ms(), PG_WAIT_EXTENSION) & WL_TIMEOUT)
			retire();
	}
}

/*
 * How long it stays without anything to do.  It may have been started ahead of need, so it
 * does not leave at once, only to be started again at once.
 */
static int
idle_ms(void)
{
	bool		waits = false;

	if (evsched_worker_idle_timeout < TURN_PATIENCE)
	{
		LWLockAcquire(evsched_lease_lock, LW_SHARED);
		waits = evsched_crew_waits(store, role);
		LWLockRelease(evsched_lease_lock);
	}
	return waits ? TURN_PATIENCE : evsched_worker_idle_timeout;
}

/* What it was handed, if anything. */
static bool
next_task(EvschedTask *task)
{
	EvschedStaff *staff = evsched_staff_get(evsched_staff_mine());
	bool		busy;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	busy = staff->state == EVSCHED_STAFF_BUSY;
	if (busy)
		*task = staff->task;
	LWLockRelease(evsched_lease_lock);
	return busy;
}

/* busy -> idle, and perhaps busy again with what comes next in this pool, or in another */
static void
done(const EvschedTask *task, bool succeeded)
{
	EvschedStaff *staff = evsched_staff_get(evsched_staff_mine());

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (!task->call && staff->run_id != 0)
	{
		staff->num_runs++;
		staff->num_failed += !succeeded;
	}
	staff->run_id = 0;
	staff->busy += evsched_lease_clock() - staff->since;
	evsched_staff_set_state(evsched_staff_mine(), staff->last_job || evsched_staff_is_stale() ?
							EVSCHED_STAFF_LEAVING : EVSCHED_STAFF_IDLE);
	/* What the role has in other pools must not wait for ever for what is in this one. */
	if (++num_tasks % TASKS_IN_POOL == 0)
		evsched_crew_dispatch_oldest(store, role);
	evsched_crew_go_on(store, task->queue, task->pool, task->call);
	if (task->suspect)
		evsched_crew_refit(store);
	else if (staff->state == EVSCHED_STAFF_IDLE)
		evsched_crew_dispatch_all(store, role);
	LWLockRelease(evsched_lease_lock);
}

/* The next job finds no settings, cursors, statements, locks or tables of this one. */
static void
clean_session(void)
{
	evsched_process_begin();
	/* Temporary objects are removed from the catalogs. */
	PushActiveSnapshot(GetTransactionSnapshot());
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	PopActiveSnapshot();
	evsched_process_end();
}

/* idle -> leaving, unless it has just been handed something */
static void
retire(void)
{
	int			mine = evsched_staff_mine();

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (evsched_staff_get(mine)->state == EVSCHED_STAFF_IDLE)
		evsched_staff_set_state(mine, EVSCHED_STAFF_LEAVING);
	LWLockRelease(evsched_lease_lock);
}

static bool
has_retired(void)
{
	int			database = evsched_database_find(store.database, false);

	if (database == EVSCHED_NO_SLOT || evsched_database_is_held(database) ||
		evsched_staff_is_stale())
		retire();
	return evsched_staff_get(evsched_staff_mine())->state == EVSCHED_STAFF_LEAVING;
}

/*
 * The process ends: its place is free.  If it dies in the middle of a run, the job stays
 * leased until the scheduler has settled that.
 */
static void
leave(int code, Datum arg)
{
	EvschedStaff staff;
	int			database;
	bool		lost;

	if (evsched_staff_mine() == EVSCHED_NO_SLOT)
		return;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	staff = *evsched_staff_get(evsched_staff_mine());
	lost = evsched_run_slot_leave();
	if (staff.state == EVSCHED_STAFF_BUSY)
		leave_task(&staff.task, lost);
	/* Who dies before he has begun may do so again and again. */
	if (staff.state == EVSCHED_STAFF_STARTING ||
		(staff.state == EVSCHED_STAFF_BUSY && !lost && staff.run_id == 0))
		evsched_crew_delay(staff.store, staff.role, evsched_lease_clock());
	evsched_staff_leave();
	evsched_crew_refit(staff.store);
	LWLockRelease(evsched_lease_lock);

	database = evsched_database_find(staff.store.database, false);
	if (database != EVSCHED_NO_SLOT)
		evsched_database_want_staff(database);
	evsched_database_worker_left();
}

/* What was not begun yet is given back, what was is lost. */
static void
leave_task(const EvschedTask *task, bool lost)
{
	EvschedLease *lease = evsched_lease_find(store, task->event_id);

	if (lease == NULL || lease->serial != task->serial)
		return;
	lease->worker = EVSCHED_NO_SLOT;
	if (!lost)
		evsched_lease_give_back(lease);
}

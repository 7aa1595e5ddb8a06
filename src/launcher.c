/*
 * launcher.c
 *		The background process of the server: keeps one scheduler for each
 *		database that has the extension.
 *
 * It is connected to no database.  When it starts it asks of every database
 * whether it has the extension, one after the other, by starting a scheduler
 * there, which goes away where it has not.  After that it acts on messages only (database.c): a
 * database is to be looked at, or to be let alone.  A scheduler that failed is
 * started again, after a pause that grows while it keeps failing.
 */
#include "postgres.h"

#include "launcher.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "database.h"
#include "guc.h"
#include "lease.h"
#include "listener.h"
#include "process.h"
#include "queue.h"
#include "scheduler.h"
#include "server_zone.h"
#include "stat.h"
#include "stop.h"

/* Pauses before a failed scheduler is started again. */
#define FIRST_PAUSE_MS		100
#define LAST_PAUSE_MS		60000

/* A scheduler that lived this long had not failed at once. */
#define HEALTHY_MS			10000

/* How long a scheduler may take to leave by itself when its database is held. */
#define LEAVE_MS			500

/* How often one looks for a free worker slot, which nobody announces. */
#define SHORT_PAUSE_MS		1000

/* How long the others wait while one database is asked: its owner can hold it. */
#define PATIENCE_MS			5000

#define NEVER				PG_INT64_MAX

/* What the launcher knows of the scheduler in a database's slot; times are monotonic. */
typedef struct Charge
{
	BackgroundWorkerHandle *handle; /* NULL: none is running */
	int64		started_at;
	int64		start_at;		/* not before; NEVER: not wanted */
	int64		leave_by;		/* it is ended then; NEVER: it may stay */
	int			pause_ms;
	bool		no_worker;		/* there was no slot for it */
} Charge;

static Charge charges[EVSCHED_MAX_DATABASES];
static Oid	wanted_database;
static bool found_database;
static int	probing = EVSCHED_NO_SLOT;	/* where one asks for the extension */
static int64 probing_until;	/* when the others wait no longer */

static void probe_all(void);
static void for_each_database(void (*visit) (Form_pg_database));
static bool can_be_served(Form_pg_database form);
static void probe_database(Form_pg_database form);
static void compare_database(Form_pg_database form);
static bool database_exists(Oid oid);
static void look_after(int slot, int64 now);
static void see_leave(int slot, int64 now);
static bool may_start(int slot, int64 now);
static void scheduler_ended(int slot, int64 now);
static void start_scheduler(int slot, int64 now);
static void say_if_short(void);
static bool dismiss_scheduler(Oid oid);
static long next_ms(int64 now);
static void resign(int code, Datum arg);

/* Registers the process; called by the postmaster. */
void
evsched_launcher_init(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 1
	};

	if (IsBinaryUpgrade || !evsched_enabled)
		return;
	evsched_process_describe(&worker, "evsched launcher", "evsched_launcher_main");
	RegisterBackgroundWorker(&worker);
}

void
evsched_launcher_main(Datum arg)
{
	evsched_process_start("evsched launcher");
	on_shmem_exit(resign, 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("evsched launcher");
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
		charges[i].start_at = charges[i].leave_by = NEVER;
	evsched_launcher_set(EVSCHED_MY_PROCNO);
	probe_all();

	for (;;)
	{
		int64		now = evsched_lease_clock();
		long		ms;
		int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

		ResetLatch(MyLatch);
		evsched_process_interrupts();
		evsched_server_zone_publish();
		for (int slot = 0; slot < EVSCHED_MAX_DATABASES; slot++)
			look_after(slot, now);
		say_if_short();

		ms = next_ms(now);
		if (ms >= 0)
			events |= WL_TIMEOUT;
		(void) WaitLatch(MyLatch, events, ms, PG_WAIT_EXTENSION);
	}
}

/* Every database of the server may have the extension. */
static void
probe_all(void)
{
	for_each_database(probe_database);
}

static void
for_each_database(void (*visit) (Form_pg_database))
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	evsched_process_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		visit((Form_pg_database) GETSTRUCT(tuple));
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	PopActiveSnapshot();
	evsched_process_end();
}

/* Templates are to be copied, and an interrupted DROP DATABASE leaves a ruin. */
static bool
can_be_served(Form_pg_database form)
{
	return form->datallowconn && !form->datistemplate &&
		form->datconnlimit != DATCONNLIMIT_INVALID_DB;
}

static void
probe_database(Form_pg_database form)
{
	if (can_be_served(form))
		evsched_database_probe(form->oid);
}

static void
compare_database(Form_pg_database form)
{
	if (form->oid == wanted_database && can_be_served(form))
		found_database = true;
}

/* Can a scheduler be started there? */
static bool
database_exists(Oid oid)
{
	wanted_database = oid;
	found_database = false;
	for_each_database(compare_database);
	return found_database;
}

/* Does what is due for one slot. */
static void
look_after(int slot, int64 now)
{
	Charge	   *charge = &charges[slot];
	pid_t		pid;

	if (evsched_database_get(slot)->oid == InvalidOid)
		return;
	if (charge->handle != NULL &&
		GetBackgroundWorkerPid(charge->handle, &pid) == BGWH_STOPPED)
		scheduler_ended(slot, now);
	see_leave(slot, now);
	if (evsched_database_is_held(slot))
		return;
	/* While one is ending, what it has not seen is for the next. */
	if (charge->handle == NULL && evsched_database_take_probe(slot))
	{
		evsched_database_set_wanted(slot, true);
		charge->pause_ms = 0;
		charge->start_at = now;
	}
	if (charge->handle == NULL && charge->start_at <= now && may_start(slot, now))
		start_scheduler(slot, now);
}

/* A scheduler whose database is held leaves by itself, or is made to. */
static void
see_leave(int slot, int64 now)
{
	Charge	   *charge = &charges[slot];
	Oid			oid = evsched_database_get(slot)->oid;

	if (!evsched_database_is_held(slot) || evsched_database_scheduler_pid(oid) == 0)
	{
		charge->leave_by = NEVER;
		return;
	}
	if (charge->leave_by <= now)
		(void) dismiss_scheduler(oid);
	if (charge->leave_by == NEVER || charge->leave_by <= now)
		charge->leave_by = now + LEAVE_MS * INT64CONST(1000);
}

/* One database is asked at a time; where the answer is known, it need not wait. */
static bool
may_start(int slot, int64 now)
{
	if (probing != EVSCHED_NO_SLOT &&
		(probing_until <= now || evsched_database_is_served(probing)))
		probing = EVSCHED_NO_SLOT;
	if (evsched_database_is_held(slot))
		return false;
	return probing == EVSCHED_NO_SLOT || evsched_database_is_served(slot);
}

static void
scheduler_ended(int slot, int64 now)
{
	Charge	   *charge = &charges[slot];

	pfree(charge->handle);
	charge->handle = NULL;
	if (now - charge->started_at > HEALTHY_MS * INT64CONST(1000))
		charge->pause_ms = 0;
	charge->start_at = NEVER;
	if (probing == slot)
		probing = EVSCHED_NO_SLOT;
	if (!evsched_database_is_wanted(slot))
	{
		/* The extension is not there: others may need the slot. */
		evsched_queue_release(slot, false);
		return;
	}
	charge->start_at = now + charge->pause_ms * INT64CONST(1000);
	charge->pause_ms = Min(Max(charge->pause_ms * 2, FIRST_PAUSE_MS), LAST_PAUSE_MS);
}

static void
start_scheduler(int slot, int64 now)
{
	Charge	   *charge = &charges[slot];
	Oid			oid = evsched_database_get(slot)->oid;

	/* One that an earlier launcher has left: its successor finds all as it was. */
	if (dismiss_scheduler(oid))
	{
		charge->start_at = now + FIRST_PAUSE_MS * INT64CONST(1000);
		return;
	}
	charge->start_at = NEVER;
	charge->no_worker = false;
	if (!database_exists(oid))
	{
		evsched_lease_forget((EvschedStore) {oid, InvalidOid}, true);
		evsched_listener_forget((EvschedStore) {oid, InvalidOid}, true);
		evsched_stat_forget((EvschedStore) {oid, InvalidOid}, true);
		evsched_queue_release(slot, true);
		return;
	}
	charge->started_at = now;
	if (evsched_scheduler_launch(oid, &charge->handle))
	{
		if (!evsched_database_is_served(slot))
		{
			probing = slot;
			probing_until = now + PATIENCE_MS * INT64CONST(1000);
		}
		EVSCHED_STOP("scheduler started");
		return;
	}
	charge->handle = NULL;
	charge->no_worker = true;
	charge->start_at = now + SHORT_PAUSE_MS * INT64CONST(1000);
}

/* Once, until every database that wants a scheduler has one. */
static void
say_if_short(void)
{
	Oid			oid = InvalidOid;

	for (int i = 0; i < EVSCHED_MAX_DATABASES && !OidIsValid(oid); i++)
	{
		if (charges[i].no_worker)
			oid = evsched_database_get(i)->oid;
	}
	if (OidIsValid(oid) && !evsched_launcher_is_short())
		ereport(LOG,
				(errmsg("evsched has no worker slot for the scheduler of database %u", oid),
				 errhint("Raise max_worker_processes.")));
	evsched_launcher_set_short(OidIsValid(oid));
}

/* Is there a scheduler?  Sends it away. */
static bool
dismiss_scheduler(Oid oid)
{
	int			pid = evsched_database_scheduler_pid(oid);

	if (pid != 0)
		kill(pid, SIGTERM);
	return pid != 0;
}

/* Until a scheduler is to be started again, or must have left; -1: none is. */
static long
next_ms(int64 now)
{
	int64		first = NEVER;

	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		int64		start_at = charges[i].start_at;

		first = Min(first, charges[i].leave_by);
		if (charges[i].handle != NULL || evsched_database_is_held(i))
			continue;
		if (start_at != NEVER && !may_start(i, now))
			start_at = Max(start_at, probing_until);
		first = Min(first, start_at);
	}
	return first == NEVER ? -1 : Max(first - now + 999, 0) / 1000;
}

static void
resign(int code, Datum arg)
{
	evsched_launcher_set(EVSCHED_NO_PROC);
}

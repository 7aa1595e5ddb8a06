/*
 * command.c
 *		What the scheduler is asked to do for its database as a whole: to start,
 *		to stop, to look at roles and ids again.
 *
 * Called by the scheduler, between two turns, outside a transaction.  start() and
 * stop() take effect at once and are not undone by the rollback of who called
 * them: that is why the scheduler carries them out, in transactions of its own.
 */
#include "postgres.h"

#include "command.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "database.h"
#include "guc.h"
#include "mark.h"
#include "process.h"
#include "right.h"
#include "role.h"
#include "statement.h"

/* More than deadlock_timeout, so that autovacuum makes room. */
#define TABLE_LOCK_TIMEOUT	"2s"

/* The last id known to be given away; never to be given away again. */
static int64 last_id;

static void set_stopped(bool stop);
static void keep_ids(bool restored);
static void mend_triggers(void);
static void enable_triggers(void);

/* Does what start() or stop() asks for, and tells who waits for it. */
void
evsched_command_run(EvschedStore store, int database)
{
	uint32		asked;
	bool		stop;

	if (!evsched_database_take_asked(database, &asked, &stop))
		return;
	evsched_process_begin();
	set_stopped(stop);
	if (!stop)
	{
		(void) evsched_role_bind_all();
		keep_ids(true);
	}
	/* Who is told that it is done relies on it. */
	ForceSyncCommit();
	evsched_process_end();
	if (!stop)
		mend_triggers();
	evsched_mark_note_all(store);
	evsched_database_set_done(database, asked);
	ereport(LOG,
			(stop ? errmsg("evsched is stopped in this database")
			 : errmsg("evsched is started in this database")));
}

/*
 * Roles may have been renamed or dropped since; and with
 * evsched.start_after_restore, what was restored is bound.
 */
void
evsched_command_refresh(void)
{
	bool		restored;

	evsched_process_begin();
	evsched_role_follow_all();
	restored = evsched_start_after_restore && evsched_role_bind_all();
	keep_ids(restored);
	if (restored)
		ereport(LOG,
				(errmsg("evsched hands out restored events, as evsched.start_after_restore says")));
	if (evsched_role_is_restored())
		evsched_right_log_unbound();
	evsched_process_end();
}

static void
set_stopped(bool stop)
{
	Datum		value = BoolGetDatum(stop);
	EvschedCaller caller;

	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_STOP, &value, NULL);
	evsched_statement_end(&caller);
}

/*
 * A restore may have set the sequence of ids back.  When a change of settings or roles
 * announces one, the sequence still stands where it was.
 */
static void
keep_ids(bool restored)
{
	EvschedCaller caller;
	Datum		value = Int64GetDatum(last_id);
	bool		isnull;

	evsched_statement_begin(&caller);
	if (restored)
		evsched_statement_run(EVSCHED_STMT_NEXT_ID, NULL, NULL);
	evsched_statement_run(EVSCHED_STMT_LAST_ID, &value, NULL);
	last_id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	evsched_statement_end(&caller);
}

/*
 * A restore with --disable-triggers leaves our triggers enabled, but no longer
 * always: replicated events would not wake the scheduler.  That is mended if nobody
 * is in the way.
 */
static void
mend_triggers(void)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		evsched_process_begin();
		(void) set_config_option("lock_timeout", TABLE_LOCK_TIMEOUT, PGC_SUSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
		enable_triggers();
		evsched_process_end();
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		evsched_process_abort();
		ereport(LOG,
				(errmsg("evsched's triggers were disabled and could not be enabled for replication"),
				 errdetail("An open transaction has one of its tables in use."),
				 errhint("Call evsched.start() again later.")));
	}
	PG_END_TRY();
}

static void
enable_triggers(void)
{
	EvschedCaller caller;
	Datum		commands;
	bool		isnull;

	evsched_statement_begin(&caller);
	evsched_statement_read(EVSCHED_STMT_TRIGGERS, NULL);
	commands = evsched_statement_value(0, 1, &isnull);
	if (!isnull)
		evsched_statement_execute(TextDatumGetCString(commands));
	evsched_statement_end(&caller);
}

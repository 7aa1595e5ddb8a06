/*
 * command.c
 *		What the scheduler is asked to do for its database as a whole: to start,
 *		to stop, to look at the roles again.
 *
 * Called by the scheduler, between two turns.  start() and
 * stop() take effect at once and are not undone by the rollback of who called
 * them: that is why the scheduler carries them out, in transactions of its own.
 */
#include "postgres.h"

#include "command.h"

#include "access/xact.h"

#include "database.h"
#include "guc.h"
#include "mark.h"
#include "process.h"
#include "role.h"
#include "statement.h"

static void set_stopped(bool stop);

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
		(void) evsched_role_bind_all();
	/* Who is told that it is done relies on it. */
	ForceSyncCommit();
	evsched_process_end();
	evsched_mark_note_all(store);
	evsched_database_set_done(database, asked);
	ereport(LOG,
			(stop ? errmsg("evsched is stopped in this database")
			 : errmsg("evsched is started in this database")));
}

/*
 * Inside a transaction: roles may have been renamed or dropped since; and with
 * evsched.start_after_restore, what was restored is bound.
 */
void
evsched_command_refresh(void)
{
	evsched_role_follow_all();
	if (evsched_start_after_restore && evsched_role_bind_all())
		ereport(LOG,
				(errmsg("evsched hands out restored events, as evsched.start_after_restore says")));
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

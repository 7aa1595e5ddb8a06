/*
 * process.c
 *		What all background processes of evsched have in common: signals, the
 *		bracket of a transaction, the context of an error message.
 *
 * What is allocated between begin and end lives until the next begin; what is
 * allocated outside lives as long as the process.
 */
#include "postgres.h"

#include "process.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "evsched.h"

static const char *process_name;
static MemoryContext work_context;
static ErrorContextCallback error_context;

static void add_context(void *arg);

/* Fills in what the server calls the process, and where it begins. */
void
evsched_process_describe(BackgroundWorker *worker, const char *name, const char *function)
{
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, EVSCHED_NAME, BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
}

/* To be called before the process connects to a database. */
void
evsched_process_start(const char *name)
{
	process_name = name;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);

	error_context.callback = add_context;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	work_context = AllocSetContextCreate(TopMemoryContext, "evsched work",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(TopMemoryContext);
}

/* Begins a transaction. */
void
evsched_process_begin(void)
{
	MemoryContextReset(work_context);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(work_context);
}

/* Commits it, and lets autovacuum know what was done. */
void
evsched_process_end(void)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_stat(false);
}

/* After an error that the process survives. */
void
evsched_process_abort(void)
{
	AbortCurrentTransaction();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* Between two pieces of work. */
void
evsched_process_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

static void
add_context(void *arg)
{
	errcontext("%s (database %u)", process_name, MyDatabaseId);
}

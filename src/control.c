/*
 * control.c
 *		Stopping and starting, a database or a queue: start, stop, force_stop,
 *		pause_queue, resume_queue.
 *
 * Runs in any session.  The first three are carried out by the scheduler
 * (command.c), at once; the session waits until that is done.  A queue is paused
 * in the caller's transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "database.h"
#include "guc.h"
#include "lease.h"
#include "right.h"
#include "shared.h"
#include "staff.h"
#include "statement.h"
#include "store.h"
#include "wait.h"

/* How long a session waits for a scheduler that is being started. */
#define ANSWER_TIMEOUT_MS	10000

/* How long force_stop waits for the jobs that it has ended. */
#define FORCE_TIMEOUT_MS	5000

/* How often it looks whether what it waits for has come. */
#define LOOK_PAUSE_MS		5

/* What the scheduler was asked. */
typedef struct Question
{
	int			database;		/* slot */
	uint32		number;
} Question;

static int	begin_control(const char *function);
static void ask_scheduler(int database, bool stop);
static bool has_answered(void *question);
static bool nothing_runs(void *database);
static bool nobody_works(void *store);
static Datum pause_queue(FunctionCallInfo fcinfo, bool pause, const char *function);

PG_FUNCTION_INFO_V1(evsched_sql_start);
PG_FUNCTION_INFO_V1(evsched_sql_stop);
PG_FUNCTION_INFO_V1(evsched_sql_force_stop);
PG_FUNCTION_INFO_V1(evsched_sql_pause_queue);
PG_FUNCTION_INFO_V1(evsched_sql_resume_queue);

/* start() */
Datum
evsched_sql_start(PG_FUNCTION_ARGS)
{
	ask_scheduler(begin_control("start()"), false);
	PG_RETURN_VOID();
}

/* stop(drain) */
Datum
evsched_sql_stop(PG_FUNCTION_ARGS)
{
	int64		drain = PG_ARGISNULL(0) ? 30 * USECS_PER_SEC :
		evsched_arg_us(PG_GETARG_INTERVAL_P(0));
	int			database;

	if (drain < 0)
		evsched_arg_refuse("drain must not be negative",
						   "Give how long to wait for what is under way, or 0.");
	database = begin_control("stop()");
	ask_scheduler(database, true);
	PG_RETURN_BOOL(evsched_wait_until(nothing_runs, &database, LOOK_PAUSE_MS, drain));
}

/* force_stop() */
Datum
evsched_sql_force_stop(PG_FUNCTION_ARGS)
{
	int			database = begin_control("force_stop()");
	EvschedStore store = evsched_store_here();

	ask_scheduler(database, true);
	(void) evsched_wait_until(nobody_works, &store, LOOK_PAUSE_MS,
							  FORCE_TIMEOUT_MS * INT64CONST(1000));
	PG_RETURN_BOOL(nothing_runs(&database));
}

/* pause_queue(queue) */
Datum
evsched_sql_pause_queue(PG_FUNCTION_ARGS)
{
	return pause_queue(fcinfo, true, "pause_queue()");
}

/* resume_queue(queue) */
Datum
evsched_sql_resume_queue(PG_FUNCTION_ARGS)
{
	return pause_queue(fcinfo, false, "resume_queue()");
}

/* Who may, and where: the slot of this database. */
static int
begin_control(const char *function)
{
	char		command[64];
	int			database;

	snprintf(command, sizeof(command), "evsched.%s", function);
	PreventCommandDuringRecovery(command);
	evsched_right_require_control(function);
	evsched_shared_require();
	evsched_store_require_current();
	database = evsched_database_find(MyDatabaseId, true);
	if (!evsched_enabled || database == EVSCHED_NO_SLOT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database has no scheduler"),
				 errhint("evsched.check() says why.")));
	return database;
}

static void
ask_scheduler(int database, bool stop)
{
	Question	question = {database, evsched_database_ask(database, stop)};

	if (!evsched_wait_until(has_answered, &question, LOOK_PAUSE_MS,
							ANSWER_TIMEOUT_MS * INT64CONST(1000)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the scheduler of this database does not answer"),
				 errdetail("It will do what it was asked when it does."),
				 errhint("evsched.check() says why.")));
}

static bool
has_answered(void *question)
{
	Question   *asked = question;

	return evsched_database_is_done(asked->database, asked->number);
}

/* Is nothing delivered and unconfirmed? */
static bool
nothing_runs(void *database)
{
	return !evsched_lease_any(*(int *) database);
}

/* Ends what is run, until nothing is. */
static bool
nobody_works(void *store)
{
	return !evsched_staff_stop(*(EvschedStore *) store, 0, EVSCHED_STAFF_STOP_FORCED);
}

static Datum
pause_queue(FunctionCallInfo fcinfo, bool pause, const char *function)
{
	EvschedCaller caller;
	Datum		values[2];
	const char *queue = evsched_arg_named_queue(fcinfo, 0);
	bool		changed;

	PreventCommandIfReadOnly(pause ? "evsched.pause_queue()" : "evsched.resume_queue()");
	evsched_store_require_current();
	evsched_right_require_queue_control(queue, function);
	values[0] = CStringGetTextDatum(queue);
	values[1] = BoolGetDatum(pause);
	evsched_statement_begin(&caller);
	if (pause)
		evsched_statement_run(EVSCHED_STMT_QUEUE_ADD, values, NULL);
	changed = evsched_statement_run(EVSCHED_STMT_QUEUE_PAUSE, values, NULL) > 0;
	evsched_statement_end(&caller);
	PG_RETURN_BOOL(changed);
}

/*
 * job.c
 *		Posting jobs, events with a command: after, enqueue, next, work; size;
 *		and what is run when one fails: on_error.
 *
 * Runs in the session that posts, in its transaction.  Series of jobs are posted
 * by every.c.
 */
#include "postgres.h"

#include "job.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "lease.h"
#include "pool.h"
#include "right.h"
#include "role.h"
#include "shared.h"
#include "statement.h"

static Datum post_with_body(FunctionCallInfo fcinfo, const char *pool, const char *function);

PG_FUNCTION_INFO_V1(evsched_sql_after);
PG_FUNCTION_INFO_V1(evsched_sql_enqueue);
PG_FUNCTION_INFO_V1(evsched_sql_next);
PG_FUNCTION_INFO_V1(evsched_sql_work);
PG_FUNCTION_INFO_V1(evsched_sql_size);
PG_FUNCTION_INFO_V1(evsched_sql_on_error);

/*
 * after(delay, command, payload, pool, key, max_retries, on_conflict, retry_delay,
 *		run_timeout)
 */
Datum
evsched_sql_after(PG_FUNCTION_ARGS)
{
	EvschedEntry entry = {0};

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("delay must not be null", "Give an interval such as '5 min'.");
	entry.due_at = evsched_arg_due_after(PG_GETARG_INTERVAL_P(0), GetCurrentTimestamp());
	entry.command = evsched_job_command(fcinfo, 1, "command");
	entry.payload = (struct varlena *) evsched_arg_pointer(fcinfo, 2);
	entry.queue = evsched_job_pool(fcinfo, 3);
	evsched_job_options(fcinfo, 4, &entry);
	PG_RETURN_INT64(evsched_entry_post(&entry, "evsched.after()"));
}

/* enqueue(command, pool, payload, key, max_retries, on_conflict, retry_delay, run_timeout) */
Datum
evsched_sql_enqueue(PG_FUNCTION_ARGS)
{
	EvschedEntry entry = {.due_at = GetCurrentTimestamp()};

	entry.command = evsched_job_command(fcinfo, 0, "command");
	entry.queue = evsched_job_pool(fcinfo, 1);
	entry.payload = (struct varlena *) evsched_arg_pointer(fcinfo, 2);
	evsched_job_options(fcinfo, 3, &entry);
	PG_RETURN_INT64(evsched_entry_post(&entry, "evsched.enqueue()"));
}

/* next(op, body, payload, key, max_retries, on_conflict, retry_delay, run_timeout) */
Datum
evsched_sql_next(PG_FUNCTION_ARGS)
{
	return post_with_body(fcinfo, EVSCHED_POOL_PASSIVE, "evsched.next()");
}

/* work(op, body, ... as next ...) */
Datum
evsched_sql_work(PG_FUNCTION_ARGS)
{
	return post_with_body(fcinfo, EVSCHED_POOL_WORK, "evsched.work()");
}

/* size(queue) */
Datum
evsched_sql_size(PG_FUNCTION_ARGS)
{
	const char *queue = evsched_arg_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	bool		sees_all = evsched_right_may_consume(queue);
	TimestampTz now = GetCurrentTimestamp();
	EvschedTable table;
	int64		size = 0;

	evsched_table_open(&table);
	evsched_table_begin_due(&table, queue, EVSCHED_PLACE_FIRST);
	while (evsched_table_next_due(&table) && evsched_event_place(table.row).due_at <= now)
	{
		CHECK_FOR_INTERRUPTS();
		if ((sees_all || evsched_right_sees_row(table.row)) &&
			!evsched_event_is_paused(table.row) &&
			(!evsched_shared_ready() ||
			 evsched_lease_waits(table.store, evsched_event_id(table.row))))
			size++;
	}
	evsched_table_close(&table);
	PG_RETURN_INT64(size);
}

/* on_error(command) */
Datum
evsched_sql_on_error(PG_FUNCTION_ARGS)
{
	Datum		values[2] = {ObjectIdGetDatum(GetUserId())};
	EvschedCaller caller;

	PreventCommandIfReadOnly("evsched.on_error()");
	evsched_store_require_current();
	if (!PG_ARGISNULL(0))
		values[1] = PointerGetDatum(evsched_job_command(fcinfo, 0, "command"));
	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_HANDLER_REMOVE, values, NULL);
	if (!PG_ARGISNULL(0))
	{
		values[0] = Int32GetDatum(evsched_role_number(evsched_store_here(), caller.user));
		evsched_statement_run(EVSCHED_STMT_HANDLER_SET, values, NULL);
	}
	evsched_statement_end(&caller);
	PG_RETURN_VOID();
}

/* A command that is to be run; raises 22023 where there is none. */
text *
evsched_job_command(FunctionCallInfo fcinfo, int n, const char *argument)
{
	if (PG_ARGISNULL(n) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n)) == 0)
		evsched_arg_refuse(psprintf("%s must not be empty", argument), "Give an SQL command.");
	return PG_GETARG_TEXT_PP(n);
}

/* The pool of an argument; passive unless it names one. */
const char *
evsched_job_pool(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return evsched_pool_require(EVSCHED_POOL_PASSIVE);
	return evsched_pool_require(evsched_arg_queue(PG_GETARG_TEXT_PP(n)));
}

/* A worker logs in as the role whose job it runs; so the role must be allowed to. */
void
evsched_job_require_login(void)
{
	if (!evsched_right_may_log_in(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not log in, and so it can post no jobs",
						GetUserNameFromId(GetUserId(), true)),
				 errhint("Post as a role with LOGIN.")));
}

/* key, max_retries, on_conflict, retry_delay and run_timeout, from number `key` on. */
void
evsched_job_options(FunctionCallInfo fcinfo, int key, EvschedEntry *entry)
{
	evsched_job_require_login();
	entry->key = evsched_arg_key(PG_ARGISNULL(key) ? NULL : PG_GETARG_TEXT_PP(key));
	entry->has_max_retries = true;
	entry->max_retries = PG_ARGISNULL(key + 1) ? 0 :
		evsched_arg_max_retries(PG_GETARG_INT32(key + 1));
	entry->on_conflict = evsched_entry_on_conflict(PG_ARGISNULL(key + 2) ? NULL :
												   PG_GETARG_TEXT_PP(key + 2));
	entry->retry_delay = evsched_arg_interval(fcinfo, key + 3);
	evsched_arg_retry_delay(entry->retry_delay);
	entry->run_timeout = evsched_arg_interval(fcinfo, key + 4);
	if (entry->run_timeout != NULL)
		evsched_arg_positive_us(entry->run_timeout, "run_timeout");
}

/* A command whose result another one gets. */
static Datum
post_with_body(FunctionCallInfo fcinfo, const char *pool, const char *function)
{
	EvschedEntry entry = {.due_at = GetCurrentTimestamp()};

	entry.command = evsched_job_command(fcinfo, 0, "op");
	entry.body = evsched_job_command(fcinfo, 1, "body");
	entry.payload = (struct varlena *) evsched_arg_pointer(fcinfo, 2);
	entry.queue = evsched_pool_require(pool);
	evsched_job_options(fcinfo, 3, &entry);
	PG_RETURN_INT64(evsched_entry_post(&entry, function));
}

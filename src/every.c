/*
 * every.c
 *		Posting series of jobs: every, cron.
 *
 * Runs in the session that posts, in its transaction.  Series of messages are
 * posted by post.c.
 */
#include "postgres.h"

#include "fmgr.h"

#include "arg.h"
#include "job.h"
#include "series.h"

static Datum post_series(FunctionCallInfo fcinfo, EvschedTerms *terms, int rest,
						 const char *function);

PG_FUNCTION_INFO_V1(evsched_sql_every);
PG_FUNCTION_INFO_V1(evsched_sql_cron);

/*
 * every(period, command, payload, pool, key, max_retries, on_conflict, retry_delay,
 *		run_timeout, start_at, time_zone, missed, overlap)
 */
Datum
evsched_sql_every(PG_FUNCTION_ARGS)
{
	EvschedTerms terms = {
		.period = evsched_arg_interval(fcinfo, 0),
		.has_start = !PG_ARGISNULL(9),
		.ahead = true
	};

	if (terms.period == NULL)
		evsched_arg_refuse("period must not be null", "Give an interval such as '5 min'.");
	if (terms.has_start)
		terms.start_at = PG_GETARG_TIMESTAMPTZ(9);
	return post_series(fcinfo, &terms, 10, "evsched.every()");
}

/*
 * cron(schedule, command, payload, pool, key, max_retries, on_conflict, retry_delay,
 *		run_timeout, time_zone, missed, overlap)
 */
Datum
evsched_sql_cron(PG_FUNCTION_ARGS)
{
	EvschedTerms terms = {.schedule = (text *) evsched_arg_pointer(fcinfo, 0)};

	if (terms.schedule == NULL)
		evsched_arg_refuse("schedule must not be null",
						   "Give a cron schedule such as '0 9 * * mon-fri'.");
	terms.schedule = PG_GETARG_TEXT_PP(0);
	return post_series(fcinfo, &terms, 9, "evsched.cron()");
}

/* The second to ninth arguments, and from number `rest` on the last three. */
static Datum
post_series(FunctionCallInfo fcinfo, EvschedTerms *terms, int rest, const char *function)
{
	EvschedEntry entry = {0};

	entry.command = evsched_job_command(fcinfo, 1, "command");
	entry.payload = (struct varlena *) evsched_arg_pointer(fcinfo, 2);
	entry.queue = evsched_job_pool(fcinfo, 3);
	evsched_job_options(fcinfo, 4, &entry);
	terms->time_zone = PG_ARGISNULL(rest) ? NULL : PG_GETARG_TEXT_PP(rest);
	terms->missed = evsched_plan_missed(PG_ARGISNULL(rest + 1) ? NULL :
										PG_GETARG_TEXT_PP(rest + 1));
	terms->overlap = evsched_plan_overlap(PG_ARGISNULL(rest + 2) ? NULL :
										  PG_GETARG_TEXT_PP(rest + 2));
	PG_RETURN_INT64(evsched_series_post(&entry, terms, function));
}

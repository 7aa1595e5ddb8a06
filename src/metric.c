/*
 * metric.c
 *		Counters as text in the exposition format of Prometheus.
 *
 * Runs in any session.  All samples of a metric stand together, after its two
 * lines of comment.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "database.h"
#include "guc.h"
#include "shared.h"
#include "staff_view.h"
#include "stat_view.h"
#include "store.h"

typedef struct Metric
{
	const char *name;
	const char *help;
} Metric;

static const Metric count_metrics[EVSCHED_NUM_COUNTS] = {
	[EVSCHED_COUNT_POSTED] = {"evsched_events_posted_total",
	"Events posted, by function or plain INSERT, or redriven."},
	[EVSCHED_COUNT_DELIVERED] = {"evsched_events_delivered_total",
	"Events handed to listeners."},
	[EVSCHED_COUNT_TAKEN] = {"evsched_events_taken_total",
	"Events returned by take."},
	[EVSCHED_COUNT_RECEIVED] = {"evsched_events_received_total",
	"Events returned by receive."},
	[EVSCHED_COUNT_CONFIRMED] = {"evsched_events_confirmed_total",
	"Events confirmed."},
	[EVSCHED_COUNT_FAILED] = {"evsched_events_failed_total",
	"Deliveries that failed: lease run out, rejected, or holder gone; runs that failed."},
	[EVSCHED_COUNT_DEAD] = {"evsched_events_dead_total",
	"Events given up."},
	[EVSCHED_COUNT_CANCELLED] = {"evsched_events_cancelled_total",
	"Events cancelled, or removed by plain DELETE."},
	[EVSCHED_COUNT_SUCCEEDED] = {"evsched_runs_succeeded_total",
	"Runs of jobs that succeeded."},
	[EVSCHED_COUNT_LOST] = {"evsched_runs_lost_total",
	"Runs of jobs that the death of their worker or of the server cut off."},
};

static void put_queues(StringInfo out, EvschedStore store);
static void put_histogram(StringInfo out, const EvschedQueueStat *stat);
static void put_scheduler(StringInfo out, EvschedStore store);
static void put_workers(StringInfo out, EvschedStore store);
static void put_server(StringInfo out);
static void put_head(StringInfo out, const char *name, const char *type, const char *help);
static void put_count(StringInfo out, const char *name, const char *help, int64 count);
static void put_gauge(StringInfo out, const char *name, const char *help, int64 value);
static void put_of_queue(StringInfo out, const char *name, const char *queue, int64 value);
static void put_queue_label(StringInfo out, const char *queue);

PG_FUNCTION_INFO_V1(evsched_sql_metrics);

/* metrics() */
Datum
evsched_sql_metrics(PG_FUNCTION_ARGS)
{
	EvschedStore store;
	StringInfoData out;

	evsched_shared_require();
	store = evsched_store_here();
	initStringInfo(&out);
	put_queues(&out, store);
	put_scheduler(&out, store);
	put_workers(&out, store);
	put_server(&out);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* What there is for each queue. */
static void
put_queues(StringInfo out, EvschedStore store)
{
	EvschedQueueView *list;
	int			n = evsched_stat_view_queues(store, &list);

	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
	{
		put_head(out, count_metrics[c].name, "counter", count_metrics[c].help);
		for (int i = 0; i < n; i++)
			put_of_queue(out, count_metrics[c].name, list[i].stat.queue,
						 list[i].stat.counts[c]);
	}
	put_head(out, "evsched_listeners", "gauge", "Sessions that have joined.");
	for (int i = 0; i < n; i++)
		put_of_queue(out, "evsched_listeners", list[i].stat.queue, list[i].listeners);
	put_head(out, "evsched_events_unconfirmed", "gauge", "Events delivered and unconfirmed.");
	for (int i = 0; i < n; i++)
		put_of_queue(out, "evsched_events_unconfirmed", list[i].stat.queue,
					 list[i].unconfirmed);
	put_head(out, "evsched_delivery_lateness_seconds", "histogram",
			 "How long after their due times events were handed to listeners, or runs began.");
	for (int i = 0; i < n; i++)
		put_histogram(out, &list[i].stat);
}

/* Unlike ours, the buckets of Prometheus hold what is in those before them, too. */
static void
put_histogram(StringInfo out, const EvschedQueueStat *stat)
{
	const char *name = "evsched_delivery_lateness_seconds";
	int64		count = 0;

	for (int i = 0; i < EVSCHED_LATENESS_BUCKETS; i++)
	{
		count += stat->lateness.buckets[i];
		appendStringInfo(out, "%s_bucket{", name);
		put_queue_label(out, stat->queue);
		if (i < EVSCHED_LATENESS_BOUNDS)
			appendStringInfo(out, ",le=\"%g\"} ",
							 (double) evsched_lateness_bounds[i] / USECS_PER_SEC);
		else
			appendStringInfoString(out, ",le=\"+Inf\"} ");
		appendStringInfo(out, INT64_FORMAT "\n", count);
	}
	appendStringInfo(out, "%s_sum{", name);
	put_queue_label(out, stat->queue);
	appendStringInfo(out, "} %.6f\n", stat->lateness.sum / USECS_PER_SEC);
	appendStringInfo(out, "%s_count{", name);
	put_queue_label(out, stat->queue);
	appendStringInfo(out, "} " INT64_FORMAT "\n", count);
}

/* What there is of the database's scheduler. */
static void
put_scheduler(StringInfo out, EvschedStore store)
{
	const TimestampTz unix_epoch =
		(UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	EvschedSchedulerStat stat;

	put_gauge(out, "evsched_scheduler_up", "Whether the database's scheduler runs.",
			  evsched_database_scheduler_pid(MyDatabaseId) != 0);
	if (!evsched_stat_view_scheduler(store, &stat))
		return;
	put_gauge(out, "evsched_scheduler_start_time_seconds",
			  "When the scheduler was started, since the Unix epoch.",
			  (stat.started_at - unix_epoch) / USECS_PER_SEC);
	put_count(out, "evsched_scheduler_starts_total", "Starts of the scheduler.", stat.starts);
	put_count(out, "evsched_scheduler_turns_total", "Turns of the scheduler.", stat.turns);
	put_count(out, "evsched_scheduler_busy_turns_total",
			  "Turns that handed out something.", stat.busy_turns);
	put_count(out, "evsched_scheduler_wakeups_total",
			  "How often the scheduler has woken up.", stat.wakeups);
	put_count(out, "evsched_scheduler_delivered_total",
			  "Events handed to listeners, of all queues.", stat.delivered);
	put_count(out, "evsched_scheduler_notifications_total",
			  "Notifications sent to listeners.", stat.notifications);
	put_count(out, "evsched_clock_steps_total",
			  "How often the scheduler has seen the clock set.", stat.clock_steps);
}

/* How many of the database's workers are in each state. */
static void
put_workers(StringInfo out, EvschedStore store)
{
	EvschedStaff *staff;
	int			n = evsched_staff_view_list(store, &staff);
	int			count[EVSCHED_STAFF_STATES] = {0};

	for (int i = 0; i < n; i++)
		count[staff[i].state]++;
	put_head(out, "evsched_workers", "gauge", "Worker processes of the database.");
	for (int state = EVSCHED_STAFF_FREE + 1; state < EVSCHED_STAFF_STATES; state++)
		appendStringInfo(out, "evsched_workers{state=\"%s\"} %d\n",
						 evsched_staff_view_states[state], count[state]);
}

/* What all databases share. */
static void
put_server(StringInfo out)
{
	EvschedUsage usage = evsched_stat_view_usage();

	put_gauge(out, "evsched_leases", "Leases in use in the whole server.", usage.leases);
	put_gauge(out, "evsched_leases_max", "Leases there are: evsched.max_leases.",
			  evsched_max_leases);
	put_gauge(out, "evsched_queue_slots", "Places for queues in use in the whole server.",
			  usage.queue_slots);
	put_gauge(out, "evsched_queue_slots_max",
			  "Places for queues there are: evsched.max_queues.", evsched_max_queues);
	put_gauge(out, "evsched_worker_slots", "Worker processes of the whole server.",
			  usage.workers);
	put_gauge(out, "evsched_worker_slots_max",
			  "Worker processes there may be: evsched.max_workers.", evsched_max_workers);
}

static void
put_head(StringInfo out, const char *name, const char *type, const char *help)
{
	appendStringInfo(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
put_count(StringInfo out, const char *name, const char *help, int64 count)
{
	put_head(out, name, "counter", help);
	appendStringInfo(out, "%s " INT64_FORMAT "\n", name, count);
}

static void
put_gauge(StringInfo out, const char *name, const char *help, int64 value)
{
	put_head(out, name, "gauge", help);
	appendStringInfo(out, "%s " INT64_FORMAT "\n", name, value);
}

static void
put_of_queue(StringInfo out, const char *name, const char *queue, int64 value)
{
	appendStringInfo(out, "%s{", name);
	put_queue_label(out, queue);
	appendStringInfo(out, "} " INT64_FORMAT "\n", value);
}

/* A name may hold anything. */
static void
put_queue_label(StringInfo out, const char *queue)
{
	appendStringInfoString(out, "queue=\"");
	for (const char *c = queue; *c != '\0'; c++)
	{
		if (*c == '\n')
			appendStringInfoString(out, "\\n");
		else if (*c == '"' || *c == '\\')
			appendStringInfo(out, "\\%c", *c);
		else
			appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '"');
}

/*
 * stat_view.c
 *		Counters, as rows for the views of sql/stat.sql.
 *
 * Runs in any session; copies under the directory and lease locks, then lets go
 * of them.
 */
#include "postgres.h"

#include "stat_view.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "database.h"
#include "guc.h"
#include "queue.h"
#include "right.h"
#include "shared.h"
#include "staff.h"
#include "store.h"

/* What was not there from the beginning ends the row: nobody's view is to be dropped. */
#define FIRST_COUNT_OF_RUNS	EVSCHED_COUNT_SUCCEEDED

#define QUEUE_COLUMNS		(1 + EVSCHED_NUM_COUNTS + 2 + EVSCHED_LATENESS_COLUMNS + 1)
#define SCHEDULER_COLUMNS	(10 + EVSCHED_LATENESS_COLUMNS + 1)

static bool read_queue(int slot, EvschedStore store, EvschedQueueView *view);
static bool is_worth_showing(const EvschedQueueView *view);
static Datum interval_of(int64 us);

PG_FUNCTION_INFO_V1(evsched_sql_stat_queue);
PG_FUNCTION_INFO_V1(evsched_sql_stat_scheduler);

/* _stat_queue() */
Datum
evsched_sql_stat_queue(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedQueueView *list;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready())
		return (Datum) 0;
	n = evsched_stat_view_queues(evsched_store_here(), &list);
	for (int i = 0; i < n; i++)
	{
		Datum		values[QUEUE_COLUMNS];
		bool		nulls[QUEUE_COLUMNS] = {0};
		int			column = 0;

		values[column++] = CStringGetTextDatum(list[i].stat.queue);
		for (int c = 0; c < FIRST_COUNT_OF_RUNS; c++)
			values[column++] = Int64GetDatum(list[i].stat.counts[c]);
		values[column++] = Int32GetDatum(list[i].listeners);
		values[column++] = Int32GetDatum(list[i].unconfirmed);
		evsched_stat_view_put_lateness(&values[column], &nulls[column], &list[i].stat.lateness);
		column += EVSCHED_LATENESS_COLUMNS;
		values[column++] = TimestampTzGetDatum(list[i].stat.since);
		for (int c = FIRST_COUNT_OF_RUNS; c < EVSCHED_NUM_COUNTS; c++)
			values[column++] = Int64GetDatum(list[i].stat.counts[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _stat_scheduler(); one row, or none while there never was a scheduler */
Datum
evsched_sql_stat_scheduler(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedSchedulerStat stat;
	int			pid;

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready() ||
		!evsched_stat_view_scheduler(evsched_store_here(), &stat))
		return (Datum) 0;
	pid = evsched_database_scheduler_pid(MyDatabaseId);
	{
		Datum		values[SCHEDULER_COLUMNS] = {
			Int32GetDatum(pid), TimestampTzGetDatum(stat.started_at),
			Int64GetDatum(stat.starts), Int64GetDatum(stat.turns),
			Int64GetDatum(stat.busy_turns), Int64GetDatum(stat.wakeups),
			Int64GetDatum(stat.delivered), Int64GetDatum(stat.notifications),
			Int64GetDatum(stat.clock_steps), TimestampTzGetDatum(stat.last_clock_step_at)
		};
		bool		nulls[SCHEDULER_COLUMNS] = {pid == 0};

		nulls[9] = stat.last_clock_step_at == 0;
		evsched_stat_view_put_lateness(&values[10], &nulls[10], &stat.lateness);
		values[10 + EVSCHED_LATENESS_COLUMNS] = TimestampTzGetDatum(stat.since);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Copies what the caller may see into palloc'd memory; returns how many queues. */
int
evsched_stat_view_queues(EvschedStore store, EvschedQueueView **list)
{
	bool		sees_all = evsched_right_monitors();
	int			n = 0;
	int			max = 16;

	*list = palloc(sizeof(EvschedQueueView) * max);
	for (int slot = 0; slot < evsched_queue_slots(); slot++)
	{
		if (n == max)
		{
			max *= 2;
			*list = repalloc_huge(*list, sizeof(EvschedQueueView) * max);
		}
		if (read_queue(slot, store, &(*list)[n]) && is_worth_showing(&(*list)[n]) &&
			(sees_all || ((*list)[n].stat.queue[0] != '\0' &&
						  evsched_right_may_consume((*list)[n].stat.queue))))
			n++;
	}
	return n;
}

/* What the scheduler of this store has counted, for those who may see all queues. */
bool
evsched_stat_view_scheduler(EvschedStore store, EvschedSchedulerStat *stat)
{
	bool		found;

	if (!evsched_right_monitors())
		return false;
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	found = evsched_stat_scheduler(store, stat);
	LWLockRelease(evsched_directory_lock);
	return found;
}

EvschedUsage
evsched_stat_view_usage(void)
{
	EvschedUsage usage = {0};

	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int slot = 0; slot < evsched_queue_slots(); slot++)
	{
		EvschedQueue *queue = evsched_queue_get(slot);

		if (!OidIsValid(queue->store.database))
			continue;
		usage.leases += queue->num_leases;
		usage.queue_slots += slot < evsched_max_queues;
	}
	usage.workers = evsched_staff_count_all();
	LWLockRelease(evsched_lease_lock);
	LWLockRelease(evsched_directory_lock);
	return usage;
}

/* lateness_p50, lateness_p99, lateness_max, lateness_counts, lateness_bounds */
void
evsched_stat_view_put_lateness(Datum *values, bool *nulls, const EvschedLateness *lateness)
{
	Datum		counts[EVSCHED_LATENESS_BUCKETS];
	Datum		bounds[EVSCHED_LATENESS_BOUNDS];

	nulls[0] = nulls[1] = nulls[2] = evsched_lateness_count(lateness) == 0;
	values[0] = interval_of(evsched_lateness_quantile(lateness, 0.5));
	values[1] = interval_of(evsched_lateness_quantile(lateness, 0.99));
	values[2] = interval_of(lateness->max);
	for (int i = 0; i < EVSCHED_LATENESS_BUCKETS; i++)
		counts[i] = Int64GetDatum(lateness->buckets[i]);
	for (int i = 0; i < EVSCHED_LATENESS_BOUNDS; i++)
		bounds[i] = interval_of(evsched_lateness_bounds[i]);
	values[3] = PointerGetDatum(construct_array(counts, EVSCHED_LATENESS_BUCKETS, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[4] = PointerGetDatum(construct_array(bounds, EVSCHED_LATENESS_BOUNDS, INTERVALOID,
												sizeof(Interval), false, TYPALIGN_DOUBLE));
}

/* The counters in a slot, and its queue, unless that has not come back yet. */
static bool
read_queue(int slot, EvschedStore store, EvschedQueueView *view)
{
	EvschedQueue *queue = evsched_queue_get(slot);
	bool		found;

	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	found = evsched_stat_queue(slot, store, &view->stat);
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	if (found && evsched_store_equal(queue->store, store))
	{
		view->listeners = queue->num_listeners;
		view->unconfirmed = queue->num_leases;
	}
	else
		view->listeners = view->unconfirmed = 0;
	LWLockRelease(evsched_lease_lock);
	LWLockRelease(evsched_directory_lock);
	return found;
}

/* The slot that some queues share is there even when none does. */
static bool
is_worth_showing(const EvschedQueueView *view)
{
	bool		worth = view->stat.queue[0] != '\0' || view->listeners > 0 ||
		view->unconfirmed > 0;

	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
		worth |= view->stat.counts[c] != 0;
	return worth;
}

static Datum
interval_of(int64 us)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return IntervalPGetDatum(interval);
}

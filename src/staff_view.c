/*
 * staff_view.c
 *		The workers and what they run, for those who look, or end a run:
 *		_workers, stop_run.
 *
 * Runs in any session; copies under the lease lock, then lets go of it.
 */
#include "postgres.h"

#include "staff_view.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "right.h"
#include "shared.h"
#include "stat_view.h"
#include "store.h"

#define WORKER_COLUMNS	(14 + EVSCHED_LATENESS_COLUMNS)

const char *const evsched_staff_view_states[EVSCHED_STAFF_STATES] = {
	[EVSCHED_STAFF_STARTING] = "starting",
	[EVSCHED_STAFF_IDLE] = "idle",
	[EVSCHED_STAFF_BUSY] = "busy",
	[EVSCHED_STAFF_LEAVING] = "leaving"
};

static double busy_ms(const EvschedStaff *staff);

PG_FUNCTION_INFO_V1(evsched_sql_workers);
PG_FUNCTION_INFO_V1(evsched_sql_stop_run);
PG_FUNCTION_INFO_V1(evsched_sql_worker_id);

/* _workers() */
Datum
evsched_sql_workers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedStaff *staff;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready())
		return (Datum) 0;
	n = evsched_staff_view_list(evsched_store_here(), &staff);
	for (int i = 0; i < n; i++)
	{
		const EvschedTask *task = &staff[i].task;
		bool		busy = staff[i].state == EVSCHED_STAFF_BUSY;
		bool		runs = busy && !task->call;
		Datum		values[WORKER_COLUMNS] = {
			Int32GetDatum(task->number), Int32GetDatum(staff[i].pid),
			ObjectIdGetDatum(staff[i].role),
			CStringGetTextDatum(evsched_staff_view_states[staff[i].state]),
			CStringGetTextDatum(task->pool), Int64GetDatum(task->event_id),
			Int64GetDatum(task->recurring), Int64GetDatum(staff[i].run_id),
			Int32GetDatum(task->owner), TimestampTzGetDatum(staff[i].started_at),
			TimestampTzGetDatum(staff[i].hired_at), Int64GetDatum(staff[i].num_runs),
			Int64GetDatum(staff[i].num_failed), Float8GetDatum(busy_ms(&staff[i]))
		};
		bool		nulls[WORKER_COLUMNS] = {
			!busy, staff[i].pid == 0, false, false, !busy, !runs,
			!runs || task->recurring == 0, !runs || staff[i].run_id == 0, !runs,
			!runs || staff[i].run_id == 0
		};

		evsched_stat_view_put_lateness(&values[14], &nulls[14], &staff[i].lateness);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* stop_run(run_id) */
Datum
evsched_sql_stop_run(PG_FUNCTION_ARGS)
{
	EvschedStore store;
	EvschedStaff *staff;
	int64		run_id;
	int			n;

	/* What is below 0 is no run, but a call: that is its caller's. */
	if (PG_ARGISNULL(0) || PG_GETARG_INT64(0) <= 0 || !evsched_shared_ready())
		PG_RETURN_BOOL(false);
	run_id = PG_GETARG_INT64(0);
	store = evsched_store_here();
	n = evsched_staff_list(store, &staff);
	for (int i = 0; i < n; i++)
	{
		if (staff[i].state == EVSCHED_STAFF_BUSY && staff[i].run_id == run_id &&
			evsched_is_member(GetUserId(), staff[i].role))
			PG_RETURN_BOOL(evsched_staff_stop(store, run_id, EVSCHED_STAFF_STOP_RUN));
	}
	PG_RETURN_BOOL(false);
}

/* worker_id(); its task is handed to this process only when it has none */
Datum
evsched_sql_worker_id(PG_FUNCTION_ARGS)
{
	if (evsched_staff_mine() == EVSCHED_NO_SLOT)
		PG_RETURN_NULL();
	PG_RETURN_INT32(evsched_staff_get(evsched_staff_mine())->task.number);
}

/* Copies the workers of a store that the caller may see; returns how many. */
int
evsched_staff_view_list(EvschedStore store, EvschedStaff **list)
{
	bool		sees_all = evsched_right_monitors();
	int			num_staff = evsched_staff_list(store, list);
	int			n = 0;

	for (int i = 0; i < num_staff; i++)
	{
		if (sees_all || evsched_is_member(GetUserId(), (*list)[i].role))
			(*list)[n++] = (*list)[i];
	}
	return n;
}

/* How long it has had jobs, the one that it has now included. */
static double
busy_ms(const EvschedStaff *staff)
{
	int64		us = staff->busy;

	if (staff->state == EVSCHED_STAFF_BUSY)
		us += evsched_lease_clock() - staff->since;
	return us / 1000.0;
}

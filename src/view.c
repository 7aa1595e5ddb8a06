/*
 * view.c
 *		What stands in shared memory, as rows for the views of sql/view.sql.
 *
 * Runs in any session; copies under the lease lock, then lets go of it.  Each
 * role gets what it may see: these functions can be called without the views.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "lease.h"
#include "listener.h"
#include "queue.h"
#include "right.h"
#include "shared.h"
#include "store.h"

static bool sees_lease(const EvschedLease *lease);

PG_FUNCTION_INFO_V1(evsched_sql_leases);
PG_FUNCTION_INFO_V1(evsched_sql_listeners);
PG_FUNCTION_INFO_V1(evsched_sql_queues);

/* _leases() */
Datum
evsched_sql_leases(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {
		[EVSCHED_LEASE_LISTENER] = "listener",
		[EVSCHED_LEASE_FETCH] = "fetch",
		[EVSCHED_LEASE_PULL] = "receive",
		[EVSCHED_LEASE_JOB] = "job",
		[EVSCHED_LEASE_CALL] = "call"
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedLease *leases;
	EvschedListener *listeners;
	int			n;
	int			num_listeners;
	int64		clock = evsched_lease_clock();
	TimestampTz now = GetCurrentTimestamp();

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready())
		return (Datum) 0;
	n = evsched_lease_list(evsched_store_here(), &leases);
	num_listeners = evsched_listener_list(evsched_store_here(), &listeners);
	for (int i = 0; i < n; i++)
	{
		Datum		values[5] = {
			Int64GetDatum(leases[i].id), CStringGetTextDatum(kinds[leases[i].kind]),
			(Datum) 0, Int32GetDatum(leases[i].pid),
			TimestampTzGetDatum(leases[i].deadline == PG_INT64_MAX ? DT_NOEND :
								now + (leases[i].deadline - clock))
		};
		bool		nulls[5] = {false, false, true, leases[i].pid == 0, false};

		if (!sees_lease(&leases[i]))
			continue;
		for (int k = 0; k < num_listeners && nulls[2]; k++)
		{
			if (listeners[k].pid == leases[i].pid && listeners[k].queue == leases[i].queue &&
				leases[i].listener != EVSCHED_NO_SLOT)
			{
				values[2] = CStringGetTextDatum(listeners[k].terms.node);
				nulls[2] = false;
			}
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _listeners() */
Datum
evsched_sql_listeners(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedListener *list;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready())
		return (Datum) 0;
	n = evsched_listener_list(evsched_store_here(), &list);
	for (int i = 0; i < n; i++)
	{
		Datum		values[8] = {
			CStringGetTextDatum(list[i].terms.node), CStringGetTextDatum(list[i].queue_name),
			Int32GetDatum(list[i].pid), Int32GetDatum(list[i].max_events),
			Int32GetDatum(list[i].unconfirmed), TimestampTzGetDatum(list[i].joined_at),
			TimestampTzGetDatum(list[i].last_confirmed_at), ObjectIdGetDatum(list[i].role)
		};
		bool		nulls[8] = {0};

		if (!evsched_is_member(GetUserId(), list[i].role) &&
			!evsched_right_may_consume(list[i].queue_name))
			continue;
		nulls[6] = list[i].last_confirmed_at == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _queues() */
Datum
evsched_sql_queues(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedStore store;

	InitMaterializedSRF(fcinfo, 0);
	if (!evsched_shared_ready())
		return (Datum) 0;
	store = evsched_store_here();
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		EvschedQueue queue;
		int			num_crews;
		Datum		values[4];
		bool		nulls[4] = {0};

		LWLockAcquire(evsched_directory_lock, LW_SHARED);
		LWLockAcquire(evsched_lease_lock, LW_SHARED);
		queue = *evsched_queue_get(i);
		/* A slot that nobody has, has no ring. */
		num_crews = evsched_store_equal(queue.store, store) ? evsched_listener_count_crews(i) : 0;
		LWLockRelease(evsched_lease_lock);
		LWLockRelease(evsched_directory_lock);
		if (!evsched_store_equal(queue.store, store) || queue.name[0] == '\0' ||
			!evsched_right_may_consume(queue.name))
			continue;
		values[0] = CStringGetTextDatum(queue.name);
		values[1] = Int32GetDatum(queue.num_listeners - num_crews);
		values[2] = Int32GetDatum(queue.num_leases);
		values[3] = BoolGetDatum(queue.starving);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* The queues that share a slot are not told apart: there, only the owner. */
static bool
sees_lease(const EvschedLease *lease)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	if (!evsched_queue_copy_name(lease->queue, queue))
		return evsched_right_is_member(GetUserId(), lease->owner);
	return evsched_right_sees(GetUserId(), lease->owner, queue);
}

/*
 * check.c
 *		Is everything as it should be?
 *
 * Runs in any session.  What is asked stands in sql/check.sql; here is what only
 * the server's memory knows, and who may ask.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "crew.h"
#include "database.h"
#include "guc.h"
#include "lease.h"
#include "listener.h"
#include "pool.h"
#include "right.h"
#include "role.h"
#include "setting.h"
#include "shared.h"
#include "staff.h"
#include "stat_view.h"
#include "statement.h"
#include "store.h"

#define CHECK_COLUMNS	4
#define SERVER_COLUMNS	12
#define STAFFING_COLUMNS	4

static Interval *lease_age(EvschedStore store);
static int	free_process_slots(void);

PG_FUNCTION_INFO_V1(evsched_sql_check);
PG_FUNCTION_INFO_V1(evsched_sql_server);
PG_FUNCTION_INFO_V1(evsched_sql_staffing);
PG_FUNCTION_INFO_V1(evsched_sql_pools);
PG_FUNCTION_INFO_V1(evsched_sql_stalled);

/* check() */
Datum
evsched_sql_check(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedCaller caller;
	uint64		n;

	evsched_right_require_monitor("check()");
	InitMaterializedSRF(fcinfo, 0);
	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_CHECK, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[CHECK_COLUMNS];
		bool		nulls[CHECK_COLUMNS];

		for (int k = 0; k < CHECK_COLUMNS; k++)
			values[k] = evsched_statement_value(i, k + 1, &nulls[k]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	evsched_statement_end(&caller);
	return (Datum) 0;
}

/* _server() */
Datum
evsched_sql_server(PG_FUNCTION_ARGS)
{
	Datum		values[SERVER_COLUMNS] = {0};
	bool		nulls[SERVER_COLUMNS] = {0};
	bool		ready = evsched_shared_ready();
	EvschedUsage usage = {0};
	int			pid = 0;
	Interval   *age = NULL;
	TupleDesc	desc;

	evsched_right_require_monitor("_server()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (ready)
	{
		pid = evsched_database_scheduler_pid(MyDatabaseId);
		age = lease_age(evsched_store_here());
		usage = evsched_stat_view_usage();
	}
	values[0] = BoolGetDatum(ready);
	values[1] = BoolGetDatum(evsched_enabled);
	values[2] = BoolGetDatum(RecoveryInProgress());
	values[3] = CStringGetTextDatum(EVSCHED_VERSION);
	values[4] = BoolGetDatum(ready && evsched_launcher_is_short());
	values[5] = Int32GetDatum(pid);
	nulls[5] = pid == 0;
	values[6] = BoolGetDatum(evsched_setting_is_stopped());
	values[7] = CStringGetTextDatum(evsched_role_origin());
	values[8] = BoolGetDatum(evsched_fence);
	values[9] = Int32GetDatum(usage.leases);
	values[10] = Int32GetDatum(evsched_max_leases);
	values[11] = IntervalPGetDatum(age);
	nulls[11] = age == NULL;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* _staffing() */
Datum
evsched_sql_staffing(PG_FUNCTION_ARGS)
{
	Datum		values[STAFFING_COLUMNS] = {0};
	bool		nulls[STAFFING_COLUMNS] = {true, true, true, true};
	TupleDesc	desc;

	evsched_right_require_monitor("_staffing()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (evsched_shared_ready())
	{
		EvschedStaff *staff;

		values[0] = Int32GetDatum(evsched_max_workers);
		values[1] = Int32GetDatum(evsched_stat_view_usage().workers);
		values[2] = Int32GetDatum(evsched_staff_list(evsched_store_here(), &staff));
		values[3] = Int32GetDatum(free_process_slots());
		memset(nulls, false, sizeof(nulls));
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* _pools() */
Datum
evsched_sql_pools(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	evsched_right_require_monitor("_pools()");
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < evsched_pool_count(); i++)
	{
		const char *name = evsched_pool_name(i);
		Datum		values[2] = {
			CStringGetTextDatum(name), Int32GetDatum(evsched_pool_size(name))
		};
		bool		nulls[2] = {0};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* _stalled() */
Datum
evsched_sql_stalled(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedStore store = evsched_store_here();
	Oid		   *roles = palloc(sizeof(Oid) * evsched_max_listeners);
	int			n;

	evsched_right_require_monitor("_stalled()");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!evsched_shared_ready())
		return (Datum) 0;
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	n = evsched_crew_list_stalled(store, roles);
	LWLockRelease(evsched_lease_lock);
	for (int i = 0; i < n; i++)
	{
		Datum		value = ObjectIdGetDatum(roles[i]);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* How long the oldest event has been leased; NULL: none is. */
static Interval *
lease_age(EvschedStore store)
{
	EvschedLease *leases;
	Interval   *age;
	int64		granted_at = PG_INT64_MAX;
	int			n = evsched_lease_list(store, &leases);

	for (int i = 0; i < n; i++)
	{
		/* Whoever calls knows how long he is willing to wait. */
		if (leases[i].kind != EVSCHED_LEASE_CALL)
			granted_at = Min(granted_at, leases[i].granted_at);
	}
	if (granted_at == PG_INT64_MAX)
		return NULL;
	age = palloc0(sizeof(Interval));
	age->time = evsched_lease_clock() - granted_at;
	return age;
}

/*
 * How many of max_worker_processes nobody has.  Their places stand in front of those
 * of WAL senders; a place's latch has an owner as long as the place has one.
 */
static int
free_process_slots(void)
{
	int			end = MaxBackends - max_wal_senders;
	int			n = 0;

	for (int i = end - max_worker_processes; i < end; i++)
		n += ProcGlobal->allProcs[i].procLatch.owner_pid == 0;
	return n;
}

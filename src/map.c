/*
 * map.c
 *		An expression's value in every worker slot of a pool: map.
 *
 * Runs in the session that calls it, whose transaction stays open meanwhile: what
 * others wait for may be a lock of its own, so there is always a timeout.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
#include "utils/wait_event.h"

#include "arg.h"
#include "call.h"
#include "expression.h"
#include "job.h"
#include "lease.h"
#include "pool.h"
#include "setting.h"
#include "shared.h"
#include "store.h"

#define DEFAULT_TIMEOUT		(10 * USECS_PER_SEC)

static void require_served(const char *pool);
static void collect(shm_mq_handle **from, EvschedAnswer *answers, int n, int64 until);
static void put_answer(ReturnSetInfo *to, int number, const EvschedAnswer *answer);

PG_FUNCTION_INFO_V1(evsched_sql_map);

/* map(expr, pool, timeout) */
Datum
evsched_sql_map(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *pool;
	int64		timeout = PG_ARGISNULL(2) ? DEFAULT_TIMEOUT :
		evsched_arg_positive_us(PG_GETARG_INTERVAL_P(2), "timeout");
	EvschedAnswer *answers;
	shm_mq_handle **from;
	dsm_segment *segment;
	char	   *query;
	int			n;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("expr must not be null", "Give an SQL expression.");
	query = evsched_expression_query(PG_GETARG_TEXT_PP(0), "expr");
	PreventCommandDuringRecovery("evsched.map()");
	evsched_shared_require();
	pool = evsched_pool_require(PG_ARGISNULL(1) ? EVSCHED_POOL_WORK :
								evsched_arg_queue(PG_GETARG_TEXT_PP(1)));
	evsched_job_require_login();
	require_served(pool);

	n = evsched_pool_size(pool);
	answers = palloc0(sizeof(EvschedAnswer) * n);
	from = palloc(sizeof(shm_mq_handle *) * n);
	segment = evsched_call_begin(evsched_store_here(), pool, n, query, from);
	collect(from, answers, n, evsched_lease_clock() + timeout);
	dsm_detach(segment);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
		put_answer(rsinfo, i + 1, &answers[i]);
	return (Datum) 0;
}

/* Raises 55000 where no worker would come. */
static void
require_served(const char *pool)
{
	evsched_store_require_current();
	if (evsched_setting_is_halted(pool))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pool \"%s\" is stopped", pool),
				 errhint("evsched.start() or evsched.resume_queue() has it go on.")));
}

/* Waits until all have answered or cannot any more, or the time is over. */
static void
collect(shm_mq_handle **from, EvschedAnswer *answers, int n, int64 until)
{
	bool	   *settled = palloc0(sizeof(bool) * n);
	int			waiting = n;

	for (int i = 0; i < n; i++)
		answers[i].error = "no answer";
	for (;;)
	{
		int64		left = until - evsched_lease_clock();

		for (int i = 0; i < n; i++)
		{
			if (settled[i] || evsched_call_receive(from[i], &answers[i]) == EVSCHED_CALL_WAITS)
				continue;
			settled[i] = true;
			waiting--;
		}
		if (waiting == 0 || left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left / 1000 + 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
put_answer(ReturnSetInfo *to, int number, const EvschedAnswer *answer)
{
	Datum		values[3] = {Int32GetDatum(number), PointerGetDatum(answer->result)};
	bool		nulls[3] = {false, answer->result == NULL, answer->error == NULL};

	if (answer->error != NULL)
		values[2] = CStringGetTextDatum(answer->error);
	tuplestore_putvalues(to->setResult, to->setDesc, values, nulls);
}

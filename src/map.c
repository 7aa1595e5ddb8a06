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

/* So long a session sleeps at most, for a latch takes no more than an int of ms; µs. */
#define LONGEST_SLEEP		USECS_PER_HOUR

/* What is under way. */
typedef struct Map
{
	const char *pool;
	int			n;				/* slots of the pool */
	dsm_segment *segment;
	shm_mq_handle **from;
	EvschedAnswer *answers;
} Map;

static void require_served(const char *pool);
static void collect(Map *map, int64 until);
static bool take_answer(Map *map, int i);
static void put_answer(ReturnSetInfo *to, int number, const EvschedAnswer *answer);

PG_FUNCTION_INFO_V1(evsched_sql_map);

/* map(expr, pool, timeout) */
Datum
evsched_sql_map(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Map			map;
	int64		timeout = PG_ARGISNULL(2) ? DEFAULT_TIMEOUT :
		evsched_arg_positive_us(PG_GETARG_INTERVAL_P(2), "timeout");
	char	   *query;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("expr must not be null", "Give an SQL expression.");
	query = evsched_expression_query(PG_GETARG_TEXT_PP(0), "expr");
	PreventCommandDuringRecovery("evsched.map()");
	evsched_shared_require();
	map.pool = evsched_pool_require(PG_ARGISNULL(1) ? EVSCHED_POOL_WORK :
									evsched_arg_queue(PG_GETARG_TEXT_PP(1)));
	evsched_job_require_login();
	require_served(map.pool);

	map.n = evsched_pool_size(map.pool);
	map.answers = palloc0(sizeof(EvschedAnswer) * map.n);
	map.from = palloc(sizeof(shm_mq_handle *) * map.n);
	map.segment = evsched_call_begin(evsched_store_here(), map.pool, map.n, query, map.from);
	collect(&map, evsched_lease_clock() + timeout);
	dsm_detach(map.segment);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < map.n; i++)
		put_answer(rsinfo, i + 1, &map.answers[i]);
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
				 errmsg("%s", evsched_call_halted(pool)),
				 errhint("evsched.start() or evsched.resume_queue() has it go on.")));
}

/* Waits until all have answered or cannot any more, or the time is over. */
static void
collect(Map *map, int64 until)
{
	bool	   *settled = palloc0(sizeof(bool) * map->n);
	int			waiting = map->n;

	for (int i = 0; i < map->n; i++)
		map->answers[i].error = "no answer";
	for (;;)
	{
		int64		left = until - evsched_lease_clock();

		for (int i = 0; i < map->n; i++)
		{
			if (settled[i] || !take_answer(map, i))
				continue;
			settled[i] = true;
			waiting--;
		}
		if (waiting == 0 || left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, LONGEST_SLEEP) / 1000 + 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* False: it may still come. */
static bool
take_answer(Map *map, int i)
{
	EvschedCallState state = evsched_call_receive(map->segment, i + 1, map->from[i],
												  &map->answers[i]);

	if (state == EVSCHED_CALL_ENDED && evsched_setting_is_halted(map->pool))
		map->answers[i].error = evsched_call_halted(map->pool);
	return state != EVSCHED_CALL_WAITS;
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

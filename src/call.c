/*
 * call.c
 *		What map asks of the worker slots of a pool.
 *
 * The session makes a segment of dynamic shared memory, with the query and a message
 * queue for each slot, and enters a call for each: a lease without an event, among the
 * jobs of its role's crew, whose id tells the segment.  A worker runs it in a
 * transaction of its own, outside of any other, and sends what came of it.  When the
 * session lets the segment go, however it ends, what is left of its calls is taken back.
 * Whoever else ends a call wakes the session (lease.c).
 *
 * Locks: the lease lock, for some instructions.
 */
#include "postgres.h"

#include "call.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "storage/shm_toc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "crew.h"
#include "guc.h"
#include "lease.h"
#include "listener.h"
#include "process.h"
#include "queue.h"
#include "script.h"
#include "setting.h"
#include "shared.h"
#include "stop.h"

#define MAGIC			0x65767363
#define QUEUE_BYTES		(16 * 1024)

/* What stands in a segment: queues have the numbers of their slots, from 1 on. */
#define KEY_CALL		0

/* An answer's first byte. */
#define ANSWER_RESULT	'r'
#define ANSWER_NULL		'n'
#define ANSWER_ERROR	'e'

/* Slots of a pool are fewer than that. */
#define NUMBER_BITS		16

typedef struct Call
{
	EvschedStore store;
	int			n;
	bool		over;			/* set before the lease lock is taken to stop what is run */
	char		query[FLEXIBLE_ARRAY_MEMBER];
} Call;

static dsm_segment *make_segment(EvschedStore store, int n, const char *query,
								 shm_mq_handle **answers);
static void submit(EvschedStore store, const char *pool, int n, dsm_handle handle);
static bool enter(EvschedStore store, int queue, const char *pool, int n, dsm_handle handle);
static Call *call_in(dsm_segment *segment);
static void withdraw(dsm_segment *segment, Datum arg);
static int64 id_of(dsm_handle handle, int number);
static void tell_begin(const EvschedTask *task);
static void tell_end(const EvschedTask *task);
static void evaluate(const char *pool, const char *query, EvschedAnswer *answer);
static void require_served(const char *pool);
static void send_answer(shm_mq_handle *to, const EvschedAnswer *answer);

/*
 * Asks every slot of a pool, from 1 to n, for the value of a query, as current_user.
 * To be detached when no more answers are wanted.  Raises 53400 where there is no room.
 */
dsm_segment *
evsched_call_begin(EvschedStore store, const char *pool, int n, const char *query,
				   shm_mq_handle **answers)
{
	dsm_segment *segment = make_segment(store, n, query, answers);

	on_dsm_detach(segment, withdraw, (Datum) 0);
	submit(store, pool, n, dsm_segment_handle(segment));
	return segment;
}

/* Takes an answer that has come, of a slot of the pool; does not wait. */
EvschedCallState
evsched_call_receive(dsm_segment *segment, int number, shm_mq_handle *from,
					 EvschedAnswer *answer)
{
	Size		size;
	void	   *data;
	const char *message;

	switch (shm_mq_receive(from, &size, &data, true))
	{
		case SHM_MQ_WOULD_BLOCK:
			/* Whoever runs it is the sender before the lease ends. */
			return evsched_lease_exists(call_in(segment)->store,
										id_of(dsm_segment_handle(segment), number)) ||
				shm_mq_get_sender(shm_mq_get_queue(from)) != NULL ?
				EVSCHED_CALL_WAITS : EVSCHED_CALL_ENDED;
		case SHM_MQ_DETACHED:
			return EVSCHED_CALL_GONE;
		case SHM_MQ_SUCCESS:
			break;
	}
	message = data;
	*answer = (EvschedAnswer) {0};
	if (*message == ANSWER_ERROR)
		answer->error = pnstrdup(message + 1, size - 1);
	else if (*message == ANSWER_RESULT)
	{
		/* What is in the queue need not be aligned. */
		answer->result = palloc(size - 1);
		memcpy(answer->result, message + 1, size - 1);
	}
	return EVSCHED_CALL_ANSWERED;
}

/* What is said where a pool is stopped; in the caller's memory. */
const char *
evsched_call_halted(const char *pool)
{
	return psprintf("pool \"%s\" is stopped", pool);
}

/* Runs a call that was handed to this process; false: it has not succeeded. */
bool
evsched_call_run(const EvschedTask *task)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "evsched call",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	EvschedAnswer answer = {0};
	shm_mq_handle *to = NULL;
	shm_toc    *contents = NULL;
	dsm_segment *segment;

	EVSCHED_STOP("call handed");
	tell_begin(task);
	segment = dsm_attach((dsm_handle) (-task->event_id >> NUMBER_BITS));
	if (segment != NULL)
		contents = shm_toc_attach(MAGIC, dsm_segment_address(segment));
	if (contents != NULL)
	{
		Call	   *call = shm_toc_lookup(contents, KEY_CALL, false);
		shm_mq	   *queue = shm_toc_lookup(contents, task->number, false);

		shm_mq_set_sender(queue, MyProc);
		/* If this process ends now, whoever waits for it is told. */
		to = shm_mq_attach(queue, segment, NULL);
		/* Who lets the segment go may not have seen that this has begun. */
		if (!call->over)
			evaluate(task->pool, call->query, &answer);
	}
	evsched_staff_set_cancellable(false);
	disable_all_timeouts(false);
	QueryCancelPending = false;
	if (to != NULL)
		send_answer(to, &answer);
	if (segment != NULL)
		dsm_detach(segment);
	tell_end(task);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
	return to != NULL && answer.error == NULL;
}

static dsm_segment *
make_segment(EvschedStore store, int n, const char *query, shm_mq_handle **answers)
{
	Size		call_size = offsetof(Call, query) + strlen(query) + 1;
	shm_toc_estimator estimator;
	dsm_segment *segment;
	shm_toc    *contents;
	Call	   *call;

	shm_toc_initialize_estimator(&estimator);
	shm_toc_estimate_chunk(&estimator, call_size);
	for (int number = 1; number <= n; number++)
		shm_toc_estimate_chunk(&estimator, QUEUE_BYTES);
	shm_toc_estimate_keys(&estimator, n + 1);
	segment = dsm_create(shm_toc_estimate(&estimator), 0);
	contents = shm_toc_create(MAGIC, dsm_segment_address(segment), shm_toc_estimate(&estimator));

	call = shm_toc_allocate(contents, call_size);
	call->store = store;
	call->n = n;
	call->over = false;
	strcpy(call->query, query);
	shm_toc_insert(contents, KEY_CALL, call);
	for (int number = 1; number <= n; number++)
	{
		shm_mq	   *queue = shm_mq_create(shm_toc_allocate(contents, QUEUE_BYTES), QUEUE_BYTES);

		shm_mq_set_receiver(queue, MyProc);
		answers[number - 1] = shm_mq_attach(queue, segment, NULL);
		shm_toc_insert(contents, number, queue);
	}
	return segment;
}

static void
submit(EvschedStore store, const char *pool, int n, dsm_handle handle)
{
	EvschedQueueRef queue;
	bool		entered;

	/* The slot may be given to another queue before it is locked. */
	for (;;)
	{
		queue = evsched_queue_find(store, pool);
		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		if (queue.slot == EVSCHED_NO_SLOT ||
			evsched_queue_get(queue.slot)->generation == queue.generation)
			break;
		LWLockRelease(evsched_lease_lock);
	}
	entered = queue.slot != EVSCHED_NO_SLOT && enter(store, queue.slot, pool, n, handle);
	LWLockRelease(evsched_lease_lock);
	if (!entered)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("there is no room for the calls of evsched.map()"),
				 errhint("Raise evsched.max_leases or evsched.max_listeners.")));
}

/* All of them, or false: then those that were entered are to be taken back. */
static bool
enter(EvschedStore store, int queue, const char *pool, int n, dsm_handle handle)
{
	int			crew = evsched_crew_find(store, queue, pool, GetUserId());

	for (int number = 1; crew != EVSCHED_NO_SLOT && number <= n; number++)
	{
		EvschedLease call = {
			.store = store,
			.id = id_of(handle, number),
			.due_at = DT_NOEND,
			.deadline = PG_INT64_MAX,
			.queue = queue,
			.listener = crew,
			.granted_at = evsched_lease_clock(),
			.kind = EVSCHED_LEASE_CALL,
			.number = number,
			.procno = EVSCHED_MY_PROCNO
		};
		EvschedLease *granted = evsched_lease_grant(&call);

		if (granted == NULL)
			return false;
		evsched_crew_enqueue(granted);
	}
	return crew != EVSCHED_NO_SLOT;
}

static Call *
call_in(dsm_segment *segment)
{
	return shm_toc_lookup(shm_toc_attach(MAGIC, dsm_segment_address(segment)),
						  KEY_CALL, false);
}

/* The segment goes: so do calls that wait, and those that are run are to end. */
static void
withdraw(dsm_segment *segment, Datum arg)
{
	Call	   *call = call_in(segment);

	call->over = true;
	for (int number = 1; number <= call->n; number++)
	{
		int64		id = id_of(dsm_segment_handle(segment), number);
		EvschedLease *lease;

		LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
		lease = evsched_lease_find(call->store, id);
		if (lease != NULL && lease->queued)
			evsched_lease_end(lease);
		LWLockRelease(evsched_lease_lock);
		(void) evsched_staff_stop(call->store, id, EVSCHED_STAFF_STOP_RUN);
	}
}

/* Less than 0: no event's. */
static int64
id_of(dsm_handle handle, int number)
{
	return -(((int64) handle << NUMBER_BITS) + number);
}

/* From now on it may be stopped. */
static void
tell_begin(const EvschedTask *task)
{
	EvschedStaff *staff = evsched_staff_get(evsched_staff_mine());
	EvschedListener *crew = evsched_listener_get(task->crew);

	evsched_staff_set_cancellable(true);
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	staff->run_id = task->event_id;
	/* A worker has come up. */
	if (crew->crew && crew->role == staff->role)
		crew->failures = 0;
	LWLockRelease(evsched_lease_lock);
}

static void
tell_end(const EvschedTask *task)
{
	EvschedLease *lease;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	lease = evsched_lease_find(evsched_staff_get(evsched_staff_mine())->store, task->event_id);
	if (lease != NULL && lease->serial == task->serial)
		evsched_lease_end(lease);
	LWLockRelease(evsched_lease_lock);
}

/* In a transaction of its own. */
static void
evaluate(const char *pool, const char *query, EvschedAnswer *answer)
{
	MemoryContext context = CurrentMemoryContext;
	EvschedScript script = {.sql = pstrdup(query), .context = context};

	pgstat_report_activity(STATE_RUNNING, query);
	debug_query_string = script.sql;
	PG_TRY();
	{
		if (StatementTimeout > 0)
			enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
		evsched_process_begin();
		require_served(pool);
		MemoryContextSwitchTo(context);
		evsched_script_parse(&script);
		evsched_script_run(&script);
		evsched_process_end();
		answer->result = script.result;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		answer->error = CopyErrorData()->message;
		FlushErrorState();
		evsched_process_abort();
		PortalErrorCleanup();
	}
	PG_END_TRY();
	debug_query_string = NULL;
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(context);
}

/* Once somebody has stopped the pool, nothing of it begins. */
static void
require_served(const char *pool)
{
	if (evsched_setting_is_halted(pool))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", evsched_call_halted(pool))));
}

/* Ends when all of it is sent, or nobody wants it any more. */
static void
send_answer(shm_mq_handle *to, const EvschedAnswer *answer)
{
	bool		is_null = answer->result == NULL ||
		(JB_ROOT_IS_SCALAR(answer->result) &&
		 getIthJsonbValueFromContainer(&answer->result->root, 0)->type == jbvNull);
	char		kind = answer->error != NULL ? ANSWER_ERROR : is_null ? ANSWER_NULL : ANSWER_RESULT;
	shm_mq_iovec parts[2] = {{&kind, 1}, {NULL, 0}};

	if (kind == ANSWER_ERROR)
		parts[1] = (shm_mq_iovec) {answer->error, strlen(answer->error)};
	else if (kind == ANSWER_RESULT)
		parts[1] = (shm_mq_iovec) {(char *) answer->result, VARSIZE(answer->result)};
	(void) shm_mq_sendv(to, parts, kind == ANSWER_NULL ? 1 : 2, false, true);
}

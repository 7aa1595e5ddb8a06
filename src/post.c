/*
 * post.c
 *		Posting events: post, post_at, post_many.
 *
 * Runs in the session that posts, in its transaction.  An event without a key
 * is inserted directly and waits for nobody; one with a key goes through SQL
 * and waits for an open transaction on that very key.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "arg.h"
#include "effect.h"
#include "lease.h"
#include "right.h"
#include "role.h"
#include "shared.h"
#include "statement.h"
#include "stop.h"
#include "table.h"

/* How many rows of post_many are put into the table at a time. */
#define PAGE_ROWS		1000

typedef enum OnConflict
{
	ON_CONFLICT_REPLACE,
	ON_CONFLICT_KEEP,
	ON_CONFLICT_ERROR
} OnConflict;

static const char *const on_conflict_words[] = {"replace", "keep", "error"};

/* An event to be. */
typedef struct Post
{
	const char *queue;
	TimestampTz due_at;
	Datum		payload;
	text	   *key;			/* may be NULL */
	bool		has_max_retries;
	int32		max_retries;
	Interval   *retry_delay;	/* may be NULL */
	OnConflict	on_conflict;
	int32		owner;
} Post;

/* Events to be that differ in payload, time and key. */
typedef struct Batch
{
	int			n;
	Datum	   *payloads;
	TimestampTz *due_at;
	Datum	   *keys;			/* NULL: no event has one */
	bool	   *key_nulls;
	int64	   *ids;			/* given to them */
} Batch;

/* The event that holds a key. */
typedef struct Holder
{
	bool		exists;
	int32		owner;			/* 0: none */
	EvschedPlace place;
} Holder;

static Datum post_one(FunctionCallInfo fcinfo, TimestampTz due_at);
static void read_options(FunctionCallInfo fcinfo, int queue, Post *post);
static void open_for_post(EvschedTable *table, Post *post, const char *command);
static void warn_unless_loaded(void);
static void make_row(const Post *post, int64 id, Datum *values, bool *nulls);
static int64 insert_event(EvschedTable *table, const Post *post);
static int64 insert_with_key(EvschedTable *table, const Post *post);
static void refuse_key(const Post *post);
static Holder lock_holder(EvschedTable *table, const Post *post);
static bool try_insert(const Post *post, int64 id);
static void replace_holder(const Post *post, int64 id);
static void read_batch(FunctionCallInfo fcinfo, Batch *batch);
static void insert_keyed(EvschedTable *table, Post *post, Batch *batch);
static void insert_pages(EvschedTable *table, Post *post, Batch *batch);

PG_FUNCTION_INFO_V1(evsched_sql_post);
PG_FUNCTION_INFO_V1(evsched_sql_post_at);
PG_FUNCTION_INFO_V1(evsched_sql_post_many);

/* post(payload, delay, queue, key, max_retries, on_conflict, retry_delay) */
Datum
evsched_sql_post(PG_FUNCTION_ARGS)
{
	return post_one(fcinfo, evsched_arg_due_after(evsched_arg_interval(fcinfo, 1),
												  GetCurrentTimestamp()));
}

/* post_at(payload, due_at, queue, key, max_retries, on_conflict, retry_delay) */
Datum
evsched_sql_post_at(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		evsched_arg_refuse("due_at must not be null",
						   "Give a time, 'infinity' to wait until rescheduled, or use post.");
	return post_one(fcinfo, PG_GETARG_TIMESTAMPTZ(1));
}

/* post_many(payloads, delays, queue, keys, max_retries, on_conflict, retry_delay) */
Datum
evsched_sql_post_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedTable table;
	Post		post = {0};
	Batch		batch;

	read_batch(fcinfo, &batch);
	read_options(fcinfo, 2, &post);
	open_for_post(&table, &post, "evsched.post_many()");
	if (batch.keys == NULL)
		insert_pages(&table, &post, &batch);
	else
		insert_keyed(&table, &post, &batch);
	evsched_table_close(&table);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < batch.n; i++)
	{
		Datum		value = Int64GetDatum(batch.ids[i]);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* post and post_at differ in their second argument only. */
static Datum
post_one(FunctionCallInfo fcinfo, TimestampTz due_at)
{
	EvschedTable table;
	Post		post = {0};
	int64		id;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("payload must not be null",
						   "Give a jsonb value; JSON null, written 'null', is one.");
	post.payload = PG_GETARG_DATUM(0);
	post.due_at = due_at;
	post.key = evsched_arg_key(PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3));
	read_options(fcinfo, 2, &post);

	open_for_post(&table, &post, "evsched.post()");
	id = insert_event(&table, &post);
	evsched_table_close(&table);
	EVSCHED_STOP("post inserted");
	PG_RETURN_INT64(id);
}

/* The arrays of post_many: payloads, delays and keys. */
static void
read_batch(FunctionCallInfo fcinfo, Batch *batch)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum	   *delays = NULL;
	bool	   *nulls;
	int			num_delays = 0;

	memset(batch, 0, sizeof(*batch));
	batch->n = evsched_arg_array((ArrayType *) (PG_ARGISNULL(0) ? NULL : PG_GETARG_ARRAYTYPE_P(0)),
								 "payloads", JSONBOID, &batch->payloads, &nulls);
	evsched_arg_no_null(nulls, batch->n, "payloads");
	if (!PG_ARGISNULL(1))
	{
		num_delays = evsched_arg_array(PG_GETARG_ARRAYTYPE_P(1), "delays", INTERVALOID,
									   &delays, &nulls);
		if (num_delays != 1 && num_delays != batch->n)
			evsched_arg_refuse("payloads and delays have unequal lengths",
							   "Give one delay for all, or one for each payload.");
	}
	if (!PG_ARGISNULL(3) &&
		evsched_arg_array(PG_GETARG_ARRAYTYPE_P(3), "keys", TEXTOID,
						  &batch->keys, &batch->key_nulls) != batch->n)
		evsched_arg_refuse("payloads and keys have unequal lengths",
						   "Give one key for each payload; a key may be NULL.");

	batch->due_at = palloc(sizeof(TimestampTz) * Max(batch->n, 1));
	batch->ids = palloc(sizeof(int64) * Max(batch->n, 1));
	for (int i = 0; i < batch->n; i++)
	{
		int			d = num_delays == 1 ? 0 : i;

		batch->due_at[i] = now;
		if (num_delays > 0 && !nulls[d])
			batch->due_at[i] = evsched_arg_due_after(DatumGetIntervalP(delays[d]), now);
		if (batch->keys != NULL && !batch->key_nulls[i])
			evsched_arg_key(DatumGetTextPP(batch->keys[i]));
	}
}

/* queue, (key or keys), max_retries, on_conflict and retry_delay, from number `queue` on */
static void
read_options(FunctionCallInfo fcinfo, int queue, Post *post)
{
	post->queue = evsched_arg_queue(PG_ARGISNULL(queue) ? NULL : PG_GETARG_TEXT_PP(queue));
	post->has_max_retries = !PG_ARGISNULL(queue + 2);
	if (post->has_max_retries)
		post->max_retries = evsched_arg_max_retries(PG_GETARG_INT32(queue + 2));
	post->on_conflict = evsched_arg_word(PG_ARGISNULL(queue + 3) ? NULL : PG_GETARG_TEXT_PP(queue + 3),
										 "on_conflict", on_conflict_words,
										 lengthof(on_conflict_words));
	post->retry_delay = evsched_arg_interval(fcinfo, queue + 4);
	evsched_arg_retry_delay(post->retry_delay);
}

static void
open_for_post(EvschedTable *table, Post *post, const char *command)
{
	warn_unless_loaded();
	evsched_table_open_for_write(table, command);
	evsched_right_require(post->queue, EVSCHED_RIGHT_POST);
	post->owner = evsched_role_number(table->store, GetUserId());
}

/* The event is stored all the same: once for each session is enough. */
static void
warn_unless_loaded(void)
{
	static bool warned = false;

	if (warned || evsched_shared_ready())
		return;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("evsched is not loaded at server start; events are stored but not delivered"),
			 errhint("Add evsched to shared_preload_libraries and restart the server.")));
	warned = true;
}

static void
make_row(const Post *post, int64 id, Datum *values, bool *nulls)
{
	memset(values, 0, EVSCHED_EVENT_COLUMNS * sizeof(Datum));
	memset(nulls, true, EVSCHED_EVENT_COLUMNS * sizeof(bool));

#define SET(column, value) \
	(values[(column) - 1] = (value), nulls[(column) - 1] = false)
	SET(EVSCHED_EVENT_ID, Int64GetDatum(id));
	SET(EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(post->due_at));
	SET(EVSCHED_EVENT_NUM_RETRIES, Int32GetDatum(0));
	SET(EVSCHED_EVENT_OWNER, Int32GetDatum(post->owner));
	if (post->has_max_retries)
		SET(EVSCHED_EVENT_MAX_RETRIES, Int32GetDatum(post->max_retries));
	SET(EVSCHED_EVENT_QUEUE, CStringGetTextDatum(post->queue));
	SET(EVSCHED_EVENT_PAYLOAD, post->payload);
	if (post->key != NULL)
		SET(EVSCHED_EVENT_KEY, PointerGetDatum(post->key));
	if (post->retry_delay != NULL)
		SET(EVSCHED_EVENT_RETRY_DELAY, IntervalPGetDatum(post->retry_delay));
#undef SET
}

static int64
insert_event(EvschedTable *table, const Post *post)
{
	Datum		values[EVSCHED_EVENT_COLUMNS];
	bool		nulls[EVSCHED_EVENT_COLUMNS];
	int64		id;

	if (post->key != NULL)
		return insert_with_key(table, post);
	id = evsched_table_next_id(table);
	make_row(post, id, values, nulls);
	evsched_table_insert(table, values, nulls);
	evsched_effect_due(table->store, post->queue, (EvschedPlace) {post->due_at, id});
	evsched_effect_count(table->store, post->queue, EVSCHED_COUNT_POSTED, 1);
	return id;
}

/*
 * Whoever holds the key already, we learn by locking its row or by running into
 * its index entry; it may be gone again before we can lock it, hence the loop.
 * A delivered event cannot be replaced: it loses the key to a new one.
 */
static int64
insert_with_key(EvschedTable *table, const Post *post)
{
	EvschedCaller caller;
	int64		id = 0;

	evsched_statement_begin(&caller);
	for (;;)
	{
		Holder		holder;

		CHECK_FOR_INTERRUPTS();
		holder = lock_holder(table, post);
		if (holder.exists && !evsched_right_sees(caller.user, holder.owner, post->queue))
			refuse_key(post);
		if (holder.exists && post->on_conflict == ON_CONFLICT_ERROR)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("key \"%s\" exists in queue \"%s\"",
							text_to_cstring(post->key), post->queue),
					 errhint("Post with on_conflict 'replace' or 'keep', or cancel it first.")));
		if (holder.exists)
		{
			id = holder.place.id;
			if (post->on_conflict == ON_CONFLICT_KEEP)
				break;
			if (!evsched_shared_ready() || !evsched_lease_exists(table->store, id))
			{
				replace_holder(post, id);
				break;
			}
			evsched_statement_run(EVSCHED_STMT_KEY_DROP,
								  (Datum[]) {Int64GetDatum(id)}, NULL);
		}
		id = evsched_table_next_id(table);
		if (try_insert(post, id))
			break;
	}
	evsched_statement_end(&caller);
	return id;
}

/* It is somebody else's; no more is told of it. */
static void
refuse_key(const Post *post)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for key \"%s\" in queue \"%s\"",
					text_to_cstring(post->key), post->queue),
			 errhint("Post with another key.")));
}

/*
 * While the row is locked, a turn passes over it: the scheduler is to look
 * again when we are through, whichever way.
 */
static Holder
lock_holder(EvschedTable *table, const Post *post)
{
	Datum		values[2] = {CStringGetTextDatum(post->queue), PointerGetDatum(post->key)};
	Holder		holder = {0};
	bool		isnull;

	holder.exists = evsched_statement_run(EVSCHED_STMT_KEY_LOCK, values, NULL) > 0;
	if (!holder.exists)
		return holder;
	holder.place.id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	holder.owner = DatumGetInt32(evsched_statement_value(0, 2, &isnull));
	holder.place.due_at = DatumGetTimestampTz(evsched_statement_value(0, 3, &isnull));
	evsched_effect_due(table->store, post->queue, holder.place);
	evsched_effect_back(table->store, post->queue, holder.place);
	return holder;
}

/* False when another event has got the key. */
static bool
try_insert(const Post *post, int64 id)
{
	Datum		values[8] = {
		Int64GetDatum(id), TimestampTzGetDatum(post->due_at), Int32GetDatum(post->owner),
		Int32GetDatum(post->max_retries), CStringGetTextDatum(post->queue), post->payload,
		PointerGetDatum(post->key), IntervalPGetDatum(post->retry_delay)
	};
	char		nulls[] = "        ";

	if (!post->has_max_retries)
		nulls[3] = 'n';
	if (post->retry_delay == NULL)
		nulls[7] = 'n';
	return evsched_statement_run(EVSCHED_STMT_KEY_INSERT, values, nulls) == 1;
}

static void
replace_holder(const Post *post, int64 id)
{
	Datum		values[6] = {
		Int64GetDatum(id), TimestampTzGetDatum(post->due_at), Int32GetDatum(post->owner),
		Int32GetDatum(post->max_retries), post->payload, IntervalPGetDatum(post->retry_delay)
	};
	char		nulls[] = "      ";

	if (!post->has_max_retries)
		nulls[3] = 'n';
	if (post->retry_delay == NULL)
		nulls[5] = 'n';
	evsched_statement_run(EVSCHED_STMT_KEY_REPLACE, values, nulls);
}

/* Events with keys: one after the other. */
static void
insert_keyed(EvschedTable *table, Post *post, Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		post->key = batch->key_nulls[i] ? NULL : DatumGetTextPP(batch->keys[i]);
		post->payload = batch->payloads[i];
		post->due_at = batch->due_at[i];
		batch->ids[i] = insert_event(table, post);
	}
}

/* Events without keys: whole pages at a time. */
static void
insert_pages(EvschedTable *table, Post *post, Batch *batch)
{
	TupleTableSlot **rows = palloc(sizeof(TupleTableSlot *) * Min(Max(batch->n, 1), PAGE_ROWS));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "evsched post_many",
												  ALLOCSET_DEFAULT_SIZES);
	EvschedPlace first = EVSCHED_PLACE_LAST;

	for (int done = 0; done < batch->n; done += PAGE_ROWS)
	{
		int			size = Min(batch->n - done, PAGE_ROWS);
		MemoryContext old_context = MemoryContextSwitchTo(context);

		for (int i = 0; i < size; i++)
		{
			int			k = done + i;

			post->payload = batch->payloads[k];
			post->due_at = batch->due_at[k];
			batch->ids[k] = evsched_table_next_id(table);
			first = evsched_place_min(first, (EvschedPlace) {post->due_at, batch->ids[k]});
			rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(table->relation), &TTSOpsVirtual);
			make_row(post, batch->ids[k], rows[i]->tts_values, rows[i]->tts_isnull);
			ExecStoreVirtualTuple(rows[i]);
		}
		evsched_table_insert_many(table, rows, size);
		for (int i = 0; i < size; i++)
			ExecDropSingleTupleTableSlot(rows[i]);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	if (batch->n == 0)
		return;
	evsched_effect_due(table->store, post->queue, first);
	evsched_effect_count(table->store, post->queue, EVSCHED_COUNT_POSTED, batch->n);
}

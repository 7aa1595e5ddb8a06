/*
 * post.c
 *		Posting events: post, post_at, post_many.
 *
 * Runs in the session that posts, in its transaction.  An event without a key
 * is inserted directly and waits for nobody; one with a key goes through SQL
 * and waits for an open transaction on that very key.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "arg.h"
#include "effect.h"
#include "entry.h"
#include "pool.h"
#include "series.h"

/* How many rows of post_many are put into the table at a time. */
#define PAGE_ROWS		1000

/* What else stands in a notification: ids, a time and the names of the fields. */
#define MAX_FOR_ALL_BYTES	(EVSCHED_NOTIFY_BYTES - 300)

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

static const char *const deliver_words[] = {"one", "all"};

static Datum post_one(FunctionCallInfo fcinfo, TimestampTz due_at, bool says_when);
static void require_short(const EvschedEntry *entry);
static void read_options(FunctionCallInfo fcinfo, int queue, EvschedEntry *entry);
static void read_batch(FunctionCallInfo fcinfo, Batch *batch);
static void insert_keyed(EvschedTable *table, EvschedEntry *entry, Batch *batch);
static void insert_pages(EvschedTable *table, EvschedEntry *entry, Batch *batch);

PG_FUNCTION_INFO_V1(evsched_sql_post);
PG_FUNCTION_INFO_V1(evsched_sql_post_at);
PG_FUNCTION_INFO_V1(evsched_sql_post_many);

/*
 * post(payload, delay, queue, key, max_retries, on_conflict, retry_delay,
 *		every, cron, time_zone, deliver, missed)
 */
Datum
evsched_sql_post(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();

	return post_one(fcinfo, evsched_arg_due_after(evsched_arg_interval(fcinfo, 1), now),
					evsched_arg_interval(fcinfo, 1) != NULL);
}

/* post_at(payload, due_at, ... as post ...) */
Datum
evsched_sql_post_at(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		evsched_arg_refuse("due_at must not be null",
						   "Give a time, 'infinity' to wait until rescheduled, or use post.");
	return post_one(fcinfo, PG_GETARG_TIMESTAMPTZ(1), true);
}

/* post_many(payloads, delays, queue, keys, max_retries, on_conflict, retry_delay) */
Datum
evsched_sql_post_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedTable table;
	EvschedEntry entry = {0};
	Batch		batch;

	read_batch(fcinfo, &batch);
	read_options(fcinfo, 2, &entry);
	evsched_entry_open(&table, &entry, "evsched.post_many()");
	if (batch.keys == NULL)
		insert_pages(&table, &entry, &batch);
	else
		insert_keyed(&table, &entry, &batch);
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

/*
 * post and post_at differ in their second argument only.  Where that does not say when,
 * a series says so itself.
 */
static Datum
post_one(FunctionCallInfo fcinfo, TimestampTz due_at, bool says_when)
{
	EvschedEntry entry = {.due_at = due_at};
	EvschedTerms terms = {
		.period = evsched_arg_interval(fcinfo, 7),
		.schedule = (text *) evsched_arg_pointer(fcinfo, 8),
		.time_zone = (text *) evsched_arg_pointer(fcinfo, 9),
		.missed = evsched_plan_missed((text *) evsched_arg_pointer(fcinfo, 11)),
		.overlap = EVSCHED_OVERLAP_PARALLEL,
		.has_start = says_when,
		.start_at = due_at
	};

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("payload must not be null",
						   "Give a jsonb value; JSON null, written 'null', is one.");
	entry.payload = (struct varlena *) PG_GETARG_POINTER(0);
	entry.key = evsched_arg_key(PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3));
	read_options(fcinfo, 2, &entry);
	entry.for_all = evsched_arg_word((text *) evsched_arg_pointer(fcinfo, 10), "deliver",
									 deliver_words, lengthof(deliver_words)) == 1;
	if (entry.for_all && !(entry.has_max_retries && entry.max_retries == 0))
		evsched_arg_refuse("deliver 'all' needs max_retries 0",
						   "Nobody confirms for all; post with max_retries => 0.");
	if (entry.for_all)
		require_short(&entry);
	if (terms.period != NULL || terms.schedule != NULL)
		PG_RETURN_INT64(evsched_series_post(&entry, &terms, "evsched.post()"));
	if (terms.time_zone != NULL)
		evsched_arg_refuse("time_zone is for a series", "Give every or cron as well.");
	PG_RETURN_INT64(evsched_entry_post(&entry, "evsched.post()"));
}

/* What goes to all is never fetched: with all that stands beside it, it is in a notification. */
static void
require_short(const EvschedEntry *entry)
{
	Datum		payload = PointerGetDatum(entry->payload);
	StringInfoData text;

	initStringInfo(&text);
	escape_json(&text, entry->queue);
	if (entry->key != NULL)
		escape_json(&text, text_to_cstring(entry->key));
	/* What is that long need not be looked at as text. */
	if (toast_raw_datum_size(payload) <= 16 * MAX_FOR_ALL_BYTES)
		(void) JsonbToCString(&text, &DatumGetJsonbP(payload)->root, VARSIZE_ANY_EXHDR(payload));
	else
		text.len = PG_INT32_MAX;
	if (text.len > MAX_FOR_ALL_BYTES)
		evsched_arg_refuse("the payload is too long to go to all",
						   psprintf("As text, it has %d bytes at the most, with queue and key.",
									(int) MAX_FOR_ALL_BYTES));
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
read_options(FunctionCallInfo fcinfo, int queue, EvschedEntry *entry)
{
	entry->queue = evsched_arg_queue(PG_ARGISNULL(queue) ? NULL : PG_GETARG_TEXT_PP(queue));
	evsched_pool_refuse(entry->queue);
	entry->has_max_retries = !PG_ARGISNULL(queue + 2);
	if (entry->has_max_retries)
		entry->max_retries = evsched_arg_max_retries(PG_GETARG_INT32(queue + 2));
	entry->on_conflict = evsched_entry_on_conflict(PG_ARGISNULL(queue + 3) ? NULL : PG_GETARG_TEXT_PP(queue + 3));
	entry->retry_delay = evsched_arg_interval(fcinfo, queue + 4);
	evsched_arg_retry_delay(entry->retry_delay);
}

/* Events with keys: one after the other. */
static void
insert_keyed(EvschedTable *table, EvschedEntry *entry, Batch *batch)
{
	bool		kept;

	for (int i = 0; i < batch->n; i++)
	{
		entry->key = batch->key_nulls[i] ? NULL : DatumGetTextPP(batch->keys[i]);
		entry->payload = (struct varlena *) DatumGetPointer(batch->payloads[i]);
		entry->due_at = batch->due_at[i];
		batch->ids[i] = evsched_entry_insert(table, entry, &kept);
	}
}

/* Events without keys: whole pages at a time. */
static void
insert_pages(EvschedTable *table, EvschedEntry *entry, Batch *batch)
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
			Datum		values[EVSCHED_EVENT_COLUMNS];
			bool		nulls[EVSCHED_EVENT_COLUMNS];
			int			k = done + i;

			entry->payload = (struct varlena *) DatumGetPointer(batch->payloads[k]);
			entry->due_at = batch->due_at[k];
			batch->ids[k] = evsched_table_next_id(table);
			first = evsched_place_min(first, (EvschedPlace) {entry->due_at, batch->ids[k]});
			rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(table->relation), &TTSOpsVirtual);
			evsched_entry_fill(entry, batch->ids[k], values, nulls);
			evsched_table_fill(table, rows[i], values, nulls);
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
	evsched_effect_due(table->store, entry->queue, first);
	evsched_effect_count(table->store, entry->queue, EVSCHED_COUNT_POSTED, batch->n);
}

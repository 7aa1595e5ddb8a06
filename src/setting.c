/*
 * setting.c
 *		What was said of a queue (owner, retries, grants, whether it is paused),
 *		and of the database as a whole (whether it is stopped).
 *
 * Every process asks, inside a transaction.  What is in the tables is kept in
 * this process until one of them changes: their triggers invalidate them as
 * the server invalidates its own caches, so the change is known here when it is
 * committed there.  The tables are read with the latest snapshot, not with the
 * transaction's: a right that is gone is gone.
 */
#include "postgres.h"

#include "setting.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "event.h"
#include "statement.h"
#include "store.h"

/* As many queues are remembered; with more, one starts again. */
#define MAX_KNOWN		10000

const char *const evsched_right_words[EVSCHED_NUM_RIGHTS] = {
	[EVSCHED_RIGHT_POST] = "post",
	[EVSCHED_RIGHT_CONSUME] = "consume"
};

/* What fails at once would fail at once again. */
static const Interval job_retry_delay = {.time = USECS_PER_SEC};

static HTAB *known;				/* EvschedSetting by queue */
static MemoryContext known_context;
static EvschedSetting *last;	/* the one asked for last */
static bool know_stopped;
static bool stopped;
static bool stale = true;		/* something has changed */

static void forget(void);
static void take_in_changes(void);
static void start_again(void);
static void load(EvschedSetting *setting);
static EvschedSetting *remember(const EvschedSetting *loaded);
static void load_grants(EvschedSetting *setting, Datum queue);
static const EvschedSetting *find_of_row(TupleTableSlot *row);

void
evsched_setting_init(void)
{
	evsched_store_on_change(forget);
}

/* The settings of a queue, to be used at once; one that has none is open. */
const EvschedSetting *
evsched_setting_find(const char *queue)
{
	char		key[EVSCHED_QUEUE_BYTES + 1] = {0};
	EvschedSetting *setting;

	take_in_changes();
	if (last != NULL && strcmp(last->queue, queue) == 0)
		return last;
	strlcpy(key, queue, sizeof(key));
	setting = hash_search(known, key, HASH_FIND, NULL);
	if (setting == NULL)
	{
		EvschedSetting loaded = {0};

		memcpy(loaded.queue, key, sizeof(key));
		load(&loaded);
		setting = remember(&loaded);
	}
	last = setting;
	return setting;
}

/* Is nothing to be handed out in this database? */
bool
evsched_setting_is_stopped(void)
{
	EvschedCaller caller;
	bool		isnull;
	bool		found = false;

	take_in_changes();
	if (know_stopped)
		return stopped;
	if (evsched_store_is_current())
	{
		evsched_statement_begin(&caller);
		if (evsched_statement_read(EVSCHED_STMT_STOPPED, NULL) > 0)
			found = DatumGetBool(evsched_statement_value(0, 1, &isnull));
		evsched_statement_end(&caller);
	}
	stopped = found;
	know_stopped = !stale;
	return found;
}

/* Is nothing to be handed out of this queue? */
bool
evsched_setting_is_halted(const char *queue)
{
	return evsched_setting_is_stopped() || evsched_setting_find(queue)->paused;
}

/* How often an event may be delivered again. */
int
evsched_setting_max_retries(TupleTableSlot *row)
{
	if (evsched_event_has(row, EVSCHED_EVENT_MAX_RETRIES))
		return DatumGetInt32(evsched_event_value(row, EVSCHED_EVENT_MAX_RETRIES));
	return find_of_row(row)->max_retries;
}

/* When an event whose delivery has just failed is due again. */
TimestampTz
evsched_setting_retry_at(TupleTableSlot *row, TimestampTz now)
{
	const EvschedSetting *setting;

	if (evsched_event_has(row, EVSCHED_EVENT_RETRY_DELAY))
		return evsched_event_retry_at(row, now,
									  DatumGetIntervalP(evsched_event_value(row, EVSCHED_EVENT_RETRY_DELAY)));
	if (evsched_event_is_job(row))
		return evsched_event_retry_at(row, now, &job_retry_delay);
	setting = find_of_row(row);
	return setting->has_retry_delay ?
		evsched_event_retry_at(row, now, &setting->retry_delay) : now;
}

/* A table has changed: perhaps one of ours; they are few and change seldom. */
static void
forget(void)
{
	stale = true;
}

/* What was committed by now is to be read anew. */
static void
take_in_changes(void)
{
	AcceptInvalidationMessages();
	if (stale)
		start_again();
}

static void
start_again(void)
{
	HASHCTL		info = {.keysize = EVSCHED_QUEUE_BYTES + 1, .entrysize = sizeof(EvschedSetting)};

	last = NULL;
	known = NULL;
	know_stopped = false;
	if (known_context == NULL)
		known_context = AllocSetContextCreate(TopMemoryContext, "evsched settings",
											  ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(known_context);
	info.hcxt = known_context;
	known = hash_create("evsched settings", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stale = false;
}

static void
load(EvschedSetting *setting)
{
	Datum		queue = CStringGetTextDatum(setting->queue);
	EvschedCaller caller;
	bool		isnull;
	Datum		value;

	/* Before the update of the extension there was nothing to set. */
	if (!evsched_store_is_current())
		return;
	evsched_statement_begin(&caller);
	if (evsched_statement_read(EVSCHED_STMT_QUEUE_FIND, &queue) > 0)
	{
		setting->owner = DatumGetInt32(evsched_statement_value(0, 1, &isnull));
		setting->owned = !isnull;
		value = evsched_statement_value(0, 2, &isnull);
		if (!isnull)
			setting->max_retries = DatumGetInt32(value);
		value = evsched_statement_value(0, 3, &isnull);
		setting->has_retry_delay = !isnull;
		if (!isnull)
			setting->retry_delay = *DatumGetIntervalP(value);
		setting->paused = DatumGetBool(evsched_statement_value(0, 4, &isnull));
		load_grants(setting, queue);
	}
	evsched_statement_end(&caller);
}

/* What changed while it was loaded makes it good for this once. */
static EvschedSetting *
remember(const EvschedSetting *loaded)
{
	bool		changed = stale;
	EvschedSetting *setting;

	if (stale || hash_get_num_entries(known) >= MAX_KNOWN)
		start_again();
	setting = hash_search(known, loaded->queue, HASH_ENTER, NULL);
	*setting = *loaded;
	setting->grants = NULL;
	if (loaded->num_grants > 0)
	{
		Size		size = sizeof(EvschedGrant) * loaded->num_grants;

		setting->grants = MemoryContextAlloc(known_context, size);
		memcpy(setting->grants, loaded->grants, size);
	}
	stale = changed;
	return setting;
}

static void
load_grants(EvschedSetting *setting, Datum queue)
{
	int			n = evsched_statement_read(EVSCHED_STMT_GRANT_FIND, &queue);

	/* SPI's memory goes away, the caller's stays. */
	setting->grants = SPI_palloc(sizeof(EvschedGrant) * Max(n, 1));
	setting->num_grants = n;
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		char	   *word;

		setting->grants[i].role = DatumGetInt32(evsched_statement_value(i, 1, &isnull));
		word = TextDatumGetCString(evsched_statement_value(i, 2, &isnull));
		setting->grants[i].right = strcmp(word, evsched_right_words[EVSCHED_RIGHT_POST]) == 0 ?
			EVSCHED_RIGHT_POST : EVSCHED_RIGHT_CONSUME;
	}
}

static const EvschedSetting *
find_of_row(TupleTableSlot *row)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	evsched_event_queue(row, queue);
	return evsched_setting_find(queue);
}

/*
 * entry.c
 *		An event to be, and entering it into the table.
 *
 * Runs in whatever process posts, in its transaction.  An event without a key
 * is inserted directly and waits for nobody; one with a key goes through SQL
 * and waits for an open transaction on that very key.
 */
#include "postgres.h"

#include "entry.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "arg.h"
#include "effect.h"
#include "lease.h"
#include "right.h"
#include "role.h"
#include "shared.h"
#include "statement.h"
#include "stop.h"

/* Who holds a key. */
typedef struct Holder
{
	bool		exists;
	bool		series;
	bool		job;
	int32		owner;			/* 0: none */
	EvschedPlace place;
} Holder;

static void warn_unless_loaded(void);
static int64 insert_with_key(EvschedTable *table, const EvschedEntry *entry, bool *kept);
static void refuse_key(const EvschedEntry *entry);
static void refuse_conflict(const EvschedEntry *entry, const Holder *holder);
static Holder lock_holder(EvschedTable *table, const EvschedEntry *entry);
static uint64 run_with_values(EvschedStatement statement, const EvschedEntry *entry, int64 id);

EvschedOnConflict
evsched_entry_on_conflict(text *word)
{
	static const char *const words[] = {"replace", "keep", "error"};

	return evsched_arg_word(word, "on_conflict", words, lengthof(words));
}

/* Opens the table, and asks whether current_user may post that. */
void
evsched_entry_open(EvschedTable *table, EvschedEntry *entry, const char *function)
{
	warn_unless_loaded();
	evsched_table_open_for_insert(table, function);
	if (entry->command != NULL || entry->series || entry->for_all)
		evsched_store_require_current();
	evsched_right_require(entry->queue, EVSCHED_RIGHT_POST);
	entry->owner = evsched_role_number(table->store, GetUserId());
}

/* Enters it all by itself; returns its id. */
int64
evsched_entry_post(EvschedEntry *entry, const char *function)
{
	EvschedTable table;
	bool		kept;
	int64		id;

	evsched_entry_open(&table, entry, function);
	id = evsched_entry_insert(&table, entry, &kept);
	evsched_table_close(&table);
	EVSCHED_STOP("post inserted");
	return id;
}

/* Enters it; returns its id, or that of who is to keep the key. */
int64
evsched_entry_insert(EvschedTable *table, const EvschedEntry *entry, bool *kept)
{
	Datum		values[EVSCHED_EVENT_COLUMNS];
	bool		nulls[EVSCHED_EVENT_COLUMNS];
	int64		id;

	*kept = false;
	if (entry->key != NULL)
		return insert_with_key(table, entry, kept);
	id = evsched_table_next_id(table);
	evsched_entry_fill(entry, id, values, nulls);
	evsched_table_insert(table, values, nulls);
	evsched_effect_due(table->store, entry->queue, (EvschedPlace) {entry->due_at, id});
	if (entry->for_all)
		evsched_effect_for_all(table->store, entry->queue);
	if (!entry->series)
		evsched_effect_count(table->store, entry->queue, EVSCHED_COUNT_POSTED, 1);
	return id;
}

/* The columns of its row. */
void
evsched_entry_fill(const EvschedEntry *entry, int64 id, Datum *values, bool *nulls)
{
	memset(values, 0, EVSCHED_EVENT_COLUMNS * sizeof(Datum));
	memset(nulls, true, EVSCHED_EVENT_COLUMNS * sizeof(bool));

#define SET(column, value) \
	(values[(column) - 1] = (value), nulls[(column) - 1] = false)
#define SET_POINTER(column, pointer) \
	(values[(column) - 1] = PointerGetDatum(pointer), nulls[(column) - 1] = (pointer) == NULL)
	SET(EVSCHED_EVENT_ID, Int64GetDatum(id));
	SET(EVSCHED_EVENT_DUE_AT, TimestampTzGetDatum(entry->due_at));
	SET(EVSCHED_EVENT_NUM_RETRIES, Int32GetDatum(0));
	SET(EVSCHED_EVENT_OWNER, Int32GetDatum(entry->owner));
	if (entry->has_max_retries)
		SET(EVSCHED_EVENT_MAX_RETRIES, Int32GetDatum(entry->max_retries));
	SET(EVSCHED_EVENT_QUEUE, CStringGetTextDatum(entry->queue));
	SET_POINTER(EVSCHED_EVENT_PAYLOAD, entry->payload);
	SET_POINTER(EVSCHED_EVENT_KEY, entry->key);
	SET_POINTER(EVSCHED_EVENT_RETRY_DELAY, entry->retry_delay);
	if (entry->series)
		SET(EVSCHED_EVENT_RECURRING, Int64GetDatum(id));
	SET_POINTER(EVSCHED_EVENT_COMMAND, entry->command);
	SET_POINTER(EVSCHED_EVENT_RUN_TIMEOUT, entry->run_timeout);
	SET_POINTER(EVSCHED_EVENT_BODY, entry->body);
	if (entry->handles != 0)
		SET(EVSCHED_EVENT_HANDLES, Int64GetDatum(entry->handles));
	if (entry->for_all)
		SET(EVSCHED_EVENT_FOR_ALL, BoolGetDatum(true));
#undef SET
#undef SET_POINTER
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

/*
 * Whoever holds the key already, we learn by locking its row or by running into
 * its index entry; it may be gone again before we can lock it, hence the loop.
 * A delivered event cannot be replaced: it loses the key to a new one.
 */
static int64
insert_with_key(EvschedTable *table, const EvschedEntry *entry, bool *kept)
{
	bool		current = evsched_store_is_current();
	EvschedCaller caller;
	int64		id = 0;

	evsched_statement_begin(&caller);
	for (;;)
	{
		Holder		holder;

		CHECK_FOR_INTERRUPTS();
		holder = lock_holder(table, entry);
		if (holder.exists && !(holder.job ? evsched_right_is_member(caller.user, holder.owner) :
							   evsched_right_sees(caller.user, holder.owner, entry->queue)))
			refuse_key(entry);
		if (holder.exists && (entry->on_conflict == EVSCHED_ON_CONFLICT_ERROR ||
							  holder.series != entry->series))
			refuse_conflict(entry, &holder);
		if (holder.exists)
		{
			id = holder.place.id;
			*kept = entry->on_conflict == EVSCHED_ON_CONFLICT_KEEP;
			if (*kept)
				break;
			if (!evsched_shared_ready() || !evsched_lease_exists(table->store, id))
			{
				run_with_values(current ? EVSCHED_STMT_KEY_REPLACE :
								EVSCHED_STMT_KEY_REPLACE_OLD, entry, id);
				break;
			}
			evsched_statement_run(EVSCHED_STMT_KEY_DROP,
								  (Datum[]) {Int64GetDatum(id)}, NULL);
		}
		id = evsched_table_next_id(table);
		/* Another event may have got the key. */
		if (run_with_values(current ? EVSCHED_STMT_KEY_INSERT :
							EVSCHED_STMT_KEY_INSERT_OLD, entry, id) == 1)
			break;
	}
	evsched_statement_end(&caller);
	return id;
}

/* It is somebody else's; no more is told of it. */
static void
refuse_key(const EvschedEntry *entry)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for key \"%s\" in queue \"%s\"",
					text_to_cstring(entry->key), entry->queue),
			 errhint("Post with another key.")));
}

static void
refuse_conflict(const EvschedEntry *entry, const Holder *holder)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("key \"%s\" exists in queue \"%s\"",
					text_to_cstring(entry->key), entry->queue),
			 holder->series == entry->series ? 0 : holder->series ?
			 errdetail("It is the key of a series.") : errdetail("It is the key of an event."),
			 holder->series == entry->series ?
			 errhint("Post with on_conflict 'replace' or 'keep', or cancel it first.") :
			 errhint("Cancel it first, or use another key.")));
}

/*
 * While the row is locked, a turn passes over it: the scheduler is to look
 * again when we are through, whichever way.
 */
static Holder
lock_holder(EvschedTable *table, const EvschedEntry *entry)
{
	Datum		values[2] = {CStringGetTextDatum(entry->queue), PointerGetDatum(entry->key)};
	Holder		holder = {0};
	bool		isnull;

	holder.exists = evsched_statement_run(EVSCHED_STMT_KEY_LOCK, values, NULL) > 0;
	if (!holder.exists)
		return holder;
	holder.place.id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	holder.owner = DatumGetInt32(evsched_statement_value(0, 2, &isnull));
	holder.place.due_at = DatumGetTimestampTz(evsched_statement_value(0, 3, &isnull));
	holder.series = DatumGetBool(evsched_statement_value(0, 4, &isnull)) && !isnull;
	holder.job = DatumGetBool(evsched_statement_value(0, 5, &isnull));
	evsched_effect_due(table->store, entry->queue, holder.place);
	evsched_effect_back(table->store, entry->queue, holder.place);
	return holder;
}

/* Runs a statement whose arguments are the columns of the entry's row. */
static uint64
run_with_values(EvschedStatement statement, const EvschedEntry *entry, int64 id)
{
	Datum		values[EVSCHED_EVENT_COLUMNS];
	bool		is_null[EVSCHED_EVENT_COLUMNS];
	char		nulls[EVSCHED_EVENT_COLUMNS + 1] = {0};

	evsched_entry_fill(entry, id, values, is_null);
	for (int i = 0; i < EVSCHED_EVENT_COLUMNS; i++)
		nulls[i] = is_null[i] ? 'n' : ' ';
	return evsched_statement_run(statement, values, nulls);
}

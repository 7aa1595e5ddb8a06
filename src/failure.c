/*
 * failure.c
 *		What becomes of a job whose run has failed or was lost: it is due again or
 *		dead, and in the end somebody is told.
 *
 * Called by the worker after it has rolled back, and by the scheduler for the runs of
 * workers that died; inside a transaction, which ends the run's lease.
 */
#include "postgres.h"

#include "failure.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "dead.h"
#include "effect.h"
#include "entry.h"
#include "guc.h"
#include "pool.h"
#include "setting.h"
#include "statement.h"

static EvschedVerdict decide(EvschedTable *table, void *failure);
static EvschedVerdict decide_lost(EvschedTable *table);
static void note_row(EvschedTable *table, EvschedFailure *failure);
static void bury(EvschedTable *table, const EvschedFailure *failure);
static void tell_handler(EvschedTable *table, const EvschedFailure *failure);
static text *find_handler(int32 owner);
static Jsonb *describe(const EvschedFailure *failure);
static void append_member(StringInfo json, const char *name, const char *value);

/*
 * Counts the run and writes it down.  Not waiting, it does nothing and says why when
 * somebody else has the event's row.
 */
EvschedAttempt
evsched_failure_record(EvschedFailure *failure, bool wait)
{
	EvschedTable table;
	EvschedVerdict verdict = EVSCHED_KEEP;
	EvschedAttempt attempt = EVSCHED_ATTEMPT_DONE;
	int64		id = failure->record.event_id;
	bool		found;
	bool		fails;

	evsched_table_open_for_write(&table, "evsched run");
	if (wait)
		verdict = evsched_table_change(&table, id, decide, failure);
	else
		attempt = evsched_table_try_change(&table, id, decide, failure, &verdict);
	if (attempt == EVSCHED_ATTEMPT_LOCKED || attempt == EVSCHED_ATTEMPT_CHANGING)
	{
		evsched_table_close(&table);
		return attempt;
	}
	found = verdict != EVSCHED_KEEP || evsched_table_find(&table, id);
	if (verdict == EVSCHED_KEEP && found)
		note_row(&table, failure);
	if (verdict == EVSCHED_DELETE)
		bury(&table, failure);
	/* It may have succeeded just before: then its event is gone, or has moved itself. */
	fails = evsched_history_end(&failure->record) && found;
	if (failure->counts && fails)
		evsched_effect_count(table.store, failure->record.pool, EVSCHED_COUNT_FAILED, 1);
	if (failure->record.state == EVSCHED_RUN_LOST && fails)
		evsched_effect_count(table.store, failure->record.pool, EVSCHED_COUNT_LOST, 1);
	evsched_effect_finish(table.store, id, failure->serial);
	evsched_table_close(&table);
	return EVSCHED_ATTEMPT_DONE;
}

/* Who has moved the event meanwhile, or the job itself, has the last word. */
static EvschedVerdict
decide(EvschedTable *table, void *arg)
{
	EvschedFailure *failure = arg;
	TimestampTz now = failure->record.ended_at;

	note_row(table, failure);
	if (evsched_event_place(table->row).due_at != failure->due_at || !failure->counts)
		return EVSCHED_KEEP;
	if (failure->record.state == EVSCHED_RUN_LOST)
		return decide_lost(table);
	if (evsched_dead_is_due(table->row))
		return EVSCHED_DELETE;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT,
						   TimestampTzGetDatum(evsched_setting_retry_at(table->row, now)));
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_RETRIES,
						   Int32GetDatum(evsched_event_next_retry(table->row)));
	evsched_table_set_next(table, EVSCHED_EVENT_LAST_ERROR,
						   CStringGetTextDatum(failure->record.message));
	table->next->tts_isnull[EVSCHED_EVENT_NUM_LOST - 1] = true;
	return EVSCHED_UPDATE;
}

/* Lost runs use no retry, but too many of them in a row are the job's own doing. */
static EvschedVerdict
decide_lost(EvschedTable *table)
{
	int			num_lost = evsched_event_num_lost(table->row) + 1;

	if (num_lost >= evsched_max_lost_runs)
		return EVSCHED_DELETE;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_LOST, Int32GetDatum(num_lost));
	return EVSCHED_UPDATE;
}

/* What only the row says; and it is to be looked at again when the lease is over. */
static void
note_row(EvschedTable *table, EvschedFailure *failure)
{
	if (evsched_event_has(table->row, EVSCHED_EVENT_COMMAND))
		failure->record.command = TextDatumGetCString(evsched_event_value(table->row,
																		  EVSCHED_EVENT_COMMAND));
	evsched_effect_due(table->store, failure->record.pool, evsched_event_place(table->row));
}

/* The job has failed for good. */
static void
bury(EvschedTable *table, const EvschedFailure *failure)
{
	evsched_dead_add(table->row, failure->record.message, failure->record.sqlstate);
	if (evsched_event_has(table->row, EVSCHED_EVENT_HANDLES))
		ereport(LOG,
				(errmsg("evsched: the error handler of event " INT64_FORMAT " has failed: %s",
						DatumGetInt64(evsched_event_value(table->row, EVSCHED_EVENT_HANDLES)),
						failure->record.message)));
	else
		tell_handler(table, failure);
}

/* What its owner has given to on_error runs in pool active. */
static void
tell_handler(EvschedTable *table, const EvschedFailure *failure)
{
	EvschedEntry entry = {
		.queue = EVSCHED_POOL_ACTIVE,
		.due_at = failure->record.ended_at,
		.has_max_retries = true,
		.owner = evsched_event_owner(table->row),
		.command = find_handler(evsched_event_owner(table->row)),
		.handles = failure->record.event_id
	};
	bool		kept;

	if (entry.command == NULL)
		return;
	entry.payload = (struct varlena *) describe(failure);
	(void) evsched_entry_insert(table, &entry, &kept);
}

/* NULL: there is none. */
static text *
find_handler(int32 owner)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		value = Int32GetDatum(owner);
	text	   *command = NULL;
	EvschedCaller caller;
	bool		isnull;

	evsched_statement_begin(&caller);
	if (evsched_statement_read(EVSCHED_STMT_HANDLER_FIND, &value) > 0)
	{
		text	   *found = DatumGetTextPP(evsched_statement_value(0, 1, &isnull));

		/* SPI's memory goes away with the end. */
		command = MemoryContextAlloc(context, VARSIZE_ANY(found));
		memcpy(command, found, VARSIZE_ANY(found));
	}
	evsched_statement_end(&caller);
	return command;
}

/* $1 of the handler. */
static Jsonb *
describe(const EvschedFailure *failure)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"event_id\":" INT64_FORMAT ",\"run_id\":" INT64_FORMAT,
					 failure->record.event_id, failure->record.id);
	append_member(&json, "command", failure->record.command);
	append_member(&json, "sqlstate", failure->record.sqlstate);
	append_member(&json, "message", failure->record.message);
	append_member(&json, "detail", failure->detail);
	append_member(&json, "context", failure->context);
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
append_member(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, ",\"%s\":", name);
	if (value == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, value);
}

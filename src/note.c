/*
 * note.c
 *		Plain writes to evsched's tables: the triggers and the default owner.
 *
 * Runs in whatever process writes the table: a session, COPY, logical
 * replication apply.  See sql/event.sql for which trigger fires when.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_subscription_rel.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "replication/worker_internal.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "effect.h"
#include "event.h"
#include "pool.h"
#include "right.h"
#include "role.h"
#include "statement.h"
#include "store.h"

/* No table of settings has more. */
#define MAX_SETTING_COLUMNS	16

/* Of evsched.recurrence, from 0. */
#define CHANNEL_COLUMN		7
#define PATH_COLUMN			8

static bool is_known(Relation relation, HeapTuple tuple);
static bool is_known_series(Datum *values, const bool *nulls);
static void adopt(Relation relation, HeapTuple tuple);
static bool is_subscribed(Oid relation);
static bool is_for_all(HeapTuple tuple, TupleDesc desc);
static EvschedPlace read_place(HeapTuple tuple, TupleDesc desc, char *queue);

PG_FUNCTION_INFO_V1(evsched_sql_note_change);
PG_FUNCTION_INFO_V1(evsched_sql_note_setting);
PG_FUNCTION_INFO_V1(evsched_sql_skip_known);
PG_FUNCTION_INFO_V1(evsched_sql_owner);

/* Notes what becomes available at commit, or again at abort. */
Datum
evsched_sql_note_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	EvschedStore store;
	TupleDesc	desc;
	EvschedPlace place;
	EvschedPlace moved;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function is a row trigger of evsched.event")));

	desc = RelationGetDescr(trigger->tg_relation);
	store = (EvschedStore) {MyDatabaseId, RelationGetRelid(trigger->tg_relation)};
	place = read_place(trigger->tg_trigtuple, desc, queue);
	if (is_for_all(trigger->tg_trigtuple, desc) ||
		(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && is_for_all(trigger->tg_newtuple, desc)))
		evsched_effect_for_all(store, queue);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		evsched_right_require(queue, EVSCHED_RIGHT_POST);
		/* A restore brings back what is there, whatever the pools are called by now. */
		if (!superuser() && heap_attisnull(trigger->tg_trigtuple, EVSCHED_EVENT_COMMAND, desc))
			evsched_pool_refuse(queue);
		if (IsLogicalWorker())
			adopt(trigger->tg_relation, trigger->tg_trigtuple);
		evsched_effect_due(store, queue, place);
		evsched_effect_count(store, queue, EVSCHED_COUNT_POSTED, 1);
	}
	else
		evsched_effect_back(store, queue, place);

	/* Who removes or moves a delivered event ends its lease, as cancel does. */
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		evsched_effect_end_lease(store, place.id, false);
		evsched_effect_count(store, queue, EVSCHED_COUNT_CANCELLED, 1);
	}
	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);
	moved = read_place(trigger->tg_newtuple, desc, queue);
	evsched_effect_due(store, queue, moved);
	if (moved.due_at != place.due_at)
		evsched_effect_end_lease(store, place.id, false);
	return PointerGetDatum(trigger->tg_newtuple);
}

/* What was known of queues and roles holds no longer, once this is committed. */
Datum
evsched_sql_note_setting(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function is a trigger of evsched's settings")));
	CacheInvalidateRelcache(trigger->tg_relation);
	evsched_effect_recheck(evsched_store_here());
	return (Datum) 0;
}

/* A restore brings again what is there: it stays as it is. */
Datum
evsched_sql_skip_known(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function is a row trigger of evsched's settings")));
	return PointerGetDatum(is_known(trigger->tg_relation, trigger->tg_trigtuple) ?
						   NULL : trigger->tg_trigtuple);
}

/* _owner() */
Datum
evsched_sql_owner(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(evsched_role_number(evsched_store_here(), GetUserId()));
}

/* Is there a row of the same key in one of the tables that a restore may bring again? */
static bool
is_known(Relation relation, HeapTuple tuple)
{
	static const struct
	{
		const char *table;
		int			num_keys;	/* its first columns */
		EvschedStatement find;
	}			tables[] = {
		{"queue", 1, EVSCHED_STMT_QUEUE_FIND},
		{"error_handler", 1, EVSCHED_STMT_HANDLER_KNOWN},
		{"queue_grant", 3, EVSCHED_STMT_GRANT_KNOWN},
		{"rule_set", 1, EVSCHED_STMT_RULE_SET_FIND},
		{"rule_grant", 3, EVSCHED_STMT_RULE_GRANT_KNOWN},
		{"rule", 3, EVSCHED_STMT_RULE_KNOWN},
		{"rule_slot", 3, EVSCHED_STMT_RULE_SLOT_KNOWN}
	};
	const char *table = RelationGetRelationName(relation);
	Datum		values[MAX_SETTING_COLUMNS];
	bool		nulls[MAX_SETTING_COLUMNS];
	EvschedCaller caller;
	bool		known;
	int			i = 0;

	heap_deform_tuple(tuple, RelationGetDescr(relation), values, nulls);
	if (strcmp(table, "role") == 0)
		return !nulls[0] && !nulls[1] && !nulls[2] &&
			evsched_role_is_known(DatumGetInt32(values[0]), NameStr(*DatumGetName(values[1])),
								  TextDatumGetCString(values[2]));
	if (strcmp(table, "recurrence") == 0)
		return is_known_series(values, nulls);
	while (strcmp(table, tables[i].table) != 0)
	{
		if (++i == lengthof(tables))
			return false;
	}
	/* Constraints refuse it later. */
	for (int key = 0; key < tables[i].num_keys; key++)
	{
		if (nulls[key])
			return false;
	}
	evsched_statement_begin(&caller);
	known = evsched_statement_read(tables[i].find, values) > 0;
	evsched_statement_end(&caller);
	return known;
}

/*
 * By its id, or by what it watches: another watch may have that already, and the other
 * series of a restore must not fail with this one.
 */
static bool
is_known_series(Datum *values, const bool *nulls)
{
	EvschedCaller caller;
	bool		known;

	evsched_statement_begin(&caller);
	known = (!nulls[0] && evsched_statement_read(EVSCHED_STMT_SERIES_KNOWN, values) > 0) ||
		(!nulls[CHANNEL_COLUMN] &&
		 evsched_statement_run_now(EVSCHED_STMT_WATCH_HOLD_CHANNEL, &values[CHANNEL_COLUMN],
								   NULL) > 0) ||
		(!nulls[PATH_COLUMN] &&
		 evsched_statement_run_now(EVSCHED_STMT_WATCH_HOLD_PATH, &values[PATH_COLUMN], NULL) > 0);
	evsched_statement_end(&caller);
	return known;
}

/*
 * A replicated event whose owner is not known here would wait for ever.  Where its
 * owners are replicated as well, it is part of a copy, which start() binds.
 */
static void
adopt(Relation relation, HeapTuple tuple)
{
	bool		isnull;
	Datum		owner = heap_getattr(tuple, EVSCHED_EVENT_OWNER, RelationGetDescr(relation), &isnull);

	if (!isnull && !OidIsValid(evsched_role_of(DatumGetInt32(owner))) &&
		!is_subscribed(get_relname_relid("role", RelationGetNamespace(relation))))
		evsched_role_adopt(DatumGetInt32(owner));
}

/* In a worker of logical replication: does its subscription bring this table, too? */
static bool
is_subscribed(Oid relation)
{
	XLogRecPtr	lsn;

	return GetSubscriptionRelState(MySubscription->oid, relation, &lsn) != SUBREL_STATE_UNKNOWN;
}

/* Before the update of the extension there were none. */
static bool
is_for_all(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull = true;
	Datum		for_all = (Datum) 0;

	if (desc->natts >= EVSCHED_EVENT_FOR_ALL)
		for_all = heap_getattr(tuple, EVSCHED_EVENT_FOR_ALL, desc, &isnull);
	return !isnull && DatumGetBool(for_all);
}

static EvschedPlace
read_place(HeapTuple tuple, TupleDesc desc, char *queue)
{
	bool		isnull;
	Datum		name = heap_getattr(tuple, EVSCHED_EVENT_QUEUE, desc, &isnull);

	/* A row trigger before the change sees rows that constraints refuse later. */
	queue[0] = '\0';
	if (!isnull)
		text_to_cstring_buffer(DatumGetTextPP(name), queue, EVSCHED_QUEUE_BYTES + 1);
	return (EvschedPlace)
	{
		DatumGetTimestampTz(heap_getattr(tuple, EVSCHED_EVENT_DUE_AT, desc, &isnull)),
			DatumGetInt64(heap_getattr(tuple, EVSCHED_EVENT_ID, desc, &isnull))
	};
}

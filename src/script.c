/*
 * script.c
 *		The SQL of a job: its statements, run one after the other.
 *
 * Called by a worker, which is logged in as the job's role, inside a transaction that
 * has no block: as for a client that sends one statement, a procedure may end it, and
 * what must not run inside a block can run.  A statement of that kind has a transaction
 * of its own; the others share one.  An error is the caller's.
 */
#include "postgres.h"

#include "script.h"

#include "access/htup_details.h"
#include "access/heaptoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"

/* Keeps the first row. */
typedef struct Receiver
{
	DestReceiver pub;
	MemoryContext context;
	bool		returns;		/* the statement returns rows */
	TupleDesc	desc;
	HeapTuple	first;			/* NULL: there was none */
} Receiver;

static bool needs_no_block(Node *node);
static bool is_concurrent(List *options);
static bool detaches_concurrently(List *commands);
static void restart_transaction(EvschedScript *script);
static int64 run_statement(EvschedScript *script, RawStmt *statement, Receiver *receiver);
static ParamListInfo make_params(EvschedScript *script);
static void start_rows(DestReceiver *self, int operation, TupleDesc desc);
static bool receive_row(TupleTableSlot *slot, DestReceiver *self);
static void end_rows(DestReceiver *self);
static Jsonb *row_to_value(Receiver *receiver);

/* Raises 42601, or 0A000 for statements that end transactions or need a client. */
void
evsched_script_parse(EvschedScript *script)
{
	MemoryContext old_context = MemoryContextSwitchTo(script->context);
	ListCell   *cell;

	script->statements = pg_parse_query(script->sql);
	foreach(cell, script->statements)
	{
		Node	   *node = lfirst_node(RawStmt, cell)->stmt;

		if (IsA(node, TransactionStmt))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("transaction control is not allowed in a job's command"),
					 errhint("Call a procedure that does it.")));
		if (IsA(node, CopyStmt) && ((CopyStmt *) node)->filename == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a job has no client to COPY to or from")));
		script->controls |= IsA(node, CallStmt) || IsA(node, DoStmt) || needs_no_block(node);
	}
	MemoryContextSwitchTo(old_context);
}

/* Runs it; what stands in the last transaction is still to be committed. */
void
evsched_script_run(EvschedScript *script)
{
	Receiver	receiver = {
		.pub = {receive_row, start_rows, end_rows, end_rows, DestNone},
		.context = script->context
	};
	bool		block = list_length(script->statements) > 1 && !script->controls;
	bool		alone = true;
	ListCell   *cell;

	/* As several statements that a client sends at once. */
	if (block)
		BeginImplicitTransactionBlock();
	foreach(cell, script->statements)
	{
		RawStmt    *statement = lfirst_node(RawStmt, cell);
		bool		wants_alone = needs_no_block(statement->stmt);

		if (cell != list_head(script->statements) && (alone || wants_alone))
			restart_transaction(script);
		alone = wants_alone;
		script->rows = run_statement(script, statement, &receiver);
	}
	if (block)
		EndImplicitTransactionBlock();
	if (alone && script->statements != NIL)
		restart_transaction(script);
	if (receiver.returns)
		script->result = row_to_value(&receiver);
}

/* Must it not, or should it rather not, run inside a transaction block? */
static bool
needs_no_block(Node *node)
{
	switch (nodeTag(node))
	{
		case T_VacuumStmt:
		case T_ClusterStmt:
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
		case T_CreateTableSpaceStmt:
		case T_DropTableSpaceStmt:
		case T_AlterSystemStmt:
		case T_CreateSubscriptionStmt:
		case T_AlterSubscriptionStmt:
		case T_DropSubscriptionStmt:
		case T_DiscardStmt:
			return true;
		case T_IndexStmt:
			return ((IndexStmt *) node)->concurrent;
		case T_DropStmt:
			return ((DropStmt *) node)->concurrent;
		case T_ReindexStmt:
			return ((ReindexStmt *) node)->kind == REINDEX_OBJECT_SCHEMA ||
				((ReindexStmt *) node)->kind == REINDEX_OBJECT_SYSTEM ||
				((ReindexStmt *) node)->kind == REINDEX_OBJECT_DATABASE ||
				is_concurrent(((ReindexStmt *) node)->params);
		case T_AlterTableStmt:
			return detaches_concurrently(((AlterTableStmt *) node)->cmds);
		default:
			return false;
	}
}

static bool
is_concurrent(List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "concurrently") == 0)
			return true;
	}
	return false;
}

static bool
detaches_concurrently(List *commands)
{
	ListCell   *cell;

	foreach(cell, commands)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DetachPartition &&
			castNode(PartitionCmd, command->def)->concurrent)
			return true;
	}
	return false;
}

static void
restart_transaction(EvschedScript *script)
{
	CommitTransactionCommand();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(script->context);
}

/* As the server runs a statement of a client; returns how many rows it was about. */
static int64
run_statement(EvschedScript *script, RawStmt *statement, Receiver *receiver)
{
	Oid			types[] = {JSONBOID};
	MemoryContext old_context = MemoryContextSwitchTo(script->context);
	ParamListInfo params = make_params(script);
	QueryCompletion completion;
	List	   *plans;
	Portal		portal;
	bool		pushed = analyze_requires_snapshot(statement);

	CHECK_FOR_INTERRUPTS();
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(statement, script->sql, types, 1, NULL),
							script->sql, CURSOR_OPT_PARALLEL_OK, params);
	if (pushed)
		PopActiveSnapshot();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, script->sql, CreateCommandTag(statement->stmt), plans, NULL);
	PortalStart(portal, params, 0, InvalidSnapshot);
	InitializeQueryCompletion(&completion);
	(void) evsched_portal_run(portal, &receiver->pub, &completion);
	PortalDrop(portal, false);
	CommandCounterIncrement();
	MemoryContextSwitchTo(old_context);
	return completion.nprocessed;
}

static ParamListInfo
make_params(EvschedScript *script)
{
	ParamListInfo params = makeParamList(1);

	params->params[0].value = PointerGetDatum(script->payload);
	params->params[0].isnull = script->payload == NULL;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = JSONBOID;
	return params;
}

/* A statement that returns rows begins: what an earlier one has returned is of no interest. */
static void
start_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext old_context = MemoryContextSwitchTo(receiver->context);

	receiver->returns = true;
	receiver->desc = CreateTupleDescCopy(desc);
	receiver->first = NULL;
	MemoryContextSwitchTo(old_context);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;

	if (receiver->first == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(receiver->context);
		bool		free_it;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, true, &free_it);

		/* What is stored elsewhere may be gone later. */
		receiver->first = heap_copytuple(tuple);
		if (HeapTupleHasExternal(tuple))
			receiver->first = toast_flatten_tuple(tuple, receiver->desc);
		if (free_it)
			heap_freetuple(tuple);
		MemoryContextSwitchTo(old_context);
	}
	return true;
}

static void
end_rows(DestReceiver *self)
{
}

/* The first row: of one column its value, of several an object; no row: NULL. */
static Jsonb *
row_to_value(Receiver *receiver)
{
	text	   *json;
	Jsonb	   *object;
	JsonbValue *value;
	JsonbValue	buffer;

	if (receiver->first == NULL)
		return NULL;
	json = DatumGetTextPP(DirectFunctionCall1(row_to_json,
											  heap_copy_tuple_as_datum(receiver->first,
																	   BlessTupleDesc(receiver->desc))));
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(json))));
	if (receiver->desc->natts != 1)
		return object;
	value = getKeyJsonValueFromContainer(&object->root,
										 NameStr(TupleDescAttr(receiver->desc, 0)->attname),
										 strlen(NameStr(TupleDescAttr(receiver->desc, 0)->attname)),
										 &buffer);
	return value == NULL ? NULL : JsonbValueToJsonb(value);
}

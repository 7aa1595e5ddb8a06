/*
 * table.c
 *		Direct access to evsched.event: what is done for every event is done
 *		without planner and executor.
 *
 * Called inside a transaction, by sessions and by the scheduler.  A table is
 * opened with a snapshot of its own, taken then; rows are found by id or in
 * the order of their places; changing one waits for its holder, or tries and
 * says who is in the way.  Everything goes through the table access method's
 * interface; only the question whether a row is merely locked looks at a heap
 * tuple.
 *
 * Whoever deletes or moves a row notes first that it may come back
 * (evsched_effect_back): a scan of another process passes over the row on the
 * strength of that.
 */
#include "postgres.h"

#include "table.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "effect.h"

static void open_table(EvschedTable *table, LOCKMODE lock);
static void open_indexes(EvschedTable *table);
static bool lock_last_version(EvschedTable *table, ItemPointer tid);
static TM_Result apply_verdict(EvschedTable *table, EvschedVerdict verdict,
							   TM_FailureData *failure);
static TM_Result delete_row(EvschedTable *table, bool wait, TM_FailureData *failure);
static TM_Result update_row(EvschedTable *table, TM_FailureData *failure);
static EvschedVerdict judge(EvschedTable *table, EvschedDecide decide, void *arg);
static EvschedAttempt explain(EvschedTable *table, TM_Result result);
static void copy_header(EvschedTable *table, HeapTupleHeader header);

/* Opens the table for reading. */
void
evsched_table_open(EvschedTable *table)
{
	open_table(table, AccessShareLock);
	evsched_store_require_current();
}

/* Opens the table for writing on behalf of the named SQL function. */
void
evsched_table_open_for_write(EvschedTable *table, const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	open_table(table, RowExclusiveLock);
	evsched_store_require_current();
}

/* The same, and sees what is committed now, whatever the transaction's snapshot. */
void
evsched_table_open_now(EvschedTable *table, const char *command)
{
	evsched_table_open_for_write(table, command);
	if (!IsolationUsesXactSnapshot())
		return;
	PopActiveSnapshot();
	PushActiveSnapshot(GetLatestSnapshot());
	table->snapshot = GetActiveSnapshot();
}

/*
 * The same, only to insert: that goes on while the table is that of an older version,
 * which has no columns that this one has not.
 */
void
evsched_table_open_for_insert(EvschedTable *table, const char *command)
{
	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	open_table(table, RowExclusiveLock);
}

void
evsched_table_close(EvschedTable *table)
{
	if (table->due_scan != NULL)
		evsched_table_end_due(table);
	if (table->id_scan != NULL)
	{
		index_endscan(table->id_scan);
		index_close(table->id_index, AccessShareLock);
	}
	if (table->estate != NULL)
	{
		ExecDropSingleTupleTableSlot(table->next);
		ExecCloseIndices(table->result);
		FreeExecutorState(table->estate);
	}
	ExecDropSingleTupleTableSlot(table->row);
	PopActiveSnapshot();
	table_close(table->relation, NoLock);

	/* What was written is seen by what follows in this transaction. */
	CommandCounterIncrement();
}

int64
evsched_table_next_id(EvschedTable *table)
{
	return nextval_internal(evsched_store_objects()->sequence, false);
}

/* Adds one row. */
void
evsched_table_insert(EvschedTable *table, Datum *values, bool *nulls)
{
	TupleTableSlot *row;

	open_indexes(table);
	row = table->next;
	evsched_table_fill(table, row, values, nulls);
	table_tuple_insert(table->relation, row, GetCurrentCommandId(true), 0, NULL);
	evsched_insert_index_tuples(table->result, row, table->estate, false, false);
	ResetPerTupleExprContext(table->estate);
}

/* Makes the values the contents of a row that is to be inserted. */
void
evsched_table_fill(EvschedTable *table, TupleTableSlot *row, Datum *values, bool *nulls)
{
	int			n = Min(RelationGetNumberOfAttributes(table->relation), EVSCHED_EVENT_COLUMNS);

	ExecClearTuple(row);
	memcpy(row->tts_values, values, n * sizeof(Datum));
	memcpy(row->tts_isnull, nulls, n * sizeof(bool));
	ExecStoreVirtualTuple(row);
}

/* Adds many rows, with one WAL record for each page. */
void
evsched_table_insert_many(EvschedTable *table, TupleTableSlot **rows, int n)
{
	open_indexes(table);
	table_multi_insert(table->relation, rows, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		evsched_insert_index_tuples(table->result, rows[i], table->estate, false, false);
		ResetPerTupleExprContext(table->estate);
	}
}

/* Counts the row found last for its queue when the transaction commits. */
void
evsched_table_count(EvschedTable *table, EvschedCount count)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	evsched_event_queue(table->row, queue);
	evsched_effect_count(table->store, queue, count, 1);
}

/* Fetches the row of an event; false when there is none to be seen. */
bool
evsched_table_find(EvschedTable *table, int64 id)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	if (table->id_scan == NULL)
	{
		table->id_index = index_open(evsched_store_objects()->id_index, AccessShareLock);
		table->id_scan = evsched_index_beginscan(table->relation, table->id_index,
												 table->snapshot, 1);
	}
	index_rescan(table->id_scan, &key, 1, NULL, 0);
	if (!index_getnext_slot(table->id_scan, ForwardScanDirection, table->row))
		return false;
	slot_getallattrs(table->row);
	return true;
}

/*
 * Does to the row of an event what `decide` says of it, after waiting for an
 * open transaction that holds it and then asking again.  Keeps where there is
 * no such row.
 */
EvschedVerdict
evsched_table_change(EvschedTable *table, int64 id, EvschedDecide decide, void *arg)
{
	EvschedVerdict verdict;
	TM_FailureData failure;
	TM_Result	result;

	if (!evsched_table_find(table, id))
		return EVSCHED_KEEP;
	verdict = judge(table, decide, arg);
	result = apply_verdict(table, verdict, &failure);
	if (result == TM_Updated || result == TM_Deleted)
	{
		if (IsolationUsesXactSnapshot())
			evsched_store_refuse_stale();
		if (result == TM_Deleted || !lock_last_version(table, &failure.ctid))
			return EVSCHED_KEEP;
		verdict = judge(table, decide, arg);
		result = apply_verdict(table, verdict, &failure);
	}
	return result == TM_Ok ? verdict : EVSCHED_KEEP;
}

/* The same without waiting, and says why when nothing was done. */
EvschedAttempt
evsched_table_try_change(EvschedTable *table, int64 id, EvschedDecide decide,
						 void *arg, EvschedVerdict *verdict)
{
	TM_FailureData failure;
	EvschedAttempt attempt;

	*verdict = EVSCHED_KEEP;
	if (!evsched_table_find(table, id))
		return EVSCHED_ATTEMPT_GONE;
	attempt = evsched_table_try_lock(table, &table->row->tts_tid);
	if (attempt != EVSCHED_ATTEMPT_DONE)
		return attempt;
	*verdict = judge(table, decide, arg);
	return explain(table, apply_verdict(table, *verdict, &failure));
}

/* Starts the next version of the row found last as a copy of it. */
void
evsched_table_copy_next(EvschedTable *table)
{
	open_indexes(table);
	ExecClearTuple(table->next);
	memcpy(table->next->tts_values, table->row->tts_values,
		   EVSCHED_EVENT_COLUMNS * sizeof(Datum));
	memcpy(table->next->tts_isnull, table->row->tts_isnull,
		   EVSCHED_EVENT_COLUMNS * sizeof(bool));
}

/* Gives the next version another value. */
void
evsched_table_set_next(EvschedTable *table, int column, Datum value)
{
	evsched_event_value(table->next, column) = value;
	table->next->tts_isnull[column - 1] = false;
}

/* Starts a scan of a queue in the order of its places, from one of them on. */
void
evsched_table_begin_due(EvschedTable *table, const char *queue, EvschedPlace from)
{
	ScanKey		members = table->due_members;

	Assert(table->due_scan == NULL);
	ScanKeyEntryInitialize(&members[0], SK_ROW_MEMBER, 2, BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_TIMESTAMPTZ_CMP,
						   TimestampTzGetDatum(from.due_at));
	ScanKeyEntryInitialize(&members[1], SK_ROW_MEMBER | SK_ROW_END, 3,
						   BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_BTINT8CMP, Int64GetDatum(from.id));
	ScanKeyEntryInitialize(&table->due_keys[0], 0, 1, BTEqualStrategyNumber,
						   InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(queue));
	MemSet(&table->due_keys[1], 0, sizeof(ScanKeyData));
	table->due_keys[1].sk_flags = SK_ROW_HEADER;
	table->due_keys[1].sk_attno = 2;
	table->due_keys[1].sk_strategy = BTGreaterEqualStrategyNumber;
	table->due_keys[1].sk_argument = PointerGetDatum(members);

	table->due_index = index_open(evsched_store_objects()->due_index, AccessShareLock);
	table->due_scan = evsched_index_beginscan(table->relation, table->due_index,
											  table->snapshot, 2);
	index_rescan(table->due_scan, table->due_keys, 2, NULL, 0);
}

/* Fetches the next row of the queue; false at its end. */
bool
evsched_table_next_due(EvschedTable *table)
{
	if (!index_getnext_slot(table->due_scan, ForwardScanDirection, table->row))
		return false;
	slot_getallattrs(table->row);
	return true;
}

void
evsched_table_end_due(EvschedTable *table)
{
	index_endscan(table->due_scan);
	index_close(table->due_index, AccessShareLock);
	table->due_scan = NULL;
}

/* Locks the row at `tid` and fetches it. */
EvschedAttempt
evsched_table_try_lock(EvschedTable *table, ItemPointer tid)
{
	ItemPointerData copy = *tid;
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(table->relation, &copy, table->snapshot, table->row,
							  GetCurrentCommandId(true), LockTupleExclusive,
							  LockWaitSkip, 0, &failure);
	if (result == TM_Ok || result == TM_WouldBlock)
		slot_getallattrs(table->row);
	return explain(table, result);
}

/*
 * Has another transaction changed or deleted the row found last, or is it about
 * to?  Our snapshot may be older than its commit.
 */
bool
evsched_table_is_changing(EvschedTable *table)
{
	HeapTupleHeaderData header;
	TransactionId xid;

	copy_header(table, &header);
	if ((header.t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header.t_infomask))
		return false;
	xid = HeapTupleHeaderGetUpdateXid(&header);
	return TransactionIdIsInProgress(xid) || TransactionIdDidCommit(xid);
}

/* Deletes the row found last, unless somebody holds it. */
EvschedAttempt
evsched_table_try_delete(EvschedTable *table)
{
	TM_FailureData failure;

	return explain(table, delete_row(table, false, &failure));
}

/* Deletes the row that this transaction has locked: it need not wait for that. */
EvschedAttempt
evsched_table_delete_locked(EvschedTable *table)
{
	TM_FailureData failure;

	return explain(table, delete_row(table, true, &failure));
}

static void
open_table(EvschedTable *table, LOCKMODE lock)
{
	memset(table, 0, sizeof(*table));
	table->store = evsched_store_lock(lock);
	table->context = CurrentMemoryContext;
	table->relation = table_open(table->store.table, NoLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	table->snapshot = GetActiveSnapshot();
	table->row = table_slot_create(table->relation, NULL);
}

static void
open_indexes(EvschedTable *table)
{
	MemoryContext old_context;

	if (table->estate != NULL)
		return;
	old_context = MemoryContextSwitchTo(table->context);
	table->estate = CreateExecutorState();
	MemoryContextSwitchTo(table->estate->es_query_cxt);
	table->result = makeNode(ResultRelInfo);
	InitResultRelInfo(table->result, table->relation, 0, NULL, 0);
	ExecOpenIndices(table->result, false);
	table->next = MakeSingleTupleTableSlot(RelationGetDescr(table->relation),
										   &TTSOpsVirtual);
	MemoryContextSwitchTo(old_context);
}

/* Locks the newest version of a row that was changed, and fetches it. */
static bool
lock_last_version(EvschedTable *table, ItemPointer tid)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(table->relation, tid, table->snapshot, table->row,
							  GetCurrentCommandId(true), LockTupleExclusive,
							  LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							  &failure);
	if (result != TM_Ok)
		return false;
	slot_getallattrs(table->row);
	return true;
}

static EvschedVerdict
judge(EvschedTable *table, EvschedDecide decide, void *arg)
{
	EvschedVerdict verdict = decide(table, arg);
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	if (verdict != EVSCHED_KEEP)
	{
		evsched_event_queue(table->row, queue);
		evsched_effect_back(table->store, queue, evsched_event_place(table->row));
		if (evsched_event_is_for_all(table->row))
			evsched_effect_for_all(table->store, queue);
		if (verdict == EVSCHED_UPDATE)
			evsched_effect_due(table->store, queue, evsched_event_place(table->next));
	}
	return verdict;
}

static TM_Result
apply_verdict(EvschedTable *table, EvschedVerdict verdict, TM_FailureData *failure)
{
	switch (verdict)
	{
		case EVSCHED_DELETE:
			return delete_row(table, true, failure);
		case EVSCHED_UPDATE:
			return update_row(table, failure);
		case EVSCHED_KEEP:
			break;
	}
	return TM_Ok;
}

static TM_Result
delete_row(EvschedTable *table, bool wait, TM_FailureData *failure)
{
	return table_tuple_delete(table->relation, &table->row->tts_tid,
							  GetCurrentCommandId(true), table->snapshot,
							  InvalidSnapshot, wait, failure, false);
}

/* Puts the next version, made of virtual values, in place of the row. */
static TM_Result
update_row(EvschedTable *table, TM_FailureData *failure)
{
	TupleTableSlot *next = table->next;
	EvschedUpdateIndexes update_indexes;
	LockTupleMode lock;
	TM_Result	result;

	ExecStoreVirtualTuple(next);
	result = table_tuple_update(table->relation, &table->row->tts_tid, next,
								GetCurrentCommandId(true), table->snapshot,
								InvalidSnapshot, true, failure, &lock,
								&update_indexes);
	if (result == TM_Ok && EVSCHED_UPDATE_NEEDS_INDEXES(update_indexes))
		evsched_insert_index_tuples(table->result, next, table->estate, true,
									EVSCHED_UPDATE_SUMMARIZING(update_indexes));
	return result;
}

static EvschedAttempt
explain(EvschedTable *table, TM_Result result)
{
	HeapTupleHeaderData header;

	if (result == TM_Ok)
		return EVSCHED_ATTEMPT_DONE;
	if (result != TM_BeingModified && result != TM_WouldBlock)
		return EVSCHED_ATTEMPT_GONE;
	copy_header(table, &header);
	return HEAP_XMAX_IS_LOCKED_ONLY(header.t_infomask) ?
		EVSCHED_ATTEMPT_LOCKED : EVSCHED_ATTEMPT_CHANGING;
}

/* Who holds the row found last stands in its header, which others may change. */
static void
copy_header(EvschedTable *table, HeapTupleHeader header)
{
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) table->row;

	Assert(TTS_IS_BUFFERTUPLE(table->row) && BufferIsValid(slot->buffer));
	LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
	memcpy(header, slot->base.tuple->t_data, SizeofHeapTupleHeader);
	LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
}

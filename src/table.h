/*
 * table.h
 *		Direct access to evsched.event.
 */
#ifndef EVSCHED_TABLE_H
#define EVSCHED_TABLE_H

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/snapshot.h"

#include "event.h"
#include "evsched.h"
#include "store.h"
#include "stat.h"

typedef struct EvschedTable
{
	EvschedStore store;
	MemoryContext context;		/* in which it was opened */
	Relation	relation;
	Snapshot	snapshot;		/* pushed as the active one */
	TupleTableSlot *row;		/* the row found last */
	TupleTableSlot *next;		/* its next version, while it is made */
	EState	   *estate;			/* for index entries; NULL until needed */
	ResultRelInfo *result;
	Relation	id_index;		/* NULL until needed */
	IndexScanDesc id_scan;
	Relation	due_index;
	IndexScanDesc due_scan;
	ScanKeyData due_keys[2];
	ScanKeyData due_members[2];
} EvschedTable;

/* What is to become of a row. */
typedef enum EvschedVerdict
{
	EVSCHED_KEEP,
	EVSCHED_DELETE,
	EVSCHED_UPDATE				/* to what stands in table->next */
} EvschedVerdict;

typedef EvschedVerdict (*EvschedDecide) (EvschedTable *table, void *arg);

/* What became of an attempt that does not wait. */
typedef enum EvschedAttempt
{
	EVSCHED_ATTEMPT_DONE,
	EVSCHED_ATTEMPT_GONE,		/* changed or deleted by now */
	EVSCHED_ATTEMPT_LOCKED,		/* only locked by an open transaction */
	EVSCHED_ATTEMPT_CHANGING	/* being changed or deleted by one */
} EvschedAttempt;


extern void evsched_table_open(EvschedTable *table);
extern void evsched_table_open_for_write(EvschedTable *table, const char *command);
extern void evsched_table_open_now(EvschedTable *table, const char *command);
extern void evsched_table_open_for_insert(EvschedTable *table, const char *command);
extern void evsched_table_close(EvschedTable *table);

extern int64 evsched_table_next_id(EvschedTable *table);
extern void evsched_table_fill(EvschedTable *table, TupleTableSlot *row, Datum *values,
							   bool *nulls);
extern void evsched_table_insert(EvschedTable *table, Datum *values, bool *nulls);
extern void evsched_table_insert_many(EvschedTable *table, TupleTableSlot **rows, int n);

extern void evsched_table_count(EvschedTable *table, EvschedCount count);

extern bool evsched_table_find(EvschedTable *table, int64 id);
extern EvschedVerdict evsched_table_change(EvschedTable *table, int64 id,
										   EvschedDecide decide, void *arg);
extern EvschedAttempt evsched_table_try_change(EvschedTable *table, int64 id,
											   EvschedDecide decide, void *arg,
											   EvschedVerdict *verdict);
extern void evsched_table_copy_next(EvschedTable *table);
extern void evsched_table_set_next(EvschedTable *table, int column, Datum value);

extern void evsched_table_begin_due(EvschedTable *table, const char *queue, EvschedPlace from);
extern bool evsched_table_next_due(EvschedTable *table);
extern void evsched_table_end_due(EvschedTable *table);
extern EvschedAttempt evsched_table_try_lock(EvschedTable *table, ItemPointer tid);
extern bool evsched_table_is_changing(EvschedTable *table);
extern EvschedAttempt evsched_table_try_delete(EvschedTable *table);
extern EvschedAttempt evsched_table_delete_locked(EvschedTable *table);

#endif							/* EVSCHED_TABLE_H */

/*
 * statement.h
 *		The SQL that evsched runs on its own tables.
 */
#ifndef EVSCHED_STATEMENT_H
#define EVSCHED_STATEMENT_H

#include "executor/spi.h"

#include "evsched.h"

typedef enum EvschedStatement
{
	EVSCHED_STMT_ROLE_FIND,
	EVSCHED_STMT_ROLE_KNOWN,
	EVSCHED_STMT_ROLE_OF,
	EVSCHED_STMT_ROLE_ADD,
	EVSCHED_STMT_ROLE_BIND,
	EVSCHED_STMT_ROLE_BIND_ALL,
	EVSCHED_STMT_ROLE_DROP_ALL,
	EVSCHED_STMT_ROLE_ELSEWHERE,
	EVSCHED_STMT_ROLE_RENAME_ALL,
	EVSCHED_STMT_QUEUE_FIND,
	EVSCHED_STMT_QUEUE_ADD,
	EVSCHED_STMT_QUEUE_LOCK,
	EVSCHED_STMT_QUEUE_SET,
	EVSCHED_STMT_QUEUE_PAUSE,
	EVSCHED_STMT_QUEUE_OWNERS,
	EVSCHED_STMT_GRANT_FIND,
	EVSCHED_STMT_GRANT_KNOWN,
	EVSCHED_STMT_GRANT_ADD,
	EVSCHED_STMT_GRANT_REMOVE,
	EVSCHED_STMT_STOPPED,
	EVSCHED_STMT_STOP,
	EVSCHED_STMT_NEXT_ID,
	EVSCHED_STMT_LAST_ID,
	EVSCHED_STMT_TRIGGERS,
	EVSCHED_STMT_USAGE,
	EVSCHED_STMT_TAKE_OVER,
	EVSCHED_STMT_CHECK,
	EVSCHED_STMT_KEY_LOCK,
	EVSCHED_STMT_KEY_INSERT,
	EVSCHED_STMT_KEY_REPLACE,
	EVSCHED_STMT_KEY_INSERT_OLD,
	EVSCHED_STMT_KEY_REPLACE_OLD,
	EVSCHED_STMT_KEY_DROP,
	EVSCHED_STMT_KEY_ID,
	EVSCHED_STMT_RUN_ADD,
	EVSCHED_STMT_RUN_PRUNE_SERIES,
	EVSCHED_STMT_RUN_PRUNE,
	EVSCHED_STMT_RUN_LAST,
	EVSCHED_STMT_HANDLER_FIND,
	EVSCHED_STMT_HANDLER_SET,
	EVSCHED_STMT_HANDLER_REMOVE,
	EVSCHED_STMT_DEAD_ADD,
	EVSCHED_STMT_DEAD_PRUNE,
	EVSCHED_STMT_DEAD_QUEUES,
	EVSCHED_STMT_DEAD_REDRIVE_QUEUE,
	EVSCHED_STMT_DEAD_REDRIVE_IDS,
	EVSCHED_STMT_DEAD_DISCARD,
	EVSCHED_NUM_STATEMENTS
} EvschedStatement;

/* On whose behalf: what end puts back. */
typedef struct EvschedCaller
{
	Oid			user;
	int			context;
	int			guc_level;
	bool		pushed_snapshot;
} EvschedCaller;

extern void evsched_statement_begin(EvschedCaller *caller);
extern void evsched_statement_end(const EvschedCaller *caller);
extern uint64 evsched_statement_run(EvschedStatement statement, Datum *values,
									const char *nulls);
extern uint64 evsched_statement_read(EvschedStatement statement, Datum *values);
extern void evsched_statement_execute(const char *sql);
extern Datum evsched_statement_value(uint64 row, int column, bool *isnull);

#endif							/* EVSCHED_STATEMENT_H */

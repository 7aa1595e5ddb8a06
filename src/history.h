/*
 * history.h
 *		The runs of jobs: what became of them, as history.
 */
#ifndef EVSCHED_HISTORY_H
#define EVSCHED_HISTORY_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "evsched.h"

typedef enum EvschedRunState
{
	EVSCHED_RUN_RUNNING,
	EVSCHED_RUN_SUCCEEDED,
	EVSCHED_RUN_FAILED,
	EVSCHED_RUN_CANCELLED,
	EVSCHED_RUN_LOST
} EvschedRunState;

/* A run, as it is written down; what is NULL or 0 is not known. */
typedef struct EvschedRecord
{
	int64		id;
	int64		event_id;
	int64		recurring;
	int32		owner;
	int32		worker;
	TimestampTz started_at;
	TimestampTz ended_at;
	bool		measured;		/* what follows is known */
	double		cpu_ms;
	int64		rows;
	int64		wal_bytes;
	int64		shared_blks;
	const char *pool;
	EvschedRunState state;
	const char *command;
	Jsonb	   *result;
	const char *sqlstate;
	const char *message;
} EvschedRecord;

extern int64 evsched_history_next_run(void);
extern void evsched_history_add(const EvschedRecord *run);
extern bool evsched_history_end(const EvschedRecord *run);

#endif							/* EVSCHED_HISTORY_H */

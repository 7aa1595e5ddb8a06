/*
 * entry.h
 *		An event to be, and entering it into the table.
 */
#ifndef EVSCHED_ENTRY_H
#define EVSCHED_ENTRY_H

#include "table.h"

typedef enum EvschedOnConflict
{
	EVSCHED_ON_CONFLICT_REPLACE,
	EVSCHED_ON_CONFLICT_KEEP,
	EVSCHED_ON_CONFLICT_ERROR
} EvschedOnConflict;

/* An event to be; what is NULL or false is not said. */
typedef struct EvschedEntry
{
	const char *queue;
	TimestampTz due_at;
	struct varlena *payload;	/* jsonb as it came */
	text	   *key;
	bool		has_max_retries;
	int32		max_retries;
	Interval   *retry_delay;
	EvschedOnConflict on_conflict;
	bool		for_all;		/* a copy for every listener */
	int32		owner;			/* set by open */

	/* of jobs */
	text	   *command;
	text	   *body;			/* to run in pool active with the result */
	Interval   *run_timeout;
	int64		handles;		/* the event whose failure it handles; 0: none */

	bool		series;			/* it stands for one */
} EvschedEntry;

extern EvschedOnConflict evsched_entry_on_conflict(text *word);
extern void evsched_entry_open(EvschedTable *table, EvschedEntry *entry, const char *function);
extern int64 evsched_entry_insert(EvschedTable *table, const EvschedEntry *entry, bool *kept);
extern int64 evsched_entry_post(EvschedEntry *entry, const char *function);
extern void evsched_entry_fill(const EvschedEntry *entry, int64 id, Datum *values, bool *nulls);

#endif							/* EVSCHED_ENTRY_H */

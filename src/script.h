/*
 * script.h
 *		The SQL of a job: its statements, run one after the other.
 */
#ifndef EVSCHED_SCRIPT_H
#define EVSCHED_SCRIPT_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* What is to be run, and what came of it. */
typedef struct EvschedScript
{
	const char *sql;
	Jsonb	   *payload;		/* $1; NULL: null */
	MemoryContext context;		/* of all that must outlive a transaction */
	List	   *statements;		/* parse trees */
	bool		controls;		/* it may end transactions by itself */

	Jsonb	   *result;			/* of the last statement that returns rows; or NULL */
	int64		rows;			/* of the last statement */
} EvschedScript;

extern void evsched_script_parse(EvschedScript *script);
extern void evsched_script_run(EvschedScript *script);

#endif							/* EVSCHED_SCRIPT_H */

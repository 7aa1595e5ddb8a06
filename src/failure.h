/*
 * failure.h
 *		What becomes of a job whose run has failed or was lost.
 */
#ifndef EVSCHED_FAILURE_H
#define EVSCHED_FAILURE_H

#include "history.h"
#include "table.h"

/* A run that did not succeed. */
typedef struct EvschedFailure
{
	EvschedRecord record;
	TimestampTz due_at;			/* when the event was due */
	uint64		serial;			/* of its lease */
	bool		counts;			/* the run is to be counted at all */
	const char *detail;			/* of the error; may be NULL */
	const char *context;		/* may be NULL */
} EvschedFailure;

extern EvschedAttempt evsched_failure_record(EvschedFailure *failure, bool wait);

#endif							/* EVSCHED_FAILURE_H */

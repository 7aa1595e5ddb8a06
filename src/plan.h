/*
 * plan.h
 *		When the occurrences of a series come, and what becomes of those that
 *		nobody could hand out in time.
 */
#ifndef EVSCHED_PLAN_H
#define EVSCHED_PLAN_H

#include "recurrence.h"
#include "statement.h"

/* What becomes of the runs that nobody could start in time. */
typedef enum EvschedMissed
{
	EVSCHED_MISSED_ONCE,
	EVSCHED_MISSED_SKIP,
	EVSCHED_MISSED_ALL
} EvschedMissed;

/* What becomes of a run that is due while the last one is still under way. */
typedef enum EvschedOverlap
{
	EVSCHED_OVERLAP_SKIP,
	EVSCHED_OVERLAP_QUEUE,
	EVSCHED_OVERLAP_PARALLEL
} EvschedOverlap;

/* A series as it is asked for. */
typedef struct EvschedTerms
{
	Interval   *period;			/* one of these two is NULL */
	text	   *schedule;
	text	   *time_zone;		/* NULL: the one of evsched.time_zone */
	EvschedMissed missed;
	EvschedOverlap overlap;
	bool		has_start;		/* the first comes then, or at the first time after it */
	bool		ahead;			/* ... and not before now, however long ago that is */
	TimestampTz start_at;
} EvschedTerms;

/* A series as it goes on. */
typedef struct EvschedPlan
{
	EvschedRecurrence recurrence;
	EvschedMissed missed;
	EvschedOverlap overlap;
} EvschedPlan;

/* Does the scheduler enter its occurrences, as something comes in? */
#define evsched_plan_is_watch(plan) \
	((plan)->recurrence.kind == EVSCHED_RECURRENCE_NONE)

extern EvschedMissed evsched_plan_missed(text *word);
extern EvschedOverlap evsched_plan_overlap(text *word);

extern TimestampTz evsched_plan_make(EvschedPlan *plan, const EvschedTerms *terms,
									 TimestampTz now);
extern TimestampTz evsched_plan_next(const EvschedPlan *plan, TimestampTz planned_at,
									 TimestampTz now);
extern bool evsched_plan_has_missed(const EvschedPlan *plan, TimestampTz planned_at,
									TimestampTz now, TimestampTz served_since);

/* Between begin and end of statements. */
extern bool evsched_plan_save(const EvschedPlan *plan, int64 series, text *schedule);
extern bool evsched_plan_lock(EvschedPlan *plan, int64 series, EvschedStatement lock);

#endif							/* EVSCHED_PLAN_H */

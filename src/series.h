/*
 * series.h
 *		Recurring events: posting them, and going on from one occurrence to the
 *		next.
 */
#ifndef EVSCHED_SERIES_H
#define EVSCHED_SERIES_H

#include "entry.h"

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

/* When the occurrences of a series to be come. */
typedef struct EvschedSeriesTerms
{
	Interval   *period;			/* one of these two is NULL */
	text	   *schedule;
	text	   *time_zone;		/* NULL: the one of evsched.time_zone */
	EvschedMissed missed;
	EvschedOverlap overlap;
	bool		has_start;		/* the first comes then, or at the first time after it */
	TimestampTz start_at;
} EvschedSeriesTerms;

extern EvschedMissed evsched_series_missed(text *word);
extern EvschedOverlap evsched_series_overlap(text *word);
extern int64 evsched_series_post(EvschedEntry *entry, EvschedSeriesTerms *terms,
								 const char *function);

#endif							/* EVSCHED_SERIES_H */

/*
 * lateness.h
 *		How late events were handed out: a histogram.
 */
#ifndef EVSCHED_LATENESS_H
#define EVSCHED_LATENESS_H

#include "evsched.h"

#define EVSCHED_LATENESS_BOUNDS		19

/* The last one takes what is beyond all bounds. */
#define EVSCHED_LATENESS_BUCKETS	(EVSCHED_LATENESS_BOUNDS + 1)

/* The sum is no integer: some due times are thousands of years ago. */
typedef struct EvschedLateness
{
	int64		buckets[EVSCHED_LATENESS_BUCKETS];
	double		sum;			/* µs */
	int64		max;			/* µs */
} EvschedLateness;

/* Up to which lateness each bucket goes, in µs. */
extern const int64 evsched_lateness_bounds[EVSCHED_LATENESS_BOUNDS];

extern void evsched_lateness_add(EvschedLateness *lateness, int64 us);
extern void evsched_lateness_merge(EvschedLateness *into, const EvschedLateness *from);
extern int64 evsched_lateness_count(const EvschedLateness *lateness);
extern int64 evsched_lateness_quantile(const EvschedLateness *lateness, double fraction);

#endif							/* EVSCHED_LATENESS_H */

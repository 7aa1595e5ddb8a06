/*
 * lateness.c
 *		How late events were handed out: a histogram with three buckets for each
 *		power of ten.
 *
 * Pure arithmetic: any process may call it, in any state.  Who shares a
 * histogram sees to its locks.
 */
#include "postgres.h"

#include "lateness.h"

#include <math.h>

const int64 evsched_lateness_bounds[EVSCHED_LATENESS_BOUNDS] = {
	50, 100, 200, 500,
	1000, 2000, 5000,
	10000, 20000, 50000,
	100000, 200000, 500000,
	1000000, 2000000, 5000000,
	10000000, 30000000, 60000000
};

/* Early is not late, whatever the clock has done meanwhile. */
void
evsched_lateness_add(EvschedLateness *lateness, int64 us)
{
	int			bucket = 0;

	us = Max(us, 0);
	while (bucket < EVSCHED_LATENESS_BOUNDS && us > evsched_lateness_bounds[bucket])
		bucket++;
	lateness->buckets[bucket]++;
	lateness->sum += us;
	lateness->max = Max(lateness->max, us);
}

void
evsched_lateness_merge(EvschedLateness *into, const EvschedLateness *from)
{
	for (int i = 0; i < EVSCHED_LATENESS_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	into->sum += from->sum;
	into->max = Max(into->max, from->max);
}

int64
evsched_lateness_count(const EvschedLateness *lateness)
{
	int64		count = 0;

	for (int i = 0; i < EVSCHED_LATENESS_BUCKETS; i++)
		count += lateness->buckets[i];
	return count;
}

/*
 * A lateness that this fraction of the events did not exceed, in µs: the bound of
 * a bucket, or the greatest lateness of all where that is less; -1 without events.
 */
int64
evsched_lateness_quantile(const EvschedLateness *lateness, double fraction)
{
	int64		count = evsched_lateness_count(lateness);
	int64		wanted = (int64) ceil(count * fraction);
	int64		seen = 0;

	if (count == 0)
		return -1;
	for (int i = 0; i < EVSCHED_LATENESS_BOUNDS; i++)
	{
		seen += lateness->buckets[i];
		if (seen >= wanted)
			return Min(evsched_lateness_bounds[i], lateness->max);
	}
	return lateness->max;
}

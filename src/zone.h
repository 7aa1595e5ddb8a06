/*
 * zone.h
 *		Time zones: what their clocks show, and when.
 *
 * A TimestampTz is an instant; a Timestamp is what the clocks of a zone show.
 */
#ifndef EVSCHED_ZONE_H
#define EVSCHED_ZONE_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/* A piece of time in which a zone's clocks are not changed. */
typedef struct EvschedStretch
{
	TimestampTz begin;			/* belongs to it */
	TimestampTz end;			/* does not; DT_NOEND: it has none that matters */
	int64		offset;			/* what the clocks are ahead of UTC, in µs */
} EvschedStretch;

/* How many whole units are in a number; rounds down, below zero too. */
static inline int64
evsched_floor_div(int64 number, int64 unit)
{
	return number / unit - (number % unit < 0 ? 1 : 0);
}

/* Later than any clock shows an instant that is a valid timestamptz. */
#define EVSCHED_LOCAL_END	(END_TIMESTAMP + 7 * USECS_PER_DAY)

extern bool evsched_zone_is_known(const char *name);
extern pg_tz *evsched_zone_find(const char *name);
extern EvschedStretch evsched_zone_stretch(pg_tz *zone, TimestampTz at);
extern Timestamp evsched_zone_reached(pg_tz *zone, TimestampTz at);
extern TimestampTz evsched_zone_instant(pg_tz *zone, Timestamp local);

#endif							/* EVSCHED_ZONE_H */

/*
 * period.h
 *		Periods: occurrences at a fixed distance from a start.
 */
#ifndef EVSCHED_PERIOD_H
#define EVSCHED_PERIOD_H

#include "datatype/timestamp.h"
#include "pgtime.h"

typedef struct EvschedPeriod
{
	TimestampTz start;			/* occurrence 0 */
	Interval	length;
} EvschedPeriod;

extern void evsched_period_check(const Interval *length);
extern TimestampTz evsched_period_next(const EvschedPeriod *period, pg_tz *zone,
									   TimestampTz after);

#endif							/* EVSCHED_PERIOD_H */

/*
 * recurrence.h
 *		What recurs: a cron schedule or a period, in a time zone.
 */
#ifndef EVSCHED_RECURRENCE_H
#define EVSCHED_RECURRENCE_H

#include "pgtime.h"

#include "cron.h"
#include "period.h"

typedef enum EvschedRecurrenceKind
{
	EVSCHED_RECURRENCE_CRON,
	EVSCHED_RECURRENCE_PERIOD,
	EVSCHED_RECURRENCE_NONE		/* a watch's: it waits for something to come in */
} EvschedRecurrenceKind;

typedef struct EvschedRecurrence
{
	EvschedRecurrenceKind kind;
	pg_tz	   *zone;			/* of nothing that recurs by the clock: NULL */
	union
	{
		EvschedCron cron;
		EvschedPeriod period;
	};
} EvschedRecurrence;

extern void evsched_recurrence_of_cron(EvschedRecurrence *recurrence, const char *schedule);
extern void evsched_recurrence_of_period(EvschedRecurrence *recurrence,
										 const Interval *length, TimestampTz start);
extern TimestampTz evsched_recurrence_next(const EvschedRecurrence *recurrence,
										   TimestampTz after);

#endif							/* EVSCHED_RECURRENCE_H */

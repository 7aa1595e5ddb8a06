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
	EVSCHED_RECURRENCE_PERIOD
} EvschedRecurrenceKind;

typedef struct EvschedRecurrence
{
	EvschedRecurrenceKind kind;
	pg_tz	   *zone;
	union
	{
		EvschedCron cron;
		EvschedPeriod period;
	};
} EvschedRecurrence;

extern TimestampTz evsched_recurrence_next(const EvschedRecurrence *recurrence,
										   TimestampTz after);

#endif							/* EVSCHED_RECURRENCE_H */

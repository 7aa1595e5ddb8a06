/*
 * recurrence.c
 *		When something recurs next.
 *
 * Pure: reads no clock and no catalog.
 *
 * Where the clocks of a zone are changed, a cron schedule with a fixed hour
 * comes once for each local time: in an overlap at the first pass, and for all
 * times in a gap once, at its end.  With hour * or stepped it comes whenever
 * the clocks show what it names: in both passes, and in no gap.
 */
#include "postgres.h"

#include "recurrence.h"

#include "utils/timestamp.h"

#include "zone.h"

static TimestampTz next_by_clock(const EvschedCron *cron, pg_tz *zone, TimestampTz after);
static TimestampTz next_by_time(const EvschedCron *cron, pg_tz *zone, TimestampTz after);

/* Makes it a cron schedule, all but the zone; raises 22023. */
void
evsched_recurrence_of_cron(EvschedRecurrence *recurrence, const char *schedule)
{
	recurrence->kind = EVSCHED_RECURRENCE_CRON;
	evsched_cron_parse(schedule, &recurrence->cron);
}

/* Makes it a period that is counted from its start, all but the zone; raises 22023. */
void
evsched_recurrence_of_period(EvschedRecurrence *recurrence, const Interval *length,
							 TimestampTz start)
{
	evsched_period_check(length);
	recurrence->kind = EVSCHED_RECURRENCE_PERIOD;
	recurrence->period.start = start;
	recurrence->period.length = *length;
}

/* The first time after an instant; DT_NOEND: none before the end of time. */
TimestampTz
evsched_recurrence_next(const EvschedRecurrence *recurrence, TimestampTz after)
{
	TimestampTz next;

	if (after >= END_TIMESTAMP || recurrence->kind == EVSCHED_RECURRENCE_NONE)
		return DT_NOEND;
	after = Max(after, MIN_TIMESTAMP - 1);
	if (recurrence->kind == EVSCHED_RECURRENCE_PERIOD)
		next = evsched_period_next(&recurrence->period, recurrence->zone, after);
	else if (recurrence->cron.absolute)
		next = next_by_time(&recurrence->cron, recurrence->zone, after);
	else
		next = next_by_clock(&recurrence->cron, recurrence->zone, after);
	return next < END_TIMESTAMP ? next : DT_NOEND;
}

/* Fixed hour: the next local time that the clocks have not reached yet. */
static TimestampTz
next_by_clock(const EvschedCron *cron, pg_tz *zone, TimestampTz after)
{
	Timestamp	reached = evsched_zone_reached(zone, after);
	Timestamp	local = evsched_cron_first(cron, reached + 1, EVSCHED_LOCAL_END);

	return local == DT_NOEND ? DT_NOEND : evsched_zone_instant(zone, local);
}

/* Hour * or stepped: what the clocks show, one stretch after the other. */
static TimestampTz
next_by_time(const EvschedCron *cron, pg_tz *zone, TimestampTz after)
{
	EvschedStretch stretch = evsched_zone_stretch(zone, after + 1);

	for (;;)
	{
		Timestamp	end = stretch.end == DT_NOEND ? EVSCHED_LOCAL_END :
			stretch.end + stretch.offset;
		Timestamp	local = evsched_cron_first(cron, stretch.begin + stretch.offset, end);

		if (local != DT_NOEND)
			return local - stretch.offset;
		if (stretch.end == DT_NOEND)
			return DT_NOEND;
		stretch = evsched_zone_stretch(zone, stretch.end);
	}
}

/*
 * period.c
 *		Periods: occurrence n is at start + n * length, days and months by the
 *		calendar of a zone.
 *
 * Pure.  Each occurrence is computed from the start, so nothing drifts, and the
 * 31st comes again after a month that is shorter.
 */
#include "postgres.h"

#include "period.h"

#include "common/int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "compat.h"
#include "zone.h"

#define MIN_LENGTH		INT64CONST(1000)

/* The Gregorian calendar's mean, of 400 years; and how far from it a date can be. */
#define MEAN_MONTH		(146097.0 / 4800 * USECS_PER_DAY)
#define SLACK			(8.0 * USECS_PER_DAY)

/* Before it there is no date; makes all years positive. */
#define YEAR_BIAS		4800

static TimestampTz next_by_time(const EvschedPeriod *period, TimestampTz after);
static int64 guess_number(const EvschedPeriod *period, TimestampTz after);
static TimestampTz occurrence(const EvschedPeriod *period, pg_tz *zone, int64 n);
static int64 add_to_date(int date, int64 months, int64 days);

/* Refuses what is no period. */
void
evsched_period_check(const Interval *length)
{
	if (!evsched_interval_is_finite(length) ||
		length->month < 0 || length->day < 0 || length->time < 0 ||
		(length->month == 0 && length->day == 0 && length->time < MIN_LENGTH))
		evsched_arg_refuse("invalid period",
						   "It is at least 1 ms, with no part (months, days, time) below zero.");
}

/* The first occurrence after an instant; DT_NOEND: none before the end of time. */
TimestampTz
evsched_period_next(const EvschedPeriod *period, pg_tz *zone, TimestampTz after)
{
	TimestampTz next;
	int64		n;

	if (after < period->start)
		return period->start;
	if (period->length.month == 0 && period->length.day == 0)
		return next_by_time(period, after);
	n = guess_number(period, after);
	while (n > 0 && occurrence(period, zone, n) > after)
		n--;
	while ((next = occurrence(period, zone, n)) <= after)
		n++;
	return next;
}

/* Without days and months it is a division. */
static TimestampTz
next_by_time(const EvschedPeriod *period, TimestampTz after)
{
	uint64		length = period->length.time;
	uint64		elapsed = (uint64) after - (uint64) period->start;
	int64		wait = length - elapsed % length;

	return after >= END_TIMESTAMP - wait ? DT_NOEND : after + wait;
}

/* The number of an occurrence shortly before an instant. */
static int64
guess_number(const EvschedPeriod *period, TimestampTz after)
{
	double		length = period->length.month * MEAN_MONTH +
		(double) period->length.day * USECS_PER_DAY + period->length.time;
	double		elapsed = (double) after - period->start - SLACK;

	return elapsed <= 0 ? 0 : (int64) (elapsed / length);
}

/* When occurrence n is; DT_NOEND: not before the end of time. */
static TimestampTz
occurrence(const EvschedPeriod *period, pg_tz *zone, int64 n)
{
	Timestamp	start = period->start + evsched_zone_stretch(zone, period->start).offset;
	int64		day = evsched_floor_div(start, USECS_PER_DAY);
	int64		date;
	int64		time;
	TimestampTz instant;

	if (n == 0)
		return period->start;
	date = add_to_date(day + POSTGRES_EPOCH_JDATE, n * period->length.month,
					   n * period->length.day);
	if (date > TIMESTAMP_END_JULIAN || pg_mul_s64_overflow(n, period->length.time, &time))
		return DT_NOEND;
	instant = evsched_zone_instant(zone, (date - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
								   start - day * USECS_PER_DAY);
	return instant >= END_TIMESTAMP - time ? DT_NOEND : instant + time;
}

/* A Julian date some months and then some days later; month ends clamp. */
static int64
add_to_date(int date, int64 months, int64 days)
{
	int			year;
	int			month;
	int			day;

	j2date(date, &year, &month, &day);
	months += (year + YEAR_BIAS) * MONTHS_PER_YEAR + month - 1;
	if (months / MONTHS_PER_YEAR > JULIAN_MAXYEAR)
		return PG_INT32_MAX;
	year = months / MONTHS_PER_YEAR - YEAR_BIAS;
	month = months % MONTHS_PER_YEAR;
	day = Min(day, day_tab[isleap(year)][month]);
	return date2j(year, month + 1, day) + days;
}

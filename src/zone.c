/*
 * zone.c
 *		Time zones: what their clocks show, and when.
 *
 * Pure but for the server's own cache of zones: reads no clock and no catalog.
 *
 * Clocks are set forward (there is a gap: local times that no clock shows) and
 * back (there is an overlap: local times that come twice).  What a local time
 * stands for is decided here, for all schedules: its first pass, and for one in
 * a gap the first instant after it.
 */
#include "postgres.h"

#include "zone.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "arg.h"

/*
 * Longer than any clock is away from UTC (167 hours at most, in a zone that is
 * spelled out) and than any overlap.
 */
#define LOOK_BACK		(9 * USECS_PER_DAY)

#define EPOCH_SECONDS	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * INT64CONST(86400))

bool
evsched_zone_is_known(const char *name)
{
	pg_tz	   *zone = name[0] == '\0' ? NULL : pg_tzset(name);

	return zone != NULL && pg_tz_acceptable(zone);
}

/* The zone of that name; raises 22023. */
pg_tz *
evsched_zone_find(const char *name)
{
	if (!evsched_zone_is_known(name))
		evsched_arg_refuse(psprintf("unknown time zone: \"%s\"", evsched_arg_clip(name)),
						   "Give a name of pg_timezone_names, such as 'Europe/Berlin' or 'UTC'.");
	return pg_tzset(name);
}

/* The stretch that an instant lies in, from that instant on. */
EvschedStretch
evsched_zone_stretch(pg_tz *zone, TimestampTz at)
{
	EvschedStretch stretch = {.begin = at, .end = DT_NOEND};
	pg_time_t	second = evsched_floor_div(at, USECS_PER_SEC) + EPOCH_SECONDS;
	pg_time_t	boundary;
	long int	offset;
	long int	next_offset;
	int			dst;
	int			next_dst;
	int			found;

	found = pg_next_dst_boundary(&second, &offset, &dst, &boundary,
								 &next_offset, &next_dst, zone);

	/*
	 * At the very instant of the last change that the zone's file lists, the server
	 * does not look at the rule that goes on from there; a second later it does.
	 */
	if (found == 0)
	{
		second++;
		found = pg_next_dst_boundary(&second, &offset, &dst, &boundary,
									 &next_offset, &next_dst, zone);
	}
	stretch.offset = offset * USECS_PER_SEC;
	if (found > 0 && boundary - EPOCH_SECONDS < END_TIMESTAMP / USECS_PER_SEC)
		stretch.end = (boundary - EPOCH_SECONDS) * USECS_PER_SEC;
	return stretch;
}

/* The latest local time that the clocks have shown up to an instant. */
Timestamp
evsched_zone_reached(pg_tz *zone, TimestampTz at)
{
	EvschedStretch stretch = evsched_zone_stretch(zone, at - LOOK_BACK);
	Timestamp	reached = DT_NOBEGIN;

	while (stretch.end <= at)
	{
		reached = Max(reached, stretch.end + stretch.offset - 1);
		stretch = evsched_zone_stretch(zone, stretch.end);
	}
	return Max(reached, at + stretch.offset);
}

/* The first instant at which the clocks have reached a local time. */
TimestampTz
evsched_zone_instant(pg_tz *zone, Timestamp local)
{
	EvschedStretch stretch = evsched_zone_stretch(zone, local - LOOK_BACK);

	while (stretch.end != DT_NOEND && stretch.end + stretch.offset <= local)
		stretch = evsched_zone_stretch(zone, stretch.end);
	return Max(stretch.begin, local - stretch.offset);
}

/*
 * plan.c
 *		When the occurrences of a series come, and what becomes of those that
 *		nobody could hand out in time.
 *
 * A plan is a row of evsched.recurrence, read and written between begin and end
 * of statements; the arithmetic with it is pure.  Each time follows from the
 * planned one before it, never from when that was handed out.
 */
#include "postgres.h"

#include "plan.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "guc.h"
#include "server_zone.h"
#include "shared.h"
#include "zone.h"

static const char *const missed_words[] = {"once", "skip", "all"};
static const char *const overlap_words[] = {"skip", "queue", "parallel"};

static bool read_recurrence(EvschedRecurrence *recurrence);
static void log_unknown_zone(int64 series, const char *zone);
static pg_tz *find_zone(const EvschedTerms *terms);
static TimestampTz first_time(const EvschedPlan *plan, const EvschedTerms *terms,
							  TimestampTz now);
static int	count_until(const EvschedPlan *plan, TimestampTz after, TimestampTz now, int max);
static TimestampTz catch_up_after(const EvschedPlan *plan, TimestampTz after, TimestampTz now);
static text *word_at(int column);

EvschedMissed
evsched_plan_missed(text *word)
{
	return evsched_arg_word(word, "missed", missed_words, lengthof(missed_words));
}

EvschedOverlap
evsched_plan_overlap(text *word)
{
	return evsched_arg_word(word, "overlap", overlap_words, lengthof(overlap_words));
}

/* Makes a plan of what is asked for; returns its first time.  Raises 22023. */
TimestampTz
evsched_plan_make(EvschedPlan *plan, const EvschedTerms *terms, TimestampTz now)
{
	TimestampTz first;

	if (terms->period != NULL && terms->schedule != NULL)
		evsched_arg_refuse("every and cron do not go together", "Give one of the two.");
	if (terms->has_start && TIMESTAMP_NOT_FINITE(terms->start_at))
		evsched_arg_refuse("a series needs a finite start", "Give a time, or no time at all.");
	plan->missed = terms->missed;
	plan->overlap = terms->overlap;
	if (terms->period != NULL)
		evsched_recurrence_of_period(&plan->recurrence, terms->period,
									 terms->has_start ? terms->start_at : now);
	else
		evsched_recurrence_of_cron(&plan->recurrence, text_to_cstring(terms->schedule));
	plan->recurrence.zone = find_zone(terms);
	first = first_time(plan, terms, now);
	if (first == DT_NOEND)
		evsched_arg_refuse("the series has no first time", "Give a start in the range of timestamptz.");
	return first;
}

/* The time to wait for when the one planned then is handed out or dropped. */
TimestampTz
evsched_plan_next(const EvschedPlan *plan, TimestampTz planned_at, TimestampTz now)
{
	TimestampTz after = Max(planned_at, now);

	if (plan->missed == EVSCHED_MISSED_ALL)
		after = catch_up_after(plan, planned_at, now);
	return evsched_recurrence_next(&plan->recurrence, after);
}

/* Is the one planned then to be dropped, for it was not handed out in time? */
bool
evsched_plan_has_missed(const EvschedPlan *plan, TimestampTz planned_at, TimestampTz now,
						TimestampTz served_since)
{
	switch (plan->missed)
	{
		case EVSCHED_MISSED_ONCE:
			break;
		case EVSCHED_MISSED_SKIP:
			return planned_at < served_since || count_until(plan, planned_at, now, 1) > 0;
		case EVSCHED_MISSED_ALL:
			return count_until(plan, planned_at, now, evsched_max_catch_up) == evsched_max_catch_up;
	}
	return false;
}

/*
 * Stores the plan of a series, in place of an older one; false: that one is newer than
 * the transaction's snapshot.
 */
bool
evsched_plan_save(const EvschedPlan *plan, int64 series, text *schedule)
{
	const EvschedRecurrence *recurrence = &plan->recurrence;
	bool		has_period = recurrence->kind == EVSCHED_RECURRENCE_PERIOD;
	Datum		values[] = {
		Int64GetDatum(series),
		has_period ? TimestampTzGetDatum(recurrence->period.start) : (Datum) 0,
		has_period ? IntervalPGetDatum(&recurrence->period.length) : (Datum) 0,
		PointerGetDatum(schedule),
		CStringGetTextDatum(pg_get_timezone_name(recurrence->zone)),
		CStringGetTextDatum(missed_words[plan->missed]),
		CStringGetTextDatum(overlap_words[plan->overlap])
	};
	const char *nulls = has_period ? "   n   " : " nn    ";

	/* ON CONFLICT would not do: a trigger passes over what is there (note.c). */
	return evsched_statement_run(EVSCHED_STMT_SERIES_CHANGE, values, nulls) > 0 ||
		evsched_statement_run(EVSCHED_STMT_SERIES_ADD, values, nulls) > 0;
}

/*
 * Reads the plan of a series with one of the statements that lock it; false where
 * there is none, or none to be had.
 */
bool
evsched_plan_lock(EvschedPlan *plan, int64 series, EvschedStatement lock)
{
	Datum		id = Int64GetDatum(series);
	bool		by_clock;

	if (evsched_statement_run(lock, &id, NULL) == 0)
		return false;
	by_clock = read_recurrence(&plan->recurrence);
	/* Who hands out events must not fail because one series can no longer be read. */
	if (by_clock && lock == EVSCHED_STMT_SERIES_SHARE &&
		!evsched_zone_is_known(text_to_cstring(word_at(4))))
	{
		log_unknown_zone(series, text_to_cstring(word_at(4)));
		return false;
	}
	plan->recurrence.zone = by_clock ? evsched_zone_find(text_to_cstring(word_at(4))) : NULL;
	plan->missed = evsched_plan_missed(word_at(5));
	plan->overlap = evsched_plan_overlap(word_at(6));
	return true;
}

/* Of the row read last, all but the zone; false: it is a watch. */
static bool
read_recurrence(EvschedRecurrence *recurrence)
{
	bool		has_period;
	bool		has_schedule;
	bool		isnull;
	Datum		start_at = evsched_statement_value(0, 1, &isnull);
	Datum		period = evsched_statement_value(0, 2, &isnull);

	has_period = !isnull;
	(void) evsched_statement_value(0, 3, &isnull);
	has_schedule = !isnull;
	if (has_period)
		evsched_recurrence_of_period(recurrence, DatumGetIntervalP(period),
									 DatumGetTimestampTz(start_at));
	else if (has_schedule)
		evsched_recurrence_of_cron(recurrence, text_to_cstring(word_at(3)));
	else
		recurrence->kind = EVSCHED_RECURRENCE_NONE;
	return has_period || has_schedule;
}

/* Its events wait until the zone is there again, or the series is posted anew. */
static void
log_unknown_zone(int64 series, const char *zone)
{
	static bool logged = false;

	if (!logged)
		ereport(LOG,
				(errmsg("evsched: series " INT64_FORMAT " waits: time zone \"%s\" is not known here",
						series, evsched_arg_clip(zone)),
				 errhint("Install it with the system's or the server's time zones,"
						 " or post the series again with another.")));
	logged = true;
}

/* Where nobody knows the server's zone, periods of hours can do without one. */
static pg_tz *
find_zone(const EvschedTerms *terms)
{
	if (terms->time_zone == NULL && !evsched_shared_ready() && terms->period != NULL &&
		terms->period->day == 0 && terms->period->month == 0)
		return evsched_zone_find("UTC");
	return evsched_server_zone_or(terms->time_zone);
}

static TimestampTz
first_time(const EvschedPlan *plan, const EvschedTerms *terms, TimestampTz now)
{
	if (!terms->has_start)
		return evsched_recurrence_next(&plan->recurrence, now);
	if (terms->ahead)
		return evsched_recurrence_next(&plan->recurrence, Max(terms->start_at, now) - 1);
	return evsched_recurrence_next(&plan->recurrence, terms->start_at - 1);
}

/* How many come after an instant and by now; no more than max are counted. */
static int
count_until(const EvschedPlan *plan, TimestampTz after, TimestampTz now, int max)
{
	int			n = 0;

	while (n < max && (after = evsched_recurrence_next(&plan->recurrence, after)) <= now)
		n++;
	return n;
}

/*
 * The first instant after which no more come by now than may be caught up with.
 * There is no going back from now, so it is looked for by halving.
 */
static TimestampTz
catch_up_after(const EvschedPlan *plan, TimestampTz after, TimestampTz now)
{
	int			max = evsched_max_catch_up;
	TimestampTz until = now;

	if (count_until(plan, after, now, max + 1) <= max)
		return after;
	while (until - after > 1)
	{
		TimestampTz middle = after + (until - after) / 2;

		if (count_until(plan, middle, now, max + 1) > max)
			after = middle;
		else
			until = middle;
	}
	return until;
}

/* A text of the row read last. */
static text *
word_at(int column)
{
	bool		isnull;

	return DatumGetTextPP(evsched_statement_value(0, column, &isnull));
}

/*
 * cron.c
 *		Cron schedules: read from their text, and looked up in the calendar.
 *
 * Pure.  All times are local ones; what the clocks of a zone do to them stands in
 * recurrence.c.  Errors are SQLSTATE 22023.
 */
#include "postgres.h"

#include "cron.h"

#include "port/pg_bitutils.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "arg.h"
#include "zone.h"

/* Longer than any that names each value of each field. */
#define MAX_BYTES		1000

#define SPACES			" \t\n\r\f\v"

#define ALL_HOURS		0x00FFFFFFU
#define ALL_DAYS		0xFFFFFFFEU
#define ALL_WEEKDAYS	0x7FU
#define LAST_DAY		1U

typedef struct Field
{
	const char *name;
	int			min;
	int			max;			/* of * and of open steps */
	int			top;			/* of what may be written */
	const char *names;			/* three letters each, the first one for min */
	const char *values;			/* what may be written, for the hint */
} Field;

enum
{
	FIELD_SECOND,
	FIELD_MINUTE,
	FIELD_HOUR,
	FIELD_DAY,
	FIELD_MONTH,
	FIELD_WEEKDAY,
	NUM_FIELDS
};

static const Field fields[NUM_FIELDS] = {
	[FIELD_SECOND] = {"second", 0, 59, 59, "", "0 to 59"},
	[FIELD_MINUTE] = {"minute", 0, 59, 59, "", "0 to 59"},
	[FIELD_HOUR] = {"hour", 0, 23, 23, "", "0 to 23"},
	[FIELD_DAY] = {"day of month", 1, 31, 31, "", "1 to 31, L for the last day"},
	[FIELD_MONTH] = {"month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec",
	"1 to 12, jan to dec"},
	[FIELD_WEEKDAY] = {"day of week", 0, 6, 7, "sunmontuewedthufrisat",
	"0 to 7 (0 and 7 are Sunday), sun to sat"},
};

static const char *const shorthands[][2] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

static int	split_fields(const char *text, const char **tokens);
static const char *spell_out(const char *text);
static uint64 read_field(const Field *field, const char *token);
static bool read_item(const Field *field, const char **at, uint64 *bits);
static bool read_range(const Field *field, const char **at, int *first, int *last);
static int	read_value(const Field *field, const char **at);
static int	read_number(const char **at);
static void refuse_field(const Field *field, const char *token);
static bool has_date(const EvschedCron *cron);
static int	next_day(const EvschedCron *cron, int from, int last);
static uint32 days_of_month(const EvschedCron *cron, int year, int month, int first);
static int	next_time(const EvschedCron *cron, int from);
static int	next_bit(uint64 bits, int from);

/* Reads a schedule. */
void
evsched_cron_parse(const char *text, EvschedCron *cron)
{
	const char *tokens[NUM_FIELDS + 1];
	int			n = split_fields(spell_out(text), tokens);
	uint64		bits[NUM_FIELDS];

	if (n != NUM_FIELDS && n != NUM_FIELDS - 1)
		evsched_arg_refuse(psprintf("invalid cron schedule: \"%s\"", evsched_arg_clip(text)),
						   "It has 5 fields: minute, hour, day of month, month, day of week; "
						   "or 6, with the second before them; or it is one of @yearly, "
						   "@monthly, @weekly, @daily, @hourly.");
	if (n < NUM_FIELDS)
	{
		memmove(&tokens[1], &tokens[0], n * sizeof(tokens[0]));
		tokens[FIELD_SECOND] = "0";
	}
	for (int i = 0; i < NUM_FIELDS; i++)
		bits[i] = read_field(&fields[i], tokens[i]);
	*cron = (EvschedCron)
	{
		.seconds = bits[FIELD_SECOND], .minutes = bits[FIELD_MINUTE],
			.hours = bits[FIELD_HOUR], .days = bits[FIELD_DAY], .months = bits[FIELD_MONTH],
			.weekdays = (bits[FIELD_WEEKDAY] | bits[FIELD_WEEKDAY] >> 7) & ALL_WEEKDAYS
	};
	/* A range over all days is meant to restrict, as in other crons. */
	cron->either_day =
		(tokens[FIELD_DAY][0] != '*' || (cron->days & ALL_DAYS) != ALL_DAYS) &&
		(tokens[FIELD_WEEKDAY][0] != '*' || cron->weekdays != ALL_WEEKDAYS);
	cron->absolute = cron->hours == ALL_HOURS || strchr(tokens[FIELD_HOUR], '/') != NULL;
	if (!has_date(cron))
		evsched_arg_refuse(psprintf("cron schedule never comes: \"%s\"",
									evsched_arg_clip(text)),
						   "Give a day that one of its months has.");
}

/* The first local time of a schedule from one on; DT_NOEND: none before `before`. */
Timestamp
evsched_cron_first(const EvschedCron *cron, Timestamp from, Timestamp before)
{
	int64		second = evsched_floor_div(from + USECS_PER_SEC - 1, USECS_PER_SEC);
	int64		day = evsched_floor_div(second, SECS_PER_DAY);
	int			time = second - day * SECS_PER_DAY;
	int			date = day + POSTGRES_EPOCH_JDATE;
	int			last = POSTGRES_EPOCH_JDATE + evsched_floor_div(before - 1, USECS_PER_DAY);
	Timestamp	found;

	for (;;)
	{
		int			next = next_day(cron, date, last);

		if (next > last)
			return DT_NOEND;
		time = next_time(cron, next == date ? time : 0);
		date = next;
		if (time >= 0)
			break;
		date++;
		time = 0;
	}
	found = (date - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + time * USECS_PER_SEC;
	return found < before ? found : DT_NOEND;
}

/* Takes a text apart at its spaces; returns how many parts it has, up to one too many. */
static int
split_fields(const char *text, const char **tokens)
{
	char	   *rest;
	int			n = 0;

	if (strlen(text) > MAX_BYTES)
		return 0;
	for (char *token = strtok_r(pstrdup(text), SPACES, &rest);
		 token != NULL && n <= NUM_FIELDS; token = strtok_r(NULL, SPACES, &rest))
		tokens[n++] = token;
	return n;
}

/* What a shorthand stands for; any other text itself. */
static const char *
spell_out(const char *text)
{
	const char *tokens[NUM_FIELDS + 1];

	if (split_fields(text, tokens) != 1)
		return text;
	for (int i = 0; i < lengthof(shorthands); i++)
	{
		if (pg_strcasecmp(tokens[0], shorthands[i][0]) == 0)
			return shorthands[i][1];
	}
	return text;
}

/* The values that a field names. */
static uint64
read_field(const Field *field, const char *token)
{
	const char *at = token;
	uint64		bits = 0;

	for (;;)
	{
		if (!read_item(field, &at, &bits))
			refuse_field(field, token);
		if (*at == '\0')
			return bits;
		if (*at++ != ',')
			refuse_field(field, token);
	}
}

/* One of a list: the last day, a value, a range, or these with a step. */
static bool
read_item(const Field *field, const char **at, uint64 *bits)
{
	int			first;
	int			last;
	int			step = 1;

	if (field == &fields[FIELD_DAY] && **at != '\0' && strchr("Ll$", **at) != NULL)
	{
		(*at)++;
		*bits |= LAST_DAY;
		return true;
	}
	if (!read_range(field, at, &first, &last))
		return false;
	if (**at == '/')
	{
		(*at)++;
		step = read_number(at);
		/* More would not be what it seems: every 90 minutes is no cron schedule. */
		if (step < 1 || step > field->max - field->min + 1)
			return false;
		if (last < 0)
			last = Max(field->max, first);
	}
	for (int value = first; value <= Max(first, last); value += step)
		*bits |= UINT64CONST(1) << value;
	return true;
}

/* *, a range, or a single value, whose `last` is -1. */
static bool
read_range(const Field *field, const char **at, int *first, int *last)
{
	if (**at == '*')
	{
		(*at)++;
		*first = field->min;
		*last = field->max;
		return true;
	}
	*last = -1;
	*first = read_value(field, at);
	if (*first < 0 || **at != '-')
		return *first >= 0;
	(*at)++;
	*last = read_value(field, at);
	/* A range to Sunday ends the week. */
	if (field == &fields[FIELD_WEEKDAY] && *last == 0 && *first > 0)
		*last = field->top;
	return *last >= *first;
}

/* A number or a name; -1: it is none, or out of range. */
static int
read_value(const Field *field, const char **at)
{
	int			value;

	for (int i = 0; field->names[i] != '\0'; i += 3)
	{
		if (pg_strncasecmp(*at, &field->names[i], 3) == 0)
		{
			*at += 3;
			return field->min + i / 3;
		}
	}
	value = read_number(at);
	return value < field->min || value > field->top ? -1 : value;
}

/* A number of up to four digits; -1: there is none. */
static int
read_number(const char **at)
{
	int			digits = strspn(*at, "0123456789");
	int			number = 0;

	if (digits < 1 || digits > 4)
		return -1;
	while (digits-- > 0)
		number = number * 10 + *(*at)++ - '0';
	return number;
}

static void
refuse_field(const Field *field, const char *token)
{
	evsched_arg_refuse(psprintf("invalid %s in cron schedule: \"%s\"", field->name,
								evsched_arg_clip(token)),
					   psprintf("It is a list, with commas, of *, %s, and ranges upwards such as "
								"%d-%d; each also with a step of 1 to %d, such as */2.",
								field->values, field->min, field->min + 3,
								field->max - field->min + 1));
}

/* Is there a date in some year? */
static bool
has_date(const EvschedCron *cron)
{
	const int	leap_year = 2000;

	for (int month = next_bit(cron->months, 1); month >= 0;
		 month = next_bit(cron->months, month + 1))
	{
		if (days_of_month(cron, leap_year, month, date2j(leap_year, month, 1)) != 0)
			return true;
	}
	return false;
}

/* The first of its days from a Julian date on; beyond `last`: none up to that. */
static int
next_day(const EvschedCron *cron, int from, int last)
{
	int			year;
	int			month;
	int			day;

	j2date(from, &year, &month, &day);
	for (;;)
	{
		int			first = date2j(year, month, 1);
		uint32		days = 0;

		if (first > last)
			return last + 1;
		if (cron->months & (1 << month))
			days = days_of_month(cron, year, month, first) & (~0U << day);
		if (days != 0)
			return first - 1 + pg_rightmost_one_pos32(days);
		day = 1;
		if (++month > MONTHS_PER_YEAR)
		{
			month = 1;
			year++;
		}
	}
}

/* Its days in a month, which begins at the Julian date `first`: bits 1 to 31. */
static uint32
days_of_month(const EvschedCron *cron, int year, int month, int first)
{
	int			length = day_tab[isleap(year)][month - 1];
	uint32		all = ALL_DAYS >> (31 - length) & ALL_DAYS;
	uint32		days = cron->days & all;
	uint64		weekdays = cron->weekdays;

	if (cron->days & LAST_DAY)
		days |= 1U << length;
	weekdays |= weekdays << 7;
	weekdays |= weekdays << 14 | weekdays << 28;
	weekdays = weekdays >> j2day(first) << 1;
	return (cron->either_day ? days | weekdays : days & weekdays) & all;
}

/* The first of its times of day from a second of the day on; -1: there is none. */
static int
next_time(const EvschedCron *cron, int from)
{
	for (int hour = next_bit(cron->hours, from / SECS_PER_HOUR); hour >= 0;
		 hour = next_bit(cron->hours, hour + 1))
	{
		int			rest = Max(from - hour * SECS_PER_HOUR, 0);

		for (int minute = next_bit(cron->minutes, rest / SECS_PER_MINUTE); minute >= 0;
			 minute = next_bit(cron->minutes, minute + 1))
		{
			int			second = next_bit(cron->seconds,
										  Max(rest - minute * SECS_PER_MINUTE, 0));

			if (second >= 0)
				return hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
		}
	}
	return -1;
}

/* The lowest bit from one on; -1: none is set. */
static int
next_bit(uint64 bits, int from)
{
	bits &= ~UINT64CONST(0) << from;
	return bits == 0 ? -1 : pg_rightmost_one_pos64(bits);
}

/*
 * timestamp.c: microseconds since 1970, as clock and as text.
 *
 * The clock is CLOCK_REALTIME, the server's own when both run on one machine.
 */
#include "timestamp.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

static int64_t days_before(int year, int month, int day);
static int	read_digits(const char **text, int most);
static int64_t read_fraction(const char **text);
static int64_t read_zone(const char *text);

int64_t
timestamp_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * SECOND + now.tv_nsec / 1000;
}

/*
 * Reads "2026-11-20T09:00:00.000123+00:00", also as psql writes it ("2026-11-20
 * 09:00:00.000123+00"). -1 when it is no such thing ('infinity').
 */
int64_t
timestamp_parse(const char *text)
{
	int			part[6];
	int64_t		seconds;
	int64_t		fraction;

	for (int i = 0; i < 6; i++)
	{
		if (*text < '0' || *text > '9')
			return -1;
		part[i] = read_digits(&text, i == 0 ? 6 : 2);
		if (i < 5)
			text++;
	}
	fraction = read_fraction(&text);
	seconds = days_before(part[0], part[1], part[2]) * 86400
		+ part[3] * 3600 + part[4] * 60 + part[5] - read_zone(text);
	return seconds * SECOND + fraction;
}

void
timestamp_format(int64_t at, char text[TIMESTAMP_SIZE])
{
	time_t		seconds = at / SECOND;
	struct tm	utc;
	char		whole[24];

	gmtime_r(&seconds, &utc);
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, TIMESTAMP_SIZE, "%s.%06d+00:00", whole, (int) (at % SECOND));
}

/* Asks the kernel to end this process's waits at the time told, not 50 µs later. */
void
timestamp_sharpen(void)
{
	prctl(PR_SET_TIMERSLACK, 1L);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar (years start in March). */
static int64_t
days_before(int year, int month, int day)
{
	int			y = month > 2 ? year : year - 1;
	int			days_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

	return INT64_C(365) * y + y / 4 - y / 100 + y / 400 + days_of_year - 719468;
}

static int
read_digits(const char **text, int most)
{
	int			number = 0;

	while (most-- > 0 && **text >= '0' && **text <= '9')
		number = number * 10 + *(*text)++ - '0';
	return number;
}

/* ".5" is 500000 µs. */
static int64_t
read_fraction(const char **text)
{
	int64_t		fraction = 0;
	int64_t		unit = SECOND / 10;

	if (**text != '.')
		return 0;
	for ((*text)++; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
		fraction += (**text - '0') * unit;
	return fraction;
}

/* Seconds east of UTC: "+00", "+05:30", "-08", "Z". */
static int64_t
read_zone(const char *text)
{
	bool		west = *text == '-';
	int64_t		seconds;

	if (*text != '+' && *text != '-')
		return 0;
	text++;
	seconds = read_digits(&text, 2) * 3600;
	if (*text == ':')
	{
		text++;
		seconds += read_digits(&text, 2) * 60;
	}
	return west ? -seconds : seconds;
}

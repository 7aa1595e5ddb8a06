/*
 * poll.c: a consumer that asks every so often.
 *
 * Runs --sql (a take, or plain SQL that does the same) every --period seconds, and at
 * once again when it brought --full rows. Lateness is the time from a row's due_at to
 * the moment the row was in the client's hands; call_… is how long the calls took.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "command.h"
#include "connection.h"
#include "meter.h"
#include "option.h"
#include "samples.h"
#include "timestamp.h"

#define STATEMENT "bench"

typedef struct
{
	int64_t		period;
	int			full;
	int64_t		expect;
	int64_t		patience;
	int64_t		done;
	Samples		lateness;
	Samples		calls;
} Poll;

static void
sleep_until(int64_t at)
{
	struct timespec until = {at / SECOND, at % SECOND * 1000};

	clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
}

/* One call; returns the rows it brought. */
static int
ask(PGconn *conn, Poll *asked)
{
	int64_t		sent_at = timestamp_now();
	PGresult   *result;
	int64_t		seen_at;
	int			column;
	int			rows;

	connection_sent(conn, PQsendQueryPrepared(conn, STATEMENT, 0, NULL, NULL, NULL, 0));
	result = connection_result(conn);
	seen_at = timestamp_now();
	samples_add(&asked->calls, sent_at, seen_at - sent_at);
	column = PQfnumber(result, "due_at");
	if (column < 0)
		die("--sql brings no column due_at");
	rows = PQntuples(result);
	for (int i = 0; i < rows; i++)
	{
		int64_t		due_at = timestamp_parse(PQgetvalue(result, i, column));

		samples_add(&asked->lateness, due_at, seen_at - due_at);
	}
	PQclear(result);
	return rows;
}

static void
run(PGconn *conn, Poll *asked)
{
	int64_t		next_at = timestamp_now();
	int64_t		give_up_at = next_at + asked->patience;

	while (asked->done < asked->expect)
	{
		int			rows = ask(conn, asked);

		asked->done += rows;
		if (rows > 0)
			give_up_at = timestamp_now() + asked->patience;
		else if (timestamp_now() > give_up_at)
			die("%ld of %ld events came", (long) asked->done, (long) asked->expect);
		if (rows >= asked->full)
			continue;
		next_at += asked->period;
		if (next_at < timestamp_now())
			next_at = timestamp_now();
		sleep_until(next_at);
	}
}

void
command_poll(void)
{
	const char *sql = option_text("sql", NULL);
	const char *role = option_text("role", NULL);
	int64_t		window = (int64_t) (option_number("window", 0) * SECOND);
	Poll		asked = {
		.period = (int64_t) (option_number("period", 0.001) * SECOND),
		.full = (int) option_number("full", 100),
		.expect = (int64_t) option_number("expect", 1),
		.patience = (int64_t) (option_number("patience", 15) * SECOND),
	};
	PGconn	   *conn;
	Meter		meter;

	option_finish();
	if (!sql)
		die("poll wants --sql");
	timestamp_sharpen();
	conn = connection_open(role);
	connection_prepare(conn, STATEMENT, sql);
	meter_open(&meter);
	meter_start(&meter);
	run(conn, &asked);
	meter_stop(&meter);
	meter_print(&meter, asked.done);
	samples_print(&asked.lateness, "", window);
	samples_print(&asked.calls, "call_", window);
}

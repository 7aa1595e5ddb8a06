/*
 * stream.c: posts events at a steady rate.
 *
 * An open loop: event n is posted at its planned time, n / rate and a random share of
 * the gap after the start, whatever became of the ones before, on any connection that
 * is free. --sql gets the payload as $1 and as $2 the due time: the planned time plus
 * --lead seconds, and so at a random microsecond.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "connection.h"
#include "option.h"
#include "timestamp.h"

#define STATEMENT "bench"
#define START_AFTER (SECOND / 10)

typedef struct
{
	PGconn	   *conn;
	bool		busy;
	int64_t		due_at;
} Poster;

typedef struct
{
	int64_t		start_at;
	double		gap;			/* µs between events */
	int64_t		lead;
	int64_t		events;
	int64_t		sent;
	int64_t		next_at;		/* planned time of the next one */
	int			busy;			/* connections under way */
	int64_t		posted_late;	/* answered after the event was due */
} Stream;

static void
plan_next(Stream *stream)
{
	double		share = rand() / (RAND_MAX + 1.0);

	stream->next_at = stream->start_at
		+ (int64_t) ((stream->sent + share) * stream->gap);
}

static void
send_event(Poster *poster, Stream *stream)
{
	char		payload[64];
	char		due_at[TIMESTAMP_SIZE];
	const char *values[] = {payload, due_at};

	poster->due_at = stream->next_at + stream->lead;
	snprintf(payload, sizeof(payload), "{\"order\": %ld, \"action\": \"remind\"}",
			 (long) stream->sent);
	timestamp_format(poster->due_at, due_at);
	connection_sent(poster->conn,
					PQsendQueryPrepared(poster->conn, STATEMENT, 2, values,
										NULL, NULL, 0));
	poster->busy = true;
	stream->busy++;
	stream->sent++;
	plan_next(stream);
}

/* Sends what the time has come for, as far as connections are free. */
static void
send_due(Poster *posters, int n, Stream *stream)
{
	for (int i = 0; i < n; i++)
	{
		if (posters[i].busy)
			continue;
		if (stream->sent == stream->events || timestamp_now() < stream->next_at)
			return;
		send_event(&posters[i], stream);
	}
}

static void
read_answer(Poster *poster, Stream *stream)
{
	PGresult   *result = connection_next(poster->conn);

	if (!result)
		return;
	PQclear(result);
	poster->busy = false;
	stream->busy--;
	if (timestamp_now() > poster->due_at && stream->lead > 0)
		stream->posted_late++;
}

/* Waits for an answer, or for the next planned time if somebody is free to send. */
static void
wait_for_work(Poster *posters, struct pollfd *entries, int n, const Stream *stream)
{
	int64_t		wait = stream->next_at - timestamp_now();
	struct timespec timeout;
	bool		timed = stream->sent < stream->events && stream->busy < n;

	if (wait < 0)
		wait = 0;
	timeout.tv_sec = wait / SECOND;
	timeout.tv_nsec = wait % SECOND * 1000;
	for (int i = 0; i < n; i++)
		connection_expect(posters[i].conn, &entries[i]);
	if (ppoll(entries, n, timed ? &timeout : NULL, NULL) < 0)
		die("ppoll failed");
}

static void
run(Poster *posters, int n, Stream *stream)
{
	struct pollfd *entries = calloc(n, sizeof(struct pollfd));

	stream->start_at = timestamp_now() + START_AFTER;
	plan_next(stream);
	while (stream->sent < stream->events || stream->busy > 0)
	{
		wait_for_work(posters, entries, n, stream);
		for (int i = 0; i < n; i++)
			if (posters[i].busy && entries[i].revents)
				read_answer(&posters[i], stream);
		send_due(posters, n, stream);
	}
	free(entries);
}

void
command_stream(void)
{
	const char *sql = option_text("sql", "SELECT 1");
	const char *role = option_text("role", NULL);
	int			n = option_number("connections", 8);
	double		rate = option_number("rate", 1000);
	double		seconds = option_number("seconds", 10);
	double		lead = option_number("lead", 0.2);
	Poster	   *posters = calloc(n, sizeof(Poster));
	Stream		stream = {
		.gap = SECOND / rate,
		.lead = (int64_t) (lead * SECOND),
		.events = (int64_t) (rate * seconds),
	};

	option_finish();
	timestamp_sharpen();
	srand(1);
	for (int i = 0; i < n; i++)
	{
		posters[i].conn = connection_open(role);
		connection_prepare(posters[i].conn, STATEMENT, sql);
		connection_start(posters[i].conn);
	}
	run(posters, n, &stream);
	printf("posted %ld\n", (long) stream.sent);
	printf("posted_late %ld\n", (long) stream.posted_late);
}

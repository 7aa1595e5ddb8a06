/*
 * crowd.c: many sessions that are there while something else is measured.
 *
 * Opens --sessions of them; each runs --sql, which gets the session's number as $1 if
 * it mentions it, and with --begin then stays in a transaction with a snapshot. What
 * comes in is read and forgotten, but with --deaf nothing is read any more. With --ask
 * each runs that statement every --period seconds, the sessions spread over it.
 * --ready=FILE is written once all are there. Ends by a signal.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "connection.h"
#include "option.h"
#include "ready.h"
#include "timestamp.h"

#define STATEMENT "ask"

typedef struct
{
	PGconn	   *conn;
	bool		busy;			/* waits for an answer */
} Member;

typedef struct
{
	Member	   *members;
	int			n;
	int			next;			/* who asks next */
	int64_t		next_at;		/* and when */
	int64_t		gap;			/* µs between two that ask; 0: nobody asks */
} Crowd;

static void open_member(Member *member, int number, const char *role, const char *sql);
static void live(Crowd *crowd);
static void wait_for_work(const Crowd *crowd, struct pollfd *entries);
static void read_all(Member *member);
static void ask_due(Crowd *crowd);

void
command_crowd(void)
{
	const char *role = option_text("role", NULL);
	const char *sql = option_text("sql", "SELECT 1");
	const char *ask = option_text("ask", NULL);
	const char *ready = option_text("ready", NULL);
	double		period = option_number("period", 1);
	bool		begin = option_given("begin");
	bool		deaf = option_given("deaf");
	Crowd		crowd = {.n = option_number("sessions", 100)};

	option_finish();
	crowd.members = calloc(crowd.n, sizeof(Member));
	crowd.gap = ask ? (int64_t) (period * SECOND / crowd.n) : 0;
	for (int i = 0; i < crowd.n; i++)
	{
		open_member(&crowd.members[i], i, role, sql);
		if (begin)
		{
			connection_run(crowd.members[i].conn, "BEGIN ISOLATION LEVEL REPEATABLE READ");
			connection_run(crowd.members[i].conn, "SELECT count(*) FROM pg_class");
		}
		if (ask)
			connection_prepare(crowd.members[i].conn, STATEMENT, ask);
		connection_start(crowd.members[i].conn);
	}
	tell_ready(ready);
	if (deaf)
		for (;;)
			pause();
	live(&crowd);
}

static void
open_member(Member *member, int number, const char *role, const char *sql)
{
	char		text[16];
	const char *values[] = {text};
	int			nvalues = strstr(sql, "$1") ? 1 : 0;

	snprintf(text, sizeof(text), "%d", number);
	member->conn = connection_open(role);
	connection_sent(member->conn,
					PQsendQueryParams(member->conn, sql, nvalues, NULL, values,
									  NULL, NULL, 0));
	PQclear(connection_result(member->conn));
}

static void
live(Crowd *crowd)
{
	struct pollfd *entries = calloc(crowd->n, sizeof(struct pollfd));

	crowd->next_at = timestamp_now();
	for (;;)
	{
		wait_for_work(crowd, entries);
		for (int i = 0; i < crowd->n; i++)
			if (entries[i].revents)
				read_all(&crowd->members[i]);
		ask_due(crowd);
	}
}

static void
wait_for_work(const Crowd *crowd, struct pollfd *entries)
{
	int64_t		wait = crowd->next_at - timestamp_now();
	struct timespec timeout;

	if (wait < 0)
		wait = 0;
	timeout.tv_sec = wait / SECOND;
	timeout.tv_nsec = wait % SECOND * 1000;
	for (int i = 0; i < crowd->n; i++)
		connection_expect(crowd->members[i].conn, &entries[i]);
	if (ppoll(entries, crowd->n, crowd->gap > 0 ? &timeout : NULL, NULL) < 0)
		die("ppoll failed");
}

/* Reads what has come, and forgets it. */
static void
read_all(Member *member)
{
	PGnotify   *notify;

	if (!PQconsumeInput(member->conn))
		die("%s", PQerrorMessage(member->conn));
	if (member->busy && !PQisBusy(member->conn))
	{
		PQclear(connection_result(member->conn));
		member->busy = false;
	}
	while ((notify = PQnotifies(member->conn)))
		PQfreemem(notify);
}

/* Those whose time has come ask; who still waits for an answer is passed over. */
static void
ask_due(Crowd *crowd)
{
	while (crowd->gap > 0 && crowd->next_at <= timestamp_now())
	{
		Member	   *member = &crowd->members[crowd->next];

		crowd->next = (crowd->next + 1) % crowd->n;
		crowd->next_at += crowd->gap;
		if (member->busy)
			continue;
		connection_sent(member->conn,
						PQsendQueryPrepared(member->conn, STATEMENT, 0, NULL, NULL,
											NULL, 0));
		member->busy = true;
	}
}

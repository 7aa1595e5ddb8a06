/*
 * listen.c: listeners that join, read notifications and confirm.
 *
 * Each listener confirms all ids it has read so far with one call, and sends the next
 * call when the last has answered. Time runs from the first join to the last
 * confirmation that was answered. Lateness is the time between an event's due_at and
 * the moment its notification was in the client's hands.
 *
 * --join gets the node's name as $1 if it mentions it; without --confirm an event is
 * done when it was read. --ready=FILE is written once all have joined (a FIFO, for
 * whoever waits to post). --idle more sessions run --idle-join and do nothing.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bigints.h"
#include "command.h"
#include "connection.h"
#include "meter.h"
#include "notification.h"
#include "option.h"
#include "ready.h"
#include "samples.h"
#include "timestamp.h"

#define STATEMENT "confirm"

typedef enum
{
	STATE_JOINING,
	STATE_IDLE,
	STATE_CONFIRMING,
} State;

typedef struct
{
	PGconn	   *conn;
	State		state;
	Bigints		unconfirmed;	/* read, and in no call yet */
} Listener;

typedef struct
{
	const char *join;
	const char *confirm;
	const char *ready;
	int64_t		expect;
	int			patience_ms;
	int			joining;
	int64_t		read;
	int64_t		done;
	int64_t		unfetched;
	Samples		lateness;
} Intake;

static void open_listener(Listener *listener, const Intake *intake, const char *role);
static void open_idle(int n, const char *role, const char *join);
static void run(Listener *listeners, int n, Intake *intake);
static void send_join(Listener *listener, int number, Intake *intake);
static void serve(Listener *listener, Intake *intake);
static void take_answer(Listener *listener, Intake *intake);
static void read_notification(Listener *listener, Intake *intake, PGnotify *notify);
static void send_confirm(Listener *listener);

void
command_listen(void)
{
	const char *role = option_text("role", NULL);
	int			n = option_number("listeners", 1);
	int			idle = option_number("idle", 0);
	const char *idle_join = option_text("idle-join", "LISTEN idle");
	int64_t		window = (int64_t) (option_number("window", 0) * SECOND);
	Listener   *listeners = calloc(n, sizeof(Listener));
	Intake		intake = {
		.join = option_text("join", "LISTEN bench"),
		.confirm = option_text("confirm", NULL),
		.ready = option_text("ready", NULL),
		.expect = (int64_t) option_number("expect", 1),
		.patience_ms = (int) (option_number("patience", 15) * 1000),
		.joining = n,
	};
	Meter		meter;

	option_finish();
	open_idle(idle, role, idle_join);
	for (int i = 0; i < n; i++)
		open_listener(&listeners[i], &intake, role);
	meter_open(&meter);
	meter_start(&meter);
	run(listeners, n, &intake);
	meter_stop(&meter);
	meter_print(&meter, intake.done);
	samples_print(&intake.lateness, "", window);
	if (intake.unfetched > 0)
		die("%ld events were told for fetching", (long) intake.unfetched);
}

static void
open_listener(Listener *listener, const Intake *intake, const char *role)
{
	listener->conn = connection_open(role);
	if (intake->confirm)
	{
		connection_prepare(listener->conn, STATEMENT, intake->confirm);
		connection_sent(listener->conn,
						bigints_send(listener->conn, STATEMENT, &listener->unconfirmed));
		PQclear(connection_result(listener->conn));
	}
	connection_start(listener->conn);
}

static void
open_idle(int n, const char *role, const char *join)
{
	for (int i = 0; i < n; i++)
		connection_run(connection_open(role), join);
}

static void
run(Listener *listeners, int n, Intake *intake)
{
	struct pollfd *entries = calloc(n, sizeof(struct pollfd));

	for (int i = 0; i < n; i++)
		send_join(&listeners[i], i, intake);
	while (intake->done < intake->expect)
	{
		for (int i = 0; i < n; i++)
			connection_expect(listeners[i].conn, &entries[i]);
		if (poll(entries, n, intake->patience_ms) <= 0)
			die("%ld of %ld events read, %ld done, then nothing came",
				(long) intake->read, (long) intake->expect, (long) intake->done);
		for (int i = 0; i < n; i++)
			if (entries[i].revents)
				serve(&listeners[i], intake);
	}
	free(entries);
}

static void
send_join(Listener *listener, int number, Intake *intake)
{
	char		node[32];
	const char *values[] = {node};
	int			nvalues = strstr(intake->join, "$1") ? 1 : 0;

	snprintf(node, sizeof(node), "node-%d", number);
	listener->state = STATE_JOINING;
	connection_sent(listener->conn,
					PQsendQueryParams(listener->conn, intake->join, nvalues, NULL,
									  values, NULL, NULL, 0));
}

/* Does all that can be done with what this listener's socket has brought. */
static void
serve(Listener *listener, Intake *intake)
{
	PGnotify   *notify;

	if (!PQconsumeInput(listener->conn))
		die("%s", PQerrorMessage(listener->conn));
	/* First the answer: fetching it may bring further notifications along. */
	if (listener->state != STATE_IDLE && !PQisBusy(listener->conn))
		take_answer(listener, intake);
	while ((notify = PQnotifies(listener->conn)))
	{
		read_notification(listener, intake, notify);
		PQfreemem(notify);
	}
	if (listener->state == STATE_IDLE && listener->unconfirmed.count > 0)
		send_confirm(listener);
}

static void
take_answer(Listener *listener, Intake *intake)
{
	PGresult   *result = connection_result(listener->conn);

	if (listener->state == STATE_CONFIRMING)
		intake->done += atoll(PQgetvalue(result, 0, 0));
	else if (--intake->joining == 0)
		tell_ready(intake->ready);
	listener->state = STATE_IDLE;
	PQclear(result);
}

static void
read_notification(Listener *listener, Intake *intake, PGnotify *notify)
{
	int64_t		seen_at = timestamp_now();
	const char *at = notify->extra;
	Delivered	event;

	while ((at = notification_event(at, &event)))
	{
		intake->read++;
		if (event.fetch)
			intake->unfetched++;
		if (event.due_at >= 0)
			samples_add(&intake->lateness, event.due_at, seen_at - event.due_at);
		if (intake->confirm)
			bigints_add(&listener->unconfirmed, event.id);
		else
			intake->done++;
	}
}

static void
send_confirm(Listener *listener)
{
	connection_sent(listener->conn,
					bigints_send(listener->conn, STATEMENT, &listener->unconfirmed));
	listener->unconfirmed.count = 0;
	listener->state = STATE_CONFIRMING;
}

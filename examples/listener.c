/*
 * listener.c - an evsched listener in C, on libpq
 *
 *	 cc -I"$(pg_config --includedir)" listener.c -o listener -L"$(pg_config --libdir)" -lpq
 *	 ./listener [conninfo [queue [node [max_events]]]]
 *
 * Joins the queue, hands each event to handle_event(), confirms what is done,
 * and comes back when the connection ends.  SIGTERM or SIGINT: the event in
 * hand is finished, the others go back to the queue at once.  What conninfo
 * does not say is taken from the environment (PGHOST, PGPORT, ...).
 *
 * A node name may join a queue only once: a second listener of the same name
 * replaces the first.  max_events 0: the listener is only told that something
 * is due, and takes it, each event and the work on it in one transaction.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#define FIRST_PAUSE_MS	100
#define LAST_PAUSE_MS	30000
#define BIGINT_CHARS	20		/* the longest bigint in decimal, with its sign */

typedef struct Event
{
	const char *id;
	const char *queue;
	const char *num_retries;
	double		late_ms;		/* by the server's clock */
	const char *payload;		/* JSON */
} Event;

/* The columns of an Event, in its order; due_at may be -infinity. */
#define EVENT_COLUMNS \
	"id, queue, num_retries," \
	" 1000 * (extract(epoch FROM clock_timestamp()) - extract(epoch FROM due_at))," \
	" payload "

static const char *const join_sql =
"SELECT evsched.join($1, $2, max_events => $3, conf_timeout => '10 s')";

/*
 * A notification is a JSON array of events.  The server takes it apart, so no
 * JSON parser is needed here, and fetches what was too large for it.
 */
static const char *const unpack_sql =
"WITH told AS (SELECT e, (e->>'id')::bigint AS id FROM jsonb_array_elements($1::jsonb) AS e) "
"SELECT " EVENT_COLUMNS
"FROM (SELECT id, e->>'queue' AS queue, (e->>'num_retries')::int AS num_retries,"
"             (e->>'due_at')::timestamptz AS due_at, e->'payload' AS payload"
"      FROM told WHERE e->'fetch' IS NULL"
"      UNION ALL"
"      SELECT id, queue, num_retries, due_at, payload"
"      FROM evsched.fetch(ARRAY(SELECT id FROM told WHERE e->'fetch' IS NOT NULL))) AS event "
"ORDER BY due_at, id";

static const char *const take_sql =
"SELECT " EVENT_COLUMNS "FROM evsched.take($1, 1)";

static const char *queue = "default";
static const char *node;
static const char *max_events = "8";

static volatile sig_atomic_t stopping = false;
static int	stop_pipe[2];		/* readable once stopping, so that poll() ends */

static bool handle_event(PGconn *conn, const Event *event);

/*
 * ---- Your code goes here. ------------------------------------------------
 * Returns whether the event is done; if not, it is tried again as long as it
 * has retries left.  It may come twice (the connection can end before the
 * confirmation arrives), so either make the work harmless to repeat, or do it
 * in this database and confirm in the same transaction.  What takes longer
 * than conf_timeout has to call evsched.extend() in between.
 */
static bool
handle_event(PGconn *conn, const Event *event)
{
	(void) conn;
	printf("%s\t%s\t%s\t%s\t%.3f\t%s\n", node, event->id, event->queue,
		   event->num_retries, event->late_ms, event->payload);
	return true;
}

/* ---- The rest can stay as it is. ---------------------------------------- */

/* Runs one statement; NULL, with the error printed, when it fails. */
static PGresult *
query(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult   *result = PQexecParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	fprintf(stderr, "%s: %s", node, PQerrorMessage(conn));
	PQclear(result);
	return NULL;
}

/* Runs one statement for its effect; false, with the error printed, when it fails. */
static bool
command(PGconn *conn, const char *sql, int nparams, const char *const *params)
{
	PGresult   *result = query(conn, sql, nparams, params);

	PQclear(result);
	return result != NULL;
}

static Event
event_of_row(const PGresult *result, int row)
{
	return (Event) {
		.id = PQgetvalue(result, row, 0),
		.queue = PQgetvalue(result, row, 1),
		.num_retries = PQgetvalue(result, row, 2),
		.late_ms = atof(PQgetvalue(result, row, 3)),
		.payload = PQgetvalue(result, row, 4)
	};
}

static void
reject(PGconn *conn, const Event *event)
{
	const char *params[] = {event->id};

	command(conn, "SELECT evsched.reject($1, error => 'the handler failed')", 1, params);
}

/*
 * Handles what a notification brought, and confirms by id all that was done
 * with one statement.  (Not by key: another event may have it by now.)
 */
static void
handle_notification(PGconn *conn, const char *payload)
{
	PGresult   *result = query(conn, unpack_sql, 1, &payload);
	int			nevents = PQntuples(result);
	char	   *ids = malloc(sizeof("{}") + nevents * (BIGINT_CHARS + sizeof(",")));
	char	   *end = ids;

	if (ids == NULL)
		abort();
	for (int row = 0; row < nevents && !stopping; row++)
	{
		Event		event = event_of_row(result, row);

		if (handle_event(conn, &event))
			end += sprintf(end, "%c%s", end == ids ? '{' : ',', event.id);
		else
			reject(conn, &event);
	}
	if (end != ids)
	{
		const char *params[] = {ids};

		strcpy(end, "}");
		command(conn, "SELECT evsched.confirm($1::bigint[])", 1, params);
	}
	free(ids);
	PQclear(result);
}

/* Takes one event and handles it in the same transaction; false if there was none. */
static bool
take_event(PGconn *conn)
{
	PGresult   *result;
	bool		found;

	if (!command(conn, "BEGIN", 0, NULL))
		return false;
	result = query(conn, take_sql, 1, &queue);
	found = PQntuples(result) == 1;
	if (found)
	{
		Event		event = event_of_row(result, 0);

		if (!handle_event(conn, &event) || PQtransactionStatus(conn) == PQTRANS_INERROR)
		{
			command(conn, "ROLLBACK", 0, NULL);
			reject(conn, &event);
		}
	}
	PQclear(result);
	if (PQtransactionStatus(conn) != PQTRANS_IDLE)
		found = command(conn, "COMMIT", 0, NULL) && found;
	return found;
}

/* Waits for input on sock (-1: none), for the end of the pause (-1: none), or for the stop. */
static void
wait_for(int sock, int pause_ms)
{
	struct pollfd fds[] = {{stop_pipe[0], POLLIN, 0}, {sock, POLLIN, 0}};

	poll(fds, 2, pause_ms);
}

/* Handles notifications until the connection ends or a signal says stop. */
static void
serve(PGconn *conn)
{
	PGnotify   *notification;

	while (!stopping && PQconsumeInput(conn) && PQstatus(conn) == CONNECTION_OK)
	{
		while (!stopping && (notification = PQnotifies(conn)) != NULL)
		{
			if (strcmp(notification->extra, "[]") == 0)
				while (!stopping && take_event(conn))
					;
			else
				handle_notification(conn, notification->extra);
			PQfreemem(notification);
		}
		wait_for(PQsocket(conn), -1);
	}
}

/*
 * Connects to a server that can be written to, joins and serves; returns
 * whether it came so far as to join.
 */
static bool
run(const char *conninfo)
{
	/* Keepalives: an idle listener would not notice that the server's host has gone. */
	const char *const keywords[] = {
		"target_session_attrs", "fallback_application_name", "connect_timeout",
		"keepalives_idle", "keepalives_interval", "keepalives_count", "dbname", NULL
	};
	const char *const values[] = {
		"read-write", "evsched listener", "10", "10", "5", "3", conninfo, NULL
	};
	const char *const join_params[] = {node, queue, max_events};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 1);
	bool		joined = false;

	if (PQstatus(conn) != CONNECTION_OK)
		fprintf(stderr, "%s: %s", node, PQerrorMessage(conn));
	else if (command(conn, join_sql, 3, join_params))
	{
		joined = true;
		serve(conn);
		if (PQstatus(conn) != CONNECTION_OK)
			fprintf(stderr, "%s: %s", node, PQerrorMessage(conn));
		else
			command(conn, "SELECT evsched.leave($1, release => true)", 1, &queue);
	}
	PQfinish(conn);
	return joined;
}

static void
stop(int signo)
{
	ssize_t		written;

	(void) signo;
	stopping = true;
	written = write(stop_pipe[1], "", 1);
	(void) written;
}

int
main(int argc, char **argv)
{
	const char *conninfo = argc > 1 ? argv[1] : "";
	char		name[32];
	struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESETHAND};	/* twice: at once */
	int			pause_ms = FIRST_PAUSE_MS;

	snprintf(name, sizeof(name), "listener-%ld", (long) getpid());
	node = argc > 3 ? argv[3] : name;
	if (argc > 2)
		queue = argv[2];
	if (argc > 4)
		max_events = argv[4];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pipe(stop_pipe) != 0)
	{
		perror("pipe");
		return 1;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);

	while (!stopping)
	{
		if (run(conninfo))
			pause_ms = FIRST_PAUSE_MS;
		if (!stopping)
			wait_for(-1, pause_ms);
		pause_ms = pause_ms < LAST_PAUSE_MS / 2 ? pause_ms * 2 : LAST_PAUSE_MS;
	}
	return 0;
}

/*
 * demo.c
 *		Three listeners share a queue, and one of them is killed at its work. A
 *		recurring job counts meanwhile what is left to do.
 *
 * The main process posts events and keeps the ledger. Each listener is a child
 * process with a connection of its own; it tells the main process what it was
 * handed and what it has confirmed. At the end the ledger is compared with
 * what evsched promises: status 0 when all of it was kept, else 1.
 *
 *		cc demo.c -lpq -o demo && ./demo [conninfo]
 *
 * The database needs the extension, and nothing in its queue "orders". How
 * late an event came is measured by this machine's clock, so the server must
 * run here too. When the demo fails half-way, its job goes on, until
 * evsched.cancel('stocktaking', 'passive').
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))

/* All must be over by then; it takes about 2 s. */
#define PATIENCE_US		(20 * 1000000L)

/* Nothing may come later than this, not even on a busy machine. */
#define LATE_LIMIT_US	(1 * 1000000L)

typedef enum Fate
{
	ORDINARY,
	CANCELLED,					/* before it is due */
	POSTPONED,					/* to POSTPONED_BY after the call */
	HELD						/* never confirmed by who gets it first */
} Fate;

#define POSTPONED_BY	"1200 ms"
#define POSTPONED_BY_US	(1200 * 1000L)

/* An event of the demo: what is posted, and what became of it. */
typedef struct Order
{
	const char *item;			/* also its key */
	const char *delay;
	Fate		fate;
	int64_t		id;
	int64_t		not_before;		/* known for POSTPONED only */
	int			deliveries;		/* first ones: 0 or 1 */
	int			redeliveries;
	int			confirmations;
	int64_t		late_us;		/* of the first delivery */
} Order;

static Order orders[] = {
	{.item = "apples", .delay = "100 ms"},
	{.item = "bread", .delay = "250 ms"},
	{.item = "cheese", .delay = "250 ms"},
	{.item = "dates", .delay = "250 ms"},
	{.item = "eggs", .delay = "400 ms", .fate = POSTPONED},
	{.item = "figs", .delay = "500 ms", .fate = HELD},
	{.item = "grapes", .delay = "600 ms", .fate = CANCELLED},
	{.item = "honey", .delay = "700 ms"},
	{.item = "ice", .delay = "800 ms"},
	{.item = "jam", .delay = "900 ms"},
	{.item = "kale", .delay = "1200 ms"},
	{.item = "lemons", .delay = "1500 ms"},
};

/* The recurring job: how often it comes, and how many runs there must be. */
#define PERIOD			"200 ms"
#define PERIOD_US		(200 * 1000L)
#define MIN_RUNS		3

/* What a listener tells the main process. */
typedef enum ReportKind
{
	JOINED,
	DELIVERED,
	HOLDING,					/* has it, and will not confirm it */
	CONFIRMED
} ReportKind;

typedef struct Report
{
	ReportKind	kind;
	int			num_retries;
	int64_t		id;
	int64_t		due_at;			/* microseconds since 1970, like arrived_at */
	int64_t		arrived_at;
} Report;

/* A child process, as the main process sees it. */
typedef struct Listener
{
	const char *node;
	pid_t		pid;
	int			socket;			/* -1 when it has ended */
	bool		joined;
	bool		killed;
	int			deliveries;
} Listener;

static Listener listeners[] = {
	{.node = "ann", .socket = -1},
	{.node = "bob", .socket = -1},
	{.node = "cleo", .socket = -1},
};

/* Set when the listeners have been told to leave. */
static bool leaving = false;

/* Ends the process; listeners follow their main process by themselves. */
static void
die(const char *format,...)
{
	va_list		args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static PGconn *
connect_to_server(const char *conninfo)
{
	PGconn	   *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

/* Runs one statement with up to three text parameters, NULL where unused. */
static PGresult *
query(PGconn *conn, const char *sql, const char *one, const char *two,
	  const char *three)
{
	const char *values[3] = {one, two, three};
	int			count = three ? 3 : two ? 2 : one ? 1 : 0;
	PGresult   *result = PQexecParams(conn, sql, count, NULL, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		die("%s\n%s", sql, PQerrorMessage(conn));
	return result;
}

/* The single value of a statement, as a number; booleans count as 1 and 0. */
static int64_t
query_number(PGconn *conn, const char *sql, const char *one, const char *two,
			 const char *three)
{
	PGresult   *result = query(conn, sql, one, two, three);
	const char *value = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "";
	int64_t		number = value[0] == 't' ? 1 : strtoll(value, NULL, 10);

	PQclear(result);
	return number;
}

/*
 * The listener's side
 */

static void
tell(int parent, Report report)
{
	if (write(parent, &report, sizeof(report)) != sizeof(report))
		_exit(1);
}

/*
 * The server takes the JSON apart, and adds the events that were too large
 * for a notification.
 */
static const char *const UNPACK =
"WITH told AS ("
"  SELECT * FROM jsonb_to_recordset($1::jsonb) AS t(id bigint, \"fetch\" boolean,"
"    payload jsonb, due_at timestamptz, num_retries int)), "
"event AS ("
"  SELECT id, payload, due_at, num_retries FROM told WHERE \"fetch\" IS NOT TRUE"
"  UNION ALL"
"  SELECT id, payload, due_at, num_retries"
"  FROM evsched.fetch(ARRAY(SELECT id FROM told WHERE \"fetch\"))) "
"SELECT id, num_retries, (extract(epoch FROM due_at) * 1000000)::bigint,"
"  payload->>'hold' "
"FROM event ORDER BY due_at, id";

/* Does the work of one notification, which is none but to confirm. */
static void
handle_notification(PGconn *conn, int parent, const char *payload)
{
	Report		report = {.arrived_at = now_us()};
	PGresult   *events = query(conn, UNPACK, payload, NULL, NULL);

	for (int row = 0; row < PQntuples(events); row++)
	{
		const char *id = PQgetvalue(events, row, 0);

		report.kind = DELIVERED;
		report.id = strtoll(id, NULL, 10);
		report.num_retries = atoi(PQgetvalue(events, row, 1));
		report.due_at = strtoll(PQgetvalue(events, row, 2), NULL, 10);
		tell(parent, report);

		if (PQgetvalue(events, row, 3)[0] == 't' && report.num_retries == 0)
		{
			/* Busy until killed, or until the main process is gone. */
			struct pollfd wait = {.fd = parent,.events = POLLIN};

			report.kind = HOLDING;
			tell(parent, report);
			poll(&wait, 1, -1);
			_exit(1);
		}

		report.kind = CONFIRMED;
		if (query_number(conn, "SELECT evsched.confirm($1::bigint)", id, NULL, NULL))
			tell(parent, report);
	}
	PQclear(events);
}

/* Joins the queue and serves it until the main process closes its side. */
static void
run_listener(const char *conninfo, const char *node, int parent)
{
	PGconn	   *conn = connect_to_server(conninfo);

	/* This also does the LISTEN; the channel's name is of no concern. */
	PQclear(query(conn, "SELECT evsched.join($1, 'orders', max_events => 2)",
				  node, NULL, NULL));
	tell(parent, (Report) {.kind = JOINED});

	for (;;)
	{
		struct pollfd ready[2] = {
			{.fd = PQsocket(conn),.events = POLLIN},
			{.fd = parent,.events = POLLIN},
		};
		PGnotify   *notification;

		/* Also those that came along with the answer to a query. */
		while ((notification = PQnotifies(conn)) != NULL)
		{
			handle_notification(conn, parent, notification->extra);
			PQfreemem(notification);
		}
		if (poll(ready, 2, -1) < 0)
			die("%s: poll: %s", node, strerror(errno));
		if (ready[1].revents)
			break;
		if (ready[0].revents && !PQconsumeInput(conn))
			die("%s: %s", node, PQerrorMessage(conn));
	}
	PQclear(query(conn, "SELECT evsched.leave('orders')", NULL, NULL, NULL));
	PQfinish(conn);
	_exit(0);
}

static void
start_listener(const char *conninfo, Listener *listener)
{
	int			pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		die("socketpair: %s", strerror(errno));
	fflush(stdout);
	listener->pid = fork();
	if (listener->pid < 0)
		die("fork: %s", strerror(errno));
	if (listener->pid == 0)
	{
		/* Or its elders would not see the main process close their side. */
		for (Listener *elder = listeners; elder < listener; elder++)
			close(elder->socket);
		close(pair[0]);
		run_listener(conninfo, listener->node, pair[1]);
	}
	close(pair[1]);
	listener->socket = pair[0];
}

/*
 * The main process's side
 */

static void
print_time(int64_t at)
{
	time_t		seconds = at / 1000000;
	char		text[16];

	strftime(text, sizeof(text), "%H:%M:%S", localtime(&seconds));
	printf("%s.%03d  ", text, (int) (at / 1000 % 1000));
}

/* Prints a line of the story, with the time. */
static void
say(const char *format,...)
{
	va_list		args;

	print_time(now_us());
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static Order *
find_order(int64_t id)
{
	for (int i = 0; i < LENGTH(orders); i++)
	{
		if (orders[i].id == id)
			return &orders[i];
	}
	die("event %lld was never posted", (long long) id);
	return NULL;
}

static Order *
order_of_fate(Fate fate)
{
	for (int i = 0; i < LENGTH(orders); i++)
	{
		if (orders[i].fate == fate)
			return &orders[i];
	}
	abort();
}

static void
note_delivery(Listener *listener, Order *order, const Report *report)
{
	int64_t		late_us = report->arrived_at - report->due_at;

	print_time(report->arrived_at);
	printf("%-5s %4lld  %-8s %9.3f %8d\n", listener->node, (long long) order->id,
		   order->item, late_us / 1000.0, report->num_retries);
	listener->deliveries++;
	if (report->num_retries > 0)
	{
		order->redeliveries++;
		return;
	}
	order->deliveries++;
	order->late_us = late_us;
	if (report->arrived_at < order->not_before)
		die("%s came before the time it was postponed to", order->item);
}

static void
kill_listener(Listener *listener, const Order *order)
{
	kill(listener->pid, SIGKILL);
	listener->killed = true;
	say("%s is killed while holding %s", listener->node, order->item);
}

/* Takes note of one report, or of the listener's end. */
static void
read_report(Listener *listener)
{
	Report		report;
	ssize_t		got = recv(listener->socket, &report, sizeof(report), MSG_WAITALL);

	if (got != sizeof(report))
	{
		if (!leaving && !listener->killed)
			die("%s has ended", listener->node);
		close(listener->socket);
		listener->socket = -1;
	}
	else if (report.kind == JOINED)
	{
		listener->joined = true;
		say("%s joins", listener->node);
	}
	else if (report.kind == DELIVERED)
		note_delivery(listener, find_order(report.id), &report);
	else if (report.kind == HOLDING)
		kill_listener(listener, find_order(report.id));
	else
		find_order(report.id)->confirmations++;
}

/* Reads what the listeners tell, until the condition holds. */
static void
read_reports_until(bool (*condition) (void), const char *what)
{
	int64_t		deadline = now_us() + PATIENCE_US;

	while (!condition())
	{
		struct pollfd ready[LENGTH(listeners)];
		int64_t		left_us = deadline - now_us();

		for (int i = 0; i < LENGTH(listeners); i++)
			ready[i] = (struct pollfd) {.fd = listeners[i].socket,.events = POLLIN};
		if (left_us <= 0 || poll(ready, LENGTH(listeners), left_us / 1000 + 1) == 0)
			die("waited in vain: %s", what);
		for (int i = 0; i < LENGTH(listeners); i++)
		{
			if (ready[i].revents)
				read_report(&listeners[i]);
		}
	}
}

static bool
all_started_have_joined(void)
{
	for (int i = 0; i < LENGTH(listeners) && listeners[i].pid != 0; i++)
	{
		if (!listeners[i].joined)
			return false;
	}
	return true;
}

static bool
all_is_confirmed(void)
{
	for (int i = 0; i < LENGTH(orders); i++)
	{
		if (orders[i].fate != CANCELLED && orders[i].confirmations == 0)
			return false;
	}
	return true;
}

static bool
all_have_ended(void)
{
	for (int i = 0; i < LENGTH(listeners); i++)
	{
		if (listeners[i].socket >= 0)
			return false;
	}
	return true;
}

/* All in one transaction: none is there before the last one is. */
static void
post_orders(PGconn *conn)
{
	PQclear(query(conn, "BEGIN", NULL, NULL, NULL));
	for (int i = 0; i < LENGTH(orders); i++)
	{
		orders[i].id =
			query_number(conn,
						 "SELECT evsched.post("
						 "  jsonb_build_object('item', $1::text, 'hold', $3::boolean),"
						 "  $2::interval, 'orders', key => $1::text, max_retries => 3)",
						 orders[i].item, orders[i].delay,
						 orders[i].fate == HELD ? "true" : "false");
	}
	PQclear(query(conn, "COMMIT", NULL, NULL, NULL));
	say("%d events are posted, due in %s to %s", LENGTH(orders), orders[0].delay,
		orders[LENGTH(orders) - 1].delay);
}

/*
 * The server itself runs this, again and again, in a background process. What a run
 * returns is kept in its history.
 */
static int64_t
post_stocktaking(PGconn *conn)
{
	int64_t		id =
		query_number(conn,
					 "SELECT evsched.every($1::interval, $2, key => 'stocktaking')",
					 PERIOD,
					 "SELECT count(o.id) AS orders, max(c.due_at) AS planned_at"
					 " FROM evsched.current_event() c"
					 " LEFT JOIN evsched.event o ON o.queue = 'orders'",
					 NULL);

	say("a job is to count the orders that are left, every %s", PERIOD);
	return id;
}

/* Cancels one event by its id, and postpones one by its key. */
static void
change_minds(PGconn *conn)
{
	Order	   *cancelled = order_of_fate(CANCELLED);
	Order	   *postponed = order_of_fate(POSTPONED);
	char		id[32];

	snprintf(id, sizeof(id), "%lld", (long long) cancelled->id);
	if (!query_number(conn, "SELECT evsched.cancel($1::bigint)", id, NULL, NULL))
		die("%s could not be cancelled", cancelled->item);
	say("%s is cancelled", cancelled->item);

	postponed->not_before = now_us() + POSTPONED_BY_US;
	if (!query_number(conn, "SELECT evsched.change_delay($1::text, $2::interval, 'orders')",
					  postponed->item, POSTPONED_BY, NULL))
		die("%s could not be postponed", postponed->item);
	say("%s is postponed by %s", postponed->item, POSTPONED_BY);
}

static void
stop_listeners(void)
{
	leaving = true;
	for (int i = 0; i < LENGTH(listeners); i++)
	{
		if (listeners[i].socket >= 0)
			shutdown(listeners[i].socket, SHUT_WR);
	}
	read_reports_until(all_have_ended, "the listeners end");
	for (int i = 0; i < LENGTH(listeners); i++)
	{
		int			status;

		waitpid(listeners[i].pid, &status, 0);
		if (status != 0 && !listeners[i].killed)
			die("%s has failed", listeners[i].node);
	}
}

/* Prints one promise, and whether it was kept. */
static bool
check(bool kept, const char *promise)
{
	printf("  %-4s  %s\n", kept ? "yes" : "NO", promise);
	return kept;
}

/* Ends the recurring job, prints its history, and returns whether it is as it must be. */
static bool
review_stocktaking(PGconn *conn, int64_t series)
{
	char		id[32];
	PGresult   *runs;
	int64_t		first = 0;
	bool		kept = true,
				succeeded = true,
				planned = true;

	snprintf(id, sizeof(id), "%lld", (long long) series);
	if (!query_number(conn, "SELECT evsched.cancel($1::bigint)", id, NULL, NULL))
		die("the recurring job could not be cancelled");
	runs = query(conn,
				 "SELECT (extract(epoch FROM started_at) * 1000000)::bigint,"
				 "  (extract(epoch FROM (result->>'planned_at')::timestamptz) * 1000000)::bigint,"
				 "  state, (extract(epoch FROM ended_at - started_at) * 1000000)::bigint,"
				 "  result->>'orders' "
				 "FROM evsched.run WHERE recurring = $1 AND state <> 'running' "
				 "ORDER BY started_at", id, NULL, NULL);

	printf("\n%-12s  %-9s %7s %8s %8s\n", "time", "run", "orders", "ms late", "ms long");
	for (int row = 0; row < PQntuples(runs); row++)
	{
		int64_t		started_at = strtoll(PQgetvalue(runs, row, 0), NULL, 10);
		int64_t		planned_at = strtoll(PQgetvalue(runs, row, 1), NULL, 10);
		const char *state = PQgetvalue(runs, row, 2);

		print_time(started_at);
		printf("%-9s %7s %8.3f %8.3f\n", state, PQgetvalue(runs, row, 4),
			   (started_at - planned_at) / 1000.0,
			   strtoll(PQgetvalue(runs, row, 3), NULL, 10) / 1000.0);
		if (row == 0)
			first = planned_at;
		succeeded &= strcmp(state, "succeeded") == 0;
		planned &= started_at >= planned_at && (planned_at - first) % PERIOD_US == 0;
	}
	putchar('\n');
	kept &= check(PQntuples(runs) >= MIN_RUNS && succeeded,
				  "the recurring job came again and again, and never failed");
	kept &= check(planned, "it came by its plan, never early");
	PQclear(runs);
	return kept;
}

/* Prints the totals; returns whether they are as they must be. */
static bool
balance(int64_t still_there)
{
	int			delivered = 0,
				redelivered = 0,
				confirmed = 0,
				twice = 0,
				killed = 0;
	bool		early = false,
				served = true,
				kept = true;
	int64_t		max_late_us = 0;

	for (const Order *order = orders; order < orders + LENGTH(orders); order++)
	{
		delivered += order->deliveries;
		redelivered += order->redeliveries;
		confirmed += order->confirmations;
		twice += order->deliveries > 1 || order->confirmations > 1;
		early |= order->late_us < 0;
		if (order->late_us > max_late_us)
			max_late_us = order->late_us;
	}
	for (int i = 0; i < LENGTH(listeners); i++)
	{
		killed += listeners[i].killed;
		served &= listeners[i].deliveries > 0;
	}

	printf("\n  posted       %7d\n  cancelled    %7d\n", LENGTH(orders), 1);
	printf("  delivered    %7d\n  redelivered  %7d\n", delivered, redelivered);
	printf("  confirmed    %7d\n  still there  %7lld\n", confirmed, (long long) still_there);
	printf("  latest by    %11.3f ms\n\n", max_late_us / 1000.0);

	kept &= check(order_of_fate(CANCELLED)->deliveries == 0, "what was cancelled never came");
	kept &= check(confirmed == LENGTH(orders) - 1 && !twice, "all else was confirmed, once");
	kept &= check(!early, "nothing came early");
	kept &= check(max_late_us <= LATE_LIMIT_US, "nothing came late by more than a second");
	kept &= check(served, "every listener had its turn");
	kept &= check(killed == 1 && order_of_fate(HELD)->redeliveries == 1,
				  "what the killed listener held came once more");
	kept &= check(still_there == 0, "nothing is left over");
	return kept;
}

int
main(int argc, char **argv)
{
	const char *conninfo = argc > 1 ? argv[1] : "";
	static const char *const COUNT =
		"SELECT count(*) FROM evsched.event WHERE queue = 'orders'";
	PGconn	   *conn;
	int64_t		series;
	bool		kept;

	/* One by one, so that their order is known: who joins first is served first. */
	for (int i = 0; i < LENGTH(listeners); i++)
	{
		start_listener(conninfo, &listeners[i]);
		read_reports_until(all_started_have_joined, "the listeners join");
	}
	conn = connect_to_server(conninfo);
	if (query_number(conn, COUNT, NULL, NULL, NULL) != 0)
		die("the queue \"orders\" is in use");

	series = post_stocktaking(conn);
	post_orders(conn);
	change_minds(conn);
	printf("\n%-12s  %-5s %4s  %-8s %9s %8s\n", "time", "who", "id", "key", "ms late",
		   "retries");
	read_reports_until(all_is_confirmed, "all is confirmed");
	stop_listeners();

	kept = balance(query_number(conn, COUNT, NULL, NULL, NULL));
	kept &= review_stocktaking(conn, series);
	PQfinish(conn);
	return kept ? 0 : 1;
}

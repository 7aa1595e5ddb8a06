/*
 * idle.c: what the server does for listeners while nothing happens.
 *
 * Opens --listeners sessions that run --join, lets --settle seconds pass (a session
 * that listens wakes once by itself, 10 s after its last command), then compares the
 * counters of --seconds: transactions of the database, context switches and CPU of
 * the launcher, of this database's scheduler and of the listeners' own sessions.
 * It asks from another database, so as not to count itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "command.h"
#include "connection.h"
#include "option.h"
#include "process.h"

typedef struct
{
	int64_t		transactions;
	int64_t		launcher_switches;
	int64_t		scheduler_switches;
	int64_t		listener_switches;
	double		cpu_ms;
} Counters;

typedef struct
{
	PGconn	   *conn;			/* asks; in database postgres */
	const char *database;
	int			launcher;		/* pid */
	int			scheduler;		/* pid */
	int			nlisteners;
	int		   *listeners;		/* pids */
} Scene;

/* The number that a query on the database's name brings; ends the program if none. */
static int64_t
ask(const Scene *scene, const char *format)
{
	char		sql[512];
	char	   *name = PQescapeLiteral(scene->conn, scene->database, 63);
	char	   *value;
	int64_t		number;

	snprintf(sql, sizeof(sql), format, name);
	value = connection_value(scene->conn, sql);
	if (!value)
		die("no answer: %s", sql);
	number = atoll(value);
	free(value);
	PQfreemem(name);
	return number;
}

static void
open_scene(Scene *scene, PGconn **conns)
{
	scene->conn = connection_open_in("postgres");
	scene->database = PQdb(conns[0]);
	scene->launcher = ask(scene, "SELECT pid FROM pg_stat_activity "
						  "WHERE backend_type = 'evsched launcher' AND %s IS NOT NULL");
	scene->scheduler = ask(scene, "SELECT pid FROM pg_stat_activity "
						   "WHERE backend_type = 'evsched scheduler' AND datname = %s");
	scene->listeners = calloc(scene->nlisteners, sizeof(int));
	for (int i = 0; i < scene->nlisteners; i++)
		scene->listeners[i] = PQbackendPID(conns[i]);
}

static Counters
count(const Scene *scene)
{
	Counters	now = {0};

	now.transactions = ask(scene, "SELECT xact_commit + xact_rollback "
						   "FROM pg_stat_database WHERE datname = %s");
	now.launcher_switches = process_switches(scene->launcher);
	now.scheduler_switches = process_switches(scene->scheduler);
	for (int i = 0; i < scene->nlisteners; i++)
		now.listener_switches += process_switches(scene->listeners[i]);
	now.cpu_ms = process_cpu_ms(scene->launcher) + process_cpu_ms(scene->scheduler);
	return now;
}

void
command_idle(void)
{
	const char *role = option_text("role", NULL);
	const char *join = option_text("join", "LISTEN bench");
	int			settle = option_number("settle", 15);
	int			seconds = option_number("seconds", 60);
	Scene		scene = {.nlisteners = option_number("listeners", 4)};
	PGconn	  **conns = calloc(scene.nlisteners, sizeof(PGconn *));
	Counters	before;
	Counters	after;

	option_finish();
	for (int i = 0; i < scene.nlisteners; i++)
	{
		conns[i] = connection_open(role);
		connection_run(conns[i], join);
	}
	open_scene(&scene, conns);
	sleep(settle);
	before = count(&scene);
	sleep(seconds);
	after = count(&scene);
	printf("transactions %ld\n", (long) (after.transactions - before.transactions));
	printf("launcher_switches %ld\n",
		   (long) (after.launcher_switches - before.launcher_switches));
	printf("scheduler_switches %ld\n",
		   (long) (after.scheduler_switches - before.scheduler_switches));
	printf("listener_switches %ld\n",
		   (long) (after.listener_switches - before.listener_switches));
	printf("cpu_ms %.0f\n", after.cpu_ms - before.cpu_ms);
}

/*
 * repeat.c: one prepared statement over and over on some connections.
 *
 * Each connection sends its next execution when the last has answered (a closed
 * loop), one execution per transaction. It ends after --seconds, or with
 * --until-empty when no connection finds anything any more, or when the --ids of a
 * file are used up.  With --before its first connection runs that statement ahead of
 * them, in the time that is measured; with --events that many is what all of them did.
 *
 * Parameters of --sql, by --param:
 *   none      no parameter
 *   payload   $1 a JSON object, new each time; $2 --delay
 *   batch     $1 an array of --batch such objects, $2 as many delays of --delay
 *   queue     $1 --queue; with --warm each connection first asks for queue "warm"
 *   id        $1 the next id of --ids; $2 --delay if given
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "connection.h"
#include "meter.h"
#include "option.h"
#include "timestamp.h"

#define STATEMENT "bench"
#define PAYLOAD_SIZE 96
#define BOOL_TYPE 16

typedef enum
{
	PARAM_NONE,
	PARAM_PAYLOAD,
	PARAM_BATCH,
	PARAM_QUEUE,
	PARAM_ID,
} ParamKind;

static const char *const kind_names[] = {"none", "payload", "batch", "queue", "id"};

/* What to execute, and what it has come to. */
typedef struct
{
	ParamKind	kind;
	const char *value[2];
	int			nvalues;
	char		payload[PAYLOAD_SIZE];
	FILE	   *ids;
	char		id[32];
	bool		until_empty;
	int64_t		stop_at;		/* 0: does not end by time */
	int64_t		statements;
	int64_t		events;
} Work;

/* One connection of the loop. */
typedef struct
{
	PGconn	   *conn;
	bool		busy;
} Runner;

static ParamKind
parse_kind(const char *name)
{
	for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
		if (strcmp(name, kind_names[i]) == 0)
			return i;
	die("--param=%s is not known", name);
}

static void
write_payload(char *text, int64_t number)
{
	snprintf(text, PAYLOAD_SIZE,
			 "{\"order\": %ld, \"action\": \"remind\", \"customer\": \"c-%04ld\"}",
			 (long) number, (long) (number % 10000));
}

/* An array literal of the batch's payloads: each element quoted, its quotes escaped. */
static char *
payload_array(int batch)
{
	char	   *array = malloc((size_t) batch * PAYLOAD_SIZE * 2 + 3);
	char	   *end = array;

	*end++ = '{';
	for (int i = 0; i < batch; i++)
	{
		char		payload[PAYLOAD_SIZE];

		write_payload(payload, i);
		if (i > 0)
			*end++ = ',';
		*end++ = '"';
		for (const char *c = payload; *c; c++)
		{
			if (*c == '"')
				*end++ = '\\';
			*end++ = *c;
		}
		*end++ = '"';
	}
	strcpy(end, "}");
	return array;
}

static char *
delay_array(int batch, const char *delay)
{
	char	   *array = malloc((size_t) batch * (strlen(delay) + 3) + 3);
	char	   *end = array;

	*end++ = '{';
	for (int i = 0; i < batch; i++)
		end += sprintf(end, "%s\"%s\"", i > 0 ? "," : "", delay);
	strcpy(end, "}");
	return array;
}

static void
prepare_params(Work *work)
{
	const char *delay = option_text("delay", NULL);
	int			batch = option_number("batch", 1000);
	const char *ids = option_text("ids", NULL);

	work->kind = parse_kind(option_text("param", "none"));
	work->nvalues = work->kind == PARAM_NONE ? 0 : delay ? 2 : 1;
	work->value[0] = option_text("queue", "default");
	work->value[1] = delay;
	if (work->kind == PARAM_PAYLOAD)
		work->value[0] = work->payload;
	else if (work->kind == PARAM_BATCH)
	{
		work->value[0] = payload_array(batch);
		work->value[1] = delay_array(batch, delay ? delay : "0");
		work->nvalues = 2;
	}
	else if (work->kind == PARAM_ID)
	{
		work->value[0] = work->id;
		if (!ids || !(work->ids = fopen(ids, "r")))
			die("--param=id wants --ids=FILE");
	}
}

/* Sets the parameters of the next execution; false when there is no more to do. */
static bool
next_params(Work *work)
{
	if (work->stop_at && timestamp_now() >= work->stop_at)
		return false;
	if (work->kind == PARAM_PAYLOAD)
		write_payload(work->payload, work->statements);
	if (work->kind == PARAM_ID)
	{
		if (!fgets(work->id, sizeof(work->id), work->ids))
			return false;
		work->id[strcspn(work->id, "\n")] = '\0';
	}
	return true;
}

/* True when an execution was sent. */
static bool
launch(Runner *runner, Work *work)
{
	if (!next_params(work))
		return false;
	connection_sent(runner->conn,
					PQsendQueryPrepared(runner->conn, STATEMENT, work->nvalues,
										work->value, NULL, NULL, 0));
	work->statements++;
	return true;
}

/* Events a result stands for: rows, but of a boolean only the true ones. */
static int64_t
events_of(const PGresult *result)
{
	int64_t		n = 0;

	if (PQnfields(result) != 1 || PQftype(result, 0) != BOOL_TYPE)
		return atoll(PQcmdTuples((PGresult *) result));
	for (int i = 0; i < PQntuples(result); i++)
		n += *PQgetvalue(result, i, 0) == 't';
	return n;
}

/* Takes in what has answered; returns how many connections are still at work. */
static int
step(Runner *runners, struct pollfd *entries, int n, Work *work)
{
	int			busy = 0;

	for (int i = 0; i < n; i++)
	{
		Runner	   *runner = &runners[i];
		PGresult   *result;
		int64_t		events;

		if (runner->busy && entries[i].revents &&
			(result = connection_next(runner->conn)))
		{
			events = events_of(result);
			PQclear(result);
			work->events += events;
			runner->busy = !(work->until_empty && events == 0) && launch(runner, work);
		}
		busy += runner->busy;
	}
	return busy;
}

static void
run(Runner *runners, int n, Work *work)
{
	struct pollfd *entries = calloc(n, sizeof(struct pollfd));

	for (int i = 0; i < n; i++)
		runners[i].busy = launch(&runners[i], work);
	do
	{
		for (int i = 0; i < n; i++)
		{
			connection_expect(runners[i].conn, &entries[i]);
			if (!runners[i].busy)
				entries[i].fd = -1;
		}
		if (poll(entries, n, -1) < 0)
			die("poll failed");
	} while (step(runners, entries, n, work) > 0);
	free(entries);
}

static void
open_runner(Runner *runner, const char *role, const char *sql, bool warm)
{
	const char *queue = "warm";

	runner->conn = connection_open(role);
	connection_prepare(runner->conn, STATEMENT, sql);
	if (warm)
		PQclear(PQexecPrepared(runner->conn, STATEMENT, 1, &queue, NULL, NULL, 0));
	connection_start(runner->conn);
}

void
command_repeat(void)
{
	const char *sql = option_text("sql", "SELECT 1");
	const char *role = option_text("role", NULL);
	int			n = option_number("connections", 1);
	const char *before = option_text("before", NULL);
	double		seconds = option_number("seconds", 0);
	int64_t		events = option_number("events", 0);
	bool		warm = option_given("warm");
	Runner	   *runners = calloc(n, sizeof(Runner));
	Work		work = {.until_empty = option_given("until-empty")};
	Meter		meter;

	prepare_params(&work);
	option_finish();
	if (seconds <= 0 && !work.until_empty && work.kind != PARAM_ID)
		die("this would never end: --seconds or --until-empty");
	for (int i = 0; i < n; i++)
		open_runner(&runners[i], role, sql, warm);
	meter_open(&meter);
	meter_start(&meter);
	if (seconds > 0)
		work.stop_at = meter.started_at + (int64_t) (seconds * SECOND);
	if (before)
		connection_run(runners[0].conn, before);
	run(runners, n, &work);
	meter_stop(&meter);
	meter_print(&meter, events > 0 ? events : work.events);
	printf("statements %ld\n", (long) work.statements);
}

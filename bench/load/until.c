/*
 * until.c: one statement, and then how long it takes until all that it asked for is done.
 *
 * Runs --sql, then --done every --period seconds until it says true.  What it asked for
 * are --events events.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "connection.h"
#include "meter.h"
#include "option.h"
#include "timestamp.h"

void
command_until(void)
{
	const char *role = option_text("role", NULL);
	const char *sql = option_text("sql", "SELECT 1");
	const char *done = option_text("done", "SELECT true");
	int64_t		events = option_number("events", 1);
	double		period = option_number("period", 0.01);
	double		patience = option_number("patience", 120);
	PGconn	   *asker = connection_open(NULL);
	PGconn	   *poster = connection_open(role);
	char	   *answer = NULL;
	Meter		meter;

	option_finish();
	connection_prepare(poster, "post", sql);
	connection_prepare(asker, "done", done);
	meter_open(&meter);
	meter_start(&meter);
	connection_run(poster, "EXECUTE post");
	while (!answer || strcmp(answer, "t") != 0)
	{
		if (timestamp_now() > meter.started_at + (int64_t) (patience * SECOND))
			die("not done after %.0f s", patience);
		usleep(period * SECOND);
		free(answer);
		answer = connection_value(asker, "EXECUTE done");
	}
	meter_stop(&meter);
	meter_print(&meter, events);
}

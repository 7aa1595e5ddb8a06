/*
 * load.c: the load generator of the bench.
 *
 * `load COMMAND --option=value …` puts one kind of load on a server and prints what
 * it measured, one "metric value" a line. Where to connect is taken from libpq's
 * environment (PGHOST, PGPORT, PGUSER, PGDATABASE).
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "option.h"

typedef struct
{
	const char *name;
	void		(*run) (void);
	const char *help;
} Command;

static const Command commands[] = {
	{"repeat", command_repeat, "one statement over and over on some connections"},
	{"stream", command_stream, "post events at a steady rate"},
	{"listen", command_listen, "join, read notifications, confirm"},
	{"poll", command_poll, "take events by asking every so often"},
	{"until", command_until, "one statement, and wait until all it asked for is done"},
	{"idle", command_idle, "what listeners cost while nothing happens"},
	{"crowd", command_crowd, "be there while something else is measured"},
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static int
usage(void)
{
	fprintf(stderr, "usage: load COMMAND --option=value …\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].help);
	return 2;
}

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < NCOMMANDS; i++)
	{
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		option_init(argc - 2, argv + 2);
		commands[i].run();
		return 0;
	}
	return usage();
}

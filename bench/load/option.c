/*
 * option.c: --name=value on the command line.
 *
 * A command asks for its options by name, each with a default, and then calls
 * option_finish, which refuses the ones nobody asked for.
 */
#include "option.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	count;
static char **words;
static bool *asked;

void
option_init(int argc, char **argv)
{
	count = argc;
	words = argv;
	asked = calloc(argc + 1, sizeof(bool));
}

/* The value given for the name; the last one wins; NULL when not given. */
static const char *
find(const char *name)
{
	size_t		length = strlen(name);
	const char *value = NULL;

	for (int i = 0; i < count; i++)
	{
		const char *word = words[i];

		if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, name, length) != 0)
			continue;
		if (word[2 + length] == '=')
			value = word + length + 3;
		else if (word[2 + length] == '\0')
			value = "";
		else
			continue;
		asked[i] = true;
	}
	return value;
}

const char *
option_text(const char *name, const char *otherwise)
{
	const char *value = find(name);

	return value ? value : otherwise;
}

double
option_number(const char *name, double otherwise)
{
	const char *value = find(name);
	char	   *end;
	double		number;

	if (!value)
		return otherwise;
	number = strtod(value, &end);
	if (end == value || *end)
		die("--%s wants a number, not \"%s\"", name, value);
	return number;
}

bool
option_given(const char *name)
{
	return find(name) != NULL;
}

void
option_finish(void)
{
	for (int i = 0; i < count; i++)
		if (!asked[i])
			die("unknown option %s", words[i]);
}

void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fprintf(stderr, "load: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

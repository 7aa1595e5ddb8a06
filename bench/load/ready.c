/*
 * ready.c: tells whoever waits for it that all are there.
 */
#include "ready.h"

#include <stdio.h>

#include "option.h"

/* Writes a line to that file (a FIFO); NULL: nobody waits. */
void
tell_ready(const char *path)
{
	FILE	   *file;

	if (!path)
		return;
	file = fopen(path, "w");
	if (!file || fputs("ready\n", file) < 0 || fclose(file) != 0)
		die("cannot write to %s", path);
}

/*
 * process.c: what /proc tells about the server's processes.
 *
 * CPU is utime + stime in clock ticks (10 ms); differences over seconds are what
 * counts.
 */
#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "option.h"

typedef struct
{
	int			parent;
	double		own_ms;
	double		reaped_ms;		/* of children that have ended */
} Times;

/* False when the process is gone. */
static bool
read_times(int pid, Times *times)
{
	char		path[64];
	char		line[1024];
	char	   *name_end;
	long		tick[4];
	FILE	   *file;
	bool		read;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	read = fgets(line, sizeof(line), file) != NULL;
	fclose(file);
	if (!read || !(name_end = strrchr(line, ')')))
		return false;
	if (sscanf(name_end + 2,
			   "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld",
			   &times->parent, &tick[0], &tick[1], &tick[2], &tick[3]) != 5)
		return false;
	times->own_ms = (tick[0] + tick[1]) * 1000.0 / sysconf(_SC_CLK_TCK);
	times->reaped_ms = (tick[2] + tick[3]) * 1000.0 / sysconf(_SC_CLK_TCK);
	return true;
}

double
process_cpu_ms(int pid)
{
	Times		times;

	if (!read_times(pid, &times))
		die("process %d is gone", pid);
	return times.own_ms;
}

/* The postmaster, its children, and those of its children that have ended. */
double
process_tree_cpu_ms(int postmaster)
{
	DIR		   *proc = opendir("/proc");
	struct dirent *entry;
	Times		times;
	double		sum;

	if (!proc || !read_times(postmaster, &times))
		die("no /proc, or no process %d in it", postmaster);
	sum = times.own_ms + times.reaped_ms;
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char) entry->d_name[0]) &&
			read_times(atoi(entry->d_name), &times) && times.parent == postmaster)
			sum += times.own_ms;
	closedir(proc);
	return sum;
}

/* Context switches, asked for and not. */
int64_t
process_switches(int pid)
{
	char		path[64];
	char		line[256];
	long		number;
	int64_t		sum = 0;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	if (!file)
		die("process %d is gone", pid);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &number) == 1 ||
			sscanf(line, "nonvoluntary_ctxt_switches: %ld", &number) == 1)
			sum += number;
	fclose(file);
	return sum;
}

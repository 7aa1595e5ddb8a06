/*
 * meter.c: time, server CPU and WAL between two moments.
 *
 * Asks through a session of its own, outside of the time it measures.
 */
#include "meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "option.h"
#include "process.h"
#include "timestamp.h"

static double client_cpu_ms(void);
static int64_t lsn_bytes(const char *lsn);

void
meter_open(Meter *meter)
{
	char	   *pid;

	meter->conn = connection_open(NULL);
	pid = connection_value(meter->conn, "SELECT pg_read_file('postmaster.pid')");
	meter->postmaster = atoi(pid);
	free(pid);
}

void
meter_start(Meter *meter)
{
	meter->start_lsn = connection_value(meter->conn,
										"SELECT pg_current_wal_insert_lsn()");
	meter->cpu_ms = process_tree_cpu_ms(meter->postmaster);
	meter->client_cpu_ms = client_cpu_ms();
	meter->started_at = timestamp_now();
}

/* The message at the end makes all of it readable for pg_waldump. */
void
meter_stop(Meter *meter)
{
	meter->stopped_at = timestamp_now();
	meter->client_cpu_ms = client_cpu_ms() - meter->client_cpu_ms;
	meter->cpu_ms = process_tree_cpu_ms(meter->postmaster) - meter->cpu_ms;
	meter->stop_lsn = connection_value(meter->conn,
									   "SELECT pg_current_wal_insert_lsn()");
	connection_run(meter->conn, "SET synchronous_commit = on");
	connection_run(meter->conn, "SELECT pg_logical_emit_message(true, 'bench', 'flush')");
}

void
meter_print(const Meter *meter, int64_t events)
{
	double		seconds = (meter->stopped_at - meter->started_at) / (double) SECOND;
	int64_t		wal = lsn_bytes(meter->stop_lsn) - lsn_bytes(meter->start_lsn);

	if (events == 0)
		die("no event went through");
	printf("events %ld\n", (long) events);
	printf("seconds %.4f\n", seconds);
	printf("rate %.0f\n", events / seconds);
	printf("cpu_us %.2f\n", meter->cpu_ms * 1000 / events);
	printf("client_cpu_us %.2f\n", meter->client_cpu_ms * 1000 / events);
	printf("wal %.1f\n", (double) wal / events);
	printf("start_lsn %s\n", meter->start_lsn);
	printf("stop_lsn %s\n", meter->stop_lsn);
}

static double
client_cpu_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000.0
		+ (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000.0;
}

static int64_t
lsn_bytes(const char *lsn)
{
	unsigned	high;
	unsigned	low;

	if (!lsn || sscanf(lsn, "%X/%X", &high, &low) != 2)
		die("the server told no WAL position");
	return ((int64_t) high << 32) | low;
}

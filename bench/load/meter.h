/*
 * meter.h: time, server CPU and WAL between two moments.
 */
#ifndef METER_H
#define METER_H

#include <stdint.h>

#include "connection.h"

typedef struct
{
	PGconn	   *conn;			/* of the superuser, apart from the load */
	int			postmaster;		/* pid */
	int64_t		started_at;
	int64_t		stopped_at;
	double		cpu_ms;
	double		client_cpu_ms;
	char	   *start_lsn;
	char	   *stop_lsn;
} Meter;

extern void meter_open(Meter *meter);
extern void meter_start(Meter *meter);
extern void meter_stop(Meter *meter);
extern void meter_print(const Meter *meter, int64_t events);

#endif

/*
 * server_zone.h
 *		The time zone of schedules that name none.
 */
#ifndef EVSCHED_SERVER_ZONE_H
#define EVSCHED_SERVER_ZONE_H

#include "pgtime.h"

extern Size evsched_server_zone_size(void);
extern void evsched_server_zone_attach(void *area, bool found);

extern void evsched_server_zone_publish(void);
extern pg_tz *evsched_server_zone_or(text *name);

#endif							/* EVSCHED_SERVER_ZONE_H */

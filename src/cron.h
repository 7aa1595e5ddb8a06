/*
 * cron.h
 *		Cron schedules.
 */
#ifndef EVSCHED_CRON_H
#define EVSCHED_CRON_H

#include "datatype/timestamp.h"

/* Which seconds, minutes and so on a schedule names: bit n stands for n. */
typedef struct EvschedCron
{
	uint64		seconds;
	uint64		minutes;
	uint32		hours;
	uint32		days;			/* bit 0: the last day of the month */
	uint16		months;
	uint8		weekdays;		/* bit 0: Sunday */
	bool		either_day;		/* both kinds of days restricted: one is enough */
	bool		absolute;		/* hour * or stepped: see recurrence.c */
} EvschedCron;

extern void evsched_cron_parse(const char *text, EvschedCron *cron);
extern Timestamp evsched_cron_first(const EvschedCron *cron, Timestamp from,
									Timestamp before);

#endif							/* EVSCHED_CRON_H */

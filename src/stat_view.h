/*
 * stat_view.h
 *		Counters of queues, as far as the caller may see them.
 */
#ifndef EVSCHED_STAT_VIEW_H
#define EVSCHED_STAT_VIEW_H

#include "stat.h"

/* Columns that tell of lateness. */
#define EVSCHED_LATENESS_COLUMNS	5

typedef struct EvschedQueueView
{
	EvschedQueueStat stat;
	int			listeners;
	int			unconfirmed;
} EvschedQueueView;

/* How much of the server's shared memory is in use, by all databases. */
typedef struct EvschedUsage
{
	int			leases;
	int			queue_slots;
	int			workers;
} EvschedUsage;

extern int	evsched_stat_view_queues(EvschedStore store, EvschedQueueView **list);
extern bool evsched_stat_view_scheduler(EvschedStore store, EvschedSchedulerStat *stat);
extern EvschedUsage evsched_stat_view_usage(void);
extern void evsched_stat_view_put_lateness(Datum *values, bool *nulls,
										   const EvschedLateness *lateness);

#endif							/* EVSCHED_STAT_VIEW_H */

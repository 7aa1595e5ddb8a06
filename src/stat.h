/*
 * stat.h
 *		Counters of queues and schedulers, in shared memory.
 */
#ifndef EVSCHED_STAT_H
#define EVSCHED_STAT_H

#include "evsched.h"
#include "lateness.h"

/* What is counted for each queue. */
typedef enum EvschedCount
{
	EVSCHED_COUNT_POSTED,		/* by a function, plain INSERT, or redrive */
	EVSCHED_COUNT_DELIVERED,	/* handed to a listener by a turn */
	EVSCHED_COUNT_TAKEN,
	EVSCHED_COUNT_RECEIVED,
	EVSCHED_COUNT_CONFIRMED,
	EVSCHED_COUNT_FAILED,		/* deliveries: lease over, rejected, holder gone */
	EVSCHED_COUNT_DEAD,
	EVSCHED_COUNT_CANCELLED,	/* by cancel, or plain DELETE */
	EVSCHED_COUNT_SUCCEEDED,	/* runs */
	EVSCHED_COUNT_LOST,			/* runs: their worker or the server has died */
	EVSCHED_NUM_COUNTS
} EvschedCount;

/* What is known of a queue; this is also how the file keeps it. */
typedef struct EvschedQueueStat
{
	EvschedStore store;			/* database InvalidOid: none */
	char		queue[EVSCHED_QUEUE_BYTES + 1]; /* empty: those that share a slot */
	TimestampTz since;
	int64		counts[EVSCHED_NUM_COUNTS];
	EvschedLateness lateness;	/* of what turns handed out; of a pool: of its runs */
} EvschedQueueStat;

/* The same of a database's scheduler. */
typedef struct EvschedSchedulerStat
{
	EvschedStore store;
	TimestampTz since;
	TimestampTz started_at;
	int64		starts;
	int64		turns;
	int64		busy_turns;		/* that handed out something */
	int64		wakeups;
	int64		delivered;
	int64		notifications;
	int64		clock_steps;
	TimestampTz last_clock_step_at; /* 0: never */
	EvschedLateness lateness;
} EvschedSchedulerStat;

extern Size evsched_stat_size(void);
extern void evsched_stat_attach(void *area, bool found);

/* For these the caller holds the directory lock, exclusively. */
extern void evsched_stat_move_in(int slot, int shared_slot, EvschedStore store,
								 const char *queue);
extern void evsched_stat_move_out(int slot, int shared_slot);

/* These take it themselves. */
extern void evsched_stat_forget(EvschedStore store, bool others);
extern void evsched_stat_start(int database, EvschedStore store);

/* These need no lock. */
extern void evsched_stat_count(int slot, const int64 *counts);
extern void evsched_stat_handed(int slot, const TimestampTz *due_at, int n, bool jobs);
extern void evsched_stat_turn(int slot, bool busy, int64 notifications);
extern void evsched_stat_wakeup(int database);
extern void evsched_stat_clock_step(int database, TimestampTz now);

/* For this the caller holds the lease lock, exclusively. */
extern void evsched_stat_begun(int slot, int64 late);

/* For these the caller holds the directory lock, shared. */
extern bool evsched_stat_queue(int slot, EvschedStore store, EvschedQueueStat *stat);
extern bool evsched_stat_scheduler(EvschedStore store, EvschedSchedulerStat *stat);

#endif							/* EVSCHED_STAT_H */

/*
 * staff.h
 *		The worker processes, in shared memory.
 */
#ifndef EVSCHED_STAFF_H
#define EVSCHED_STAFF_H

#include "evsched.h"
#include "lateness.h"
#include "lease.h"

typedef enum EvschedStaffState
{
	EVSCHED_STAFF_FREE,
	EVSCHED_STAFF_STARTING,		/* the postmaster was asked for it */
	EVSCHED_STAFF_IDLE,
	EVSCHED_STAFF_BUSY,			/* it has a job or a call */
	EVSCHED_STAFF_LEAVING		/* it gets nothing any more */
} EvschedStaffState;

/* Why a run, or a call, is to be ended. */
typedef enum EvschedStaffStop
{
	EVSCHED_STAFF_NO_STOP,
	EVSCHED_STAFF_STOP_RUN,			/* somebody has called stop_run, or a caller has gone on */
	EVSCHED_STAFF_STOP_FORCED			/* ... or force_stop: the job stays queued */
} EvschedStaffStop;

/* A job, or a call, as it was handed to a worker. */
typedef struct EvschedTask
{
	int64		event_id;		/* of a call: the id of its lease, less than 0 */
	uint64		serial;			/* of its lease */
	TimestampTz due_at;
	int64		recurring;		/* 0: of no series */
	int32		owner;
	int			queue;			/* slot of the pool's queue */
	int			crew;			/* slot of the listener */
	int			number;			/* of the worker in its pool, from 1 on */
	bool		call;			/* no event, but what map asks for */
	bool		suspect;		/* the last run of the event was lost */
	char		pool[EVSCHED_QUEUE_BYTES + 1];
} EvschedTask;

/* All of it is guarded by the lease lock. */
typedef struct EvschedStaff
{
	EvschedStaffState state;
	uint32		generation;		/* grows when the slot is freed */
	EvschedStore store;
	Oid			role;
	int			pid;			/* 0: it has not started yet */
	int			procno;
	int64		since;			/* µs, monotonic: in this state */

	EvschedTask task;			/* of a busy one */
	int64		run_id;			/* less than 0: of a call; 0: nothing has begun */
	TimestampTz started_at;		/* of the run of a job */
	EvschedStaffStop stop;
	bool		last_job;		/* it leaves when it has done this one */

	TimestampTz hired_at;
	int64		num_runs;		/* of jobs */
	int64		num_failed;		/* of these: did not succeed */
	int64		busy;			/* µs, but for what it has now */
	EvschedLateness lateness;	/* of the beginnings of its runs */
} EvschedStaff;

extern Size evsched_staff_size(void);
extern void evsched_staff_attach(void *area, bool found);
extern int	evsched_staff_slots(void);

/* Of this process; EVSCHED_NO_SLOT: it is no worker. */
extern int	evsched_staff_mine(void);
extern bool evsched_staff_is_mine(int slot);
extern bool evsched_staff_enter(int slot, uint32 generation);
extern bool evsched_staff_is_stale(void);
extern void evsched_staff_leave(void);
extern void evsched_staff_set_cancellable(bool cancellable);
extern bool evsched_staff_is_cancellable(void);

/* These take the lock themselves. */
extern int	evsched_staff_list(EvschedStore store, EvschedStaff **list);
extern void evsched_staff_send_away(Oid database, Oid table);
extern void evsched_staff_renew(void);
extern int	evsched_staff_count_waiting(Oid database);
extern bool evsched_staff_stop(EvschedStore store, int64 run_id, EvschedStaffStop why);

/* For this the caller holds it, shared at least. */
extern int	evsched_staff_count_all(void);

/* For these the caller holds it, exclusively. */
extern EvschedStaff *evsched_staff_get(int slot);
extern int	evsched_staff_reserve(EvschedStore store, Oid role);
extern void evsched_staff_release(int slot);
extern int	evsched_staff_find_idle(EvschedStore store, Oid role);
extern int	evsched_staff_count(EvschedStore store, Oid role, EvschedStaffState state);
extern bool evsched_staff_serves(EvschedStore store, Oid role, const char *pool);
extern bool evsched_staff_runs_suspect(EvschedStore store);
extern int	evsched_staff_running(EvschedStore store, const char *pool);
extern bool evsched_staff_has_number(EvschedStore store, const char *pool, int number);
extern int	evsched_staff_number(EvschedStore store, const char *pool);
extern void evsched_staff_set_state(int slot, EvschedStaffState state);
extern void evsched_staff_wake(int slot);

#endif							/* EVSCHED_STAFF_H */

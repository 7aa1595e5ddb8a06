/*
 * lease.h
 *		Who holds which delivered event, in shared memory.
 */
#ifndef EVSCHED_LEASE_H
#define EVSCHED_LEASE_H

#include "evsched.h"

typedef enum EvschedLeaseKind
{
	EVSCHED_LEASE_LISTENER,		/* delivered by NOTIFY, until confirmed */
	EVSCHED_LEASE_FETCH,		/* announced by NOTIFY, gone once fetched */
	EVSCHED_LEASE_PULL,			/* given out by receive() */
	EVSCHED_LEASE_JOB,			/* for a worker: waits for one, or is run */
	EVSCHED_LEASE_CALL			/* the same of what map asks for: there is no event */
} EvschedLeaseKind;

typedef struct EvschedLease
{
	EvschedStore store;
	int64		id;
	uint64		serial;			/* no two grants have the same */
	TimestampTz due_at;			/* its place, should it be given back */
	int64		deadline;		/* µs, monotonic */
	int32		bytes;			/* of its notification */
	int32		queue;			/* slot */
	int32		listener;		/* slot, or EVSCHED_NO_SLOT */
	int32		pid;			/* of the session it was given to */
	int32		pause_ms;		/* until the next look at a locked row */
	int32		kind;			/* EvschedLeaseKind */
	int64		recurring;		/* the series of the event; 0: none */
	int32		owner;			/* of the event, by number; 0: none */
	int32		worker;			/* that runs the job; EVSCHED_NO_SLOT: none does */
	int32		number;			/* of the pool's slot that a call is for */
	int32		procno;			/* of the session that waits for a call's answer */
	bool		queued;			/* the job, or the call, waits for a worker */
	bool		suspect;		/* the last run of the job was lost */
	bool		dismissed;		/* ended by somebody while the job is run */
	int64		granted_at;		/* µs, monotonic */
	TransactionId prepared;		/* transaction prepared to end it, or ... */
	bool		prepared_grant; /* ... to have granted it; invalid: none */

	/* links: other leases, by number */
	int32		next_in_bucket; /* or the next free one */
	int32		prev_of_listener;
	int32		next_of_listener;
	int32		heap_child;
	int32		heap_next;
	int32		heap_prev;		/* previous sibling, or the parent */
	int32		prev_queued;
	int32		next_queued;
} EvschedLease;

extern Size evsched_lease_size(void);
extern void evsched_lease_attach(void *area, bool found);

/* Monotonic clock in µs. */
extern int64 evsched_lease_clock(void);

/* These take the lock themselves. */
extern bool evsched_lease_exists(EvschedStore store, int64 id);
extern bool evsched_lease_waits(EvschedStore store, int64 id);
extern int	evsched_lease_queue(EvschedStore store, int64 id);
extern bool evsched_lease_any_of(int queue, int64 recurring, bool await);
extern bool evsched_lease_extend(EvschedStore store, int64 id, int64 deadline);
extern int	evsched_lease_collect_over(int database, int64 clock,
									   EvschedLease *over, int max);
extern int64 evsched_lease_arm(int database);
extern bool evsched_lease_any(int database);
extern void evsched_lease_settle_prepared(EvschedStore store);
extern void evsched_lease_forget(EvschedStore store, bool others);
extern int	evsched_lease_list(EvschedStore store, EvschedLease **leases);

/* For these the caller holds the lock: shared for find, else exclusive. */
extern EvschedLease *evsched_lease_find(EvschedStore store, int64 id);
extern EvschedLease *evsched_lease_grant(const EvschedLease *lease);
extern void evsched_lease_end(EvschedLease *lease);
extern void evsched_lease_dismiss(EvschedLease *lease);
extern void evsched_lease_enqueue(EvschedLease *lease);
extern void evsched_lease_dequeue(EvschedLease *lease);
extern EvschedLease *evsched_lease_first_queued(int crew);
extern EvschedLease *evsched_lease_first_job(int crew);
extern EvschedLease *evsched_lease_next_queued(const EvschedLease *lease);
extern void evsched_lease_set_deadline(EvschedLease *lease, int64 deadline);
extern void evsched_lease_orphan(EvschedLease *lease);
extern void evsched_lease_restart(int listener, int64 granted_at, int64 clock);
extern void evsched_lease_give_back(EvschedLease *lease);
extern void evsched_lease_look_again(EvschedLease *lease);
extern void evsched_lease_prepare(EvschedLease *lease, TransactionId xid, bool grant);
extern EvschedLease *evsched_lease_of_listener(int listener);
extern bool evsched_lease_table_full(void);

#endif							/* EVSCHED_LEASE_H */

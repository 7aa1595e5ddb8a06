/*
 * listener.h
 *		The sessions that joined queues, in shared memory.
 */
#ifndef EVSCHED_LISTENER_H
#define EVSCHED_LISTENER_H

#include "port/atomics.h"

#include "evsched.h"
#include "socket.h"

/* Leases in a row that may run out before a listener gets one at a time. */
#define EVSCHED_LISTENER_PATIENCE	3

typedef enum EvschedListenerState
{
	EVSCHED_LISTENER_FREE,
	EVSCHED_LISTENER_RESERVED,	/* joining, not yet committed */
	EVSCHED_LISTENER_JOINED,	/* in the ring */
	EVSCHED_LISTENER_LEFT		/* out of the ring, its leases run on */
} EvschedListenerState;

/* What join() asks for. */
typedef struct EvschedListenerTerms
{
	char		node[EVSCHED_NODE_BYTES + 1];
	int32		max_events;
	int64		conf_timeout;	/* µs */
	int64		linger;			/* µs */
} EvschedListenerTerms;

/* All of it is guarded by the lease lock. */
typedef struct EvschedListener
{
	EvschedListenerState state;
	uint32		generation;		/* grows when the slot is freed */
	EvschedStore store;
	char		queue_name[EVSCHED_QUEUE_BYTES + 1];
	int			queue;			/* slot */
	EvschedListenerTerms terms;
	int32		max_events;		/* in force; terms.max_events unless set */
	char		channel[EVSCHED_CHANNEL_BYTES];
	int			pid;
	int			procno;
	Oid			role;
	Oid			replaced_role;	/* of the node whose place it may take */
	TimestampTz joined_at;
	TimestampTz last_confirmed_at;	/* 0: never */

	int			unconfirmed;	/* leases held */
	int64		unconfirmed_bytes;
	int32		first_lease;
	int			run_out;		/* leases in a row that ran out */

	pg_atomic_uint64 turns_sent;	/* no lock: notifying turns for it */
	pg_atomic_uint64 turns_read;	/* no lock: of these, read by its backend */
	int64		unread_bytes;	/* sent without a lease since it was seen to read */
	bool		refused;		/* passed over because of these */
	bool		blocked;		/* no lock: passed over while blocked in writing */
	int64		stuck_since;	/* µs, monotonic: its client does not read; 0: it does */
	int64		stuck_at;		/* what it had not read then */
	EvschedSocket socket;		/* its connection */

	/* of a crew: the workers of one role in one pool */
	bool		crew;
	int32		first_queued;	/* what waits for a worker: calls before jobs */
	int32		last_queued;
	int32		last_call;		/* the last of the calls among it */
	int			num_queued;
	int			num_calls;		/* of these: calls */
	int			failures;		/* to start a worker, in a row */
	int64		start_at;		/* µs, monotonic: none is started before */

	int			prev_in_ring;
	int			next_in_ring;
} EvschedListener;

typedef struct EvschedListenerRef
{
	int			slot;
	uint32		generation;
} EvschedListenerRef;

extern Size evsched_listener_size(void);
extern void evsched_listener_attach(void *area, bool found);
extern EvschedListener *evsched_listener_get(int slot);

/* These take the lock themselves. */
extern EvschedListenerRef evsched_listener_reserve(EvschedStore store, const char *queue_name,
												   const char *channel,
												   const EvschedListenerTerms *terms,
												   Oid replaced_role);
extern EvschedListenerRef evsched_listener_mine(EvschedStore store, const char *queue_name);
extern Oid	evsched_listener_role_of(EvschedStore store, const char *queue_name,
									 const char *node);
extern int	evsched_listener_set_max_events(EvschedListenerRef ref, int max_events);
extern void evsched_listener_mark_read(void);
extern void evsched_listener_forget(EvschedStore store, bool others);
extern int	evsched_listener_list(EvschedStore store, EvschedListener **list);

/* For these the caller holds it, exclusively. */
extern int	evsched_listener_add_crew(EvschedStore store, int queue, const char *pool, Oid role);
extern int	evsched_listener_count_crews(int queue);
extern bool evsched_listener_is_current(EvschedListenerRef ref);
extern bool evsched_listener_is_joined(EvschedListenerRef ref);
extern void evsched_listener_activate(EvschedListenerRef ref);
extern void evsched_listener_give_up(EvschedListenerRef ref);
extern void evsched_listener_exit(void);
extern void evsched_listener_emptied(int slot);
extern void evsched_listener_untell(EvschedListenerRef ref);
extern void evsched_listener_unsend(EvschedListenerRef ref, int64 bytes);
extern void evsched_listener_leave(EvschedListenerRef ref, bool release);
extern void evsched_listener_to_end(int slot);
extern void evsched_listener_confirmed(int slot);
extern void evsched_listener_ran_out(int slot);
extern int	evsched_listener_credit(const EvschedListener *listener);

#endif							/* EVSCHED_LISTENER_H */

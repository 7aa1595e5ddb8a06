/*
 * effect.h
 *		What the transaction of this process will do to shared memory when
 *		it ends.
 */
#ifndef EVSCHED_EFFECT_H
#define EVSCHED_EFFECT_H

#include "lease.h"
#include "listener.h"
#include "queue.h"
#include "stat.h"

extern void evsched_effect_init(void);

/* Something becomes available when the transaction commits ... */
extern void evsched_effect_due(EvschedStore store, const char *queue, EvschedPlace place);

/* ... or when it does not. */
extern void evsched_effect_back(EvschedStore store, const char *queue, EvschedPlace place);

/* An event for all listeners comes, goes or moves, or does not: it is looked at. */
extern void evsched_effect_for_all(EvschedStore store, const char *queue);

/* So many are counted for a queue when it commits. */
extern void evsched_effect_count(EvschedStore store, const char *queue,
								 EvschedCount count, int64 n);

/* The first place in a queue that this transaction has written itself. */
extern EvschedPlace evsched_effect_first(EvschedStore store, const char *queue);

/* The lease of an event, if any, ends with the commit. */
extern void evsched_effect_end_lease(EvschedStore store, int64 id, bool confirmed);

/* A lease just granted is given back unless the transaction commits. */
extern void evsched_effect_granted(const EvschedLease *lease);

/* A job just leased waits for a worker from the commit on; else it is given back. */
extern void evsched_effect_queue(const EvschedLease *lease);

/* The run that has this lease ends with the commit, whatever has become of the event. */
extern void evsched_effect_finish(EvschedStore store, int64 id, uint64 serial);

/* A listener just told or sent something was not, unless the transaction commits. */
extern void evsched_effect_told(EvschedListenerRef listener);
extern void evsched_effect_sent(EvschedListenerRef listener, int64 bytes);

/* Makes room for two of the above, which are called under the lease lock. */
extern void evsched_effect_reserve(void);

extern void evsched_effect_join(EvschedListenerRef listener);
/* This session no longer listens to anything. */
extern void evsched_effect_exit(void);

extern void evsched_effect_leave(EvschedListenerRef listener, bool release);

/* Every queue of the store is looked at after the commit ... */
extern void evsched_effect_due_anywhere(EvschedStore store);

/* ... and so are its settings and roles. */
extern void evsched_effect_recheck(EvschedStore store);

#endif							/* EVSCHED_EFFECT_H */

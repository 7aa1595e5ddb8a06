/*
 * crew.h
 *		The jobs and calls of one role in one pool, on their way to its workers.
 */
#ifndef EVSCHED_CREW_H
#define EVSCHED_CREW_H

#include "lease.h"
#include "listener.h"

/* For these the caller holds the lease lock, exclusively. */
extern int	evsched_crew_find(EvschedStore store, int queue, const char *pool, Oid role);
extern bool evsched_crew_is(const EvschedListener *listener, EvschedStore store);
extern int	evsched_crew_credit(EvschedStore store, int queue, const char *pool);
extern int	evsched_crew_share(const EvschedListener *crew, int64 clock);
extern bool evsched_crew_runs_low(const EvschedListener *crew);
extern void evsched_crew_enqueue(EvschedLease *lease);
extern void evsched_crew_dispatch(EvschedStore store, int queue, const char *pool);
extern void evsched_crew_go_on(EvschedStore store, int queue, const char *pool, bool call);
extern void evsched_crew_dispatch_all(EvschedStore store, Oid role);
extern void evsched_crew_dispatch_oldest(EvschedStore store, Oid role);
extern void evsched_crew_refit(EvschedStore store);
extern void evsched_crew_recall(int queue, const char *pool, Oid role);
extern void evsched_crew_delay(EvschedStore store, Oid role, int64 clock);

/* For these shared is enough. */
extern int	evsched_crew_count_ready(int slot, int max);
extern bool evsched_crew_waits(EvschedStore store, Oid role);
extern int	evsched_crew_list_stalled(EvschedStore store, Oid *roles);

#endif							/* EVSCHED_CREW_H */

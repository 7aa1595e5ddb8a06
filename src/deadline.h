/*
 * deadline.h
 *		The leases of a database, first deadline first.
 */
#ifndef EVSCHED_DEADLINE_H
#define EVSCHED_DEADLINE_H

#include "lease.h"

/* Links are numbers of leases; this is none. */
#define EVSCHED_NO_LEASE	(-1)

extern int32 evsched_deadline_insert(EvschedLease *slots, int32 root, int32 n);
extern int32 evsched_deadline_remove(EvschedLease *slots, int32 root, int32 n);

#endif							/* EVSCHED_DEADLINE_H */

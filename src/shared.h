/*
 * shared.h
 *		Fixed shared memory of evsched and its two locks.
 */
#ifndef EVSCHED_SHARED_H
#define EVSCHED_SHARED_H

#include "evsched.h"

/* True when the server was started with the library preloaded. */
extern bool evsched_shared_ready(void);

/* Guards which slot belongs to which database and queue. */
extern LWLock *evsched_directory_lock;

/* Guards leases, listeners and the rings. */
extern LWLock *evsched_lease_lock;

extern void evsched_shared_init(void);
extern void evsched_shared_require(void);

#endif							/* EVSCHED_SHARED_H */

/*
 * expire.h
 *		Leases that are over.
 */
#ifndef EVSCHED_EXPIRE_H
#define EVSCHED_EXPIRE_H

#include "evsched.h"

extern bool evsched_expire_run(EvschedStore store, int database, int64 clock);

#endif							/* EVSCHED_EXPIRE_H */

/*
 * lost.h
 *		Runs that were cut off by the death of their worker or of the server.
 */
#ifndef EVSCHED_LOST_H
#define EVSCHED_LOST_H

#include "evsched.h"

extern int64 evsched_lost_settle(EvschedStore store, int64 clock);

#endif							/* EVSCHED_LOST_H */

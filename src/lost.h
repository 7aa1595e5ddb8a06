/*
 * lost.h
 *		Runs that were cut off by the death of their worker or of the server.
 */
#ifndef EVSCHED_LOST_H
#define EVSCHED_LOST_H

#include "evsched.h"

extern bool evsched_lost_settle(EvschedStore store);

#endif							/* EVSCHED_LOST_H */

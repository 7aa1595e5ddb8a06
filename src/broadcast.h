/*
 * broadcast.h
 *		Events of which every listener gets a copy.
 */
#ifndef EVSCHED_BROADCAST_H
#define EVSCHED_BROADCAST_H

#include "turn.h"

extern void evsched_broadcast_start(EvschedStore store);
extern EvschedNextTurn evsched_broadcast_run(EvschedStore store, int slot);

#endif							/* EVSCHED_BROADCAST_H */

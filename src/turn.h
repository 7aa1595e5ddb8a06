/*
 * turn.h
 *		One turn of the scheduler for one queue.
 */
#ifndef EVSCHED_TURN_H
#define EVSCHED_TURN_H

#include "evsched.h"

/* When a queue wants its next turn. */
typedef struct EvschedNextTurn
{
	bool		again;			/* at once */
	TimestampTz at;				/* else then, or when it is touched */
	bool		blocked;		/* something is to be looked at again soon */
	bool		progress;		/* something was handed out */
	bool		watch;			/* somebody does not seem to read */
} EvschedNextTurn;

extern EvschedNextTurn evsched_turn_run(EvschedStore store, int slot);

#endif							/* EVSCHED_TURN_H */

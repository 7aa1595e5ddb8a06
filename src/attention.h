/*
 * attention.h
 *		Which queues the scheduler is to look at, now or at a time.
 */
#ifndef EVSCHED_ATTENTION_H
#define EVSCHED_ATTENTION_H

#include "turn.h"

extern void evsched_attention_start(void);
extern void evsched_attention_collect(int database, TimestampTz now);
extern int	evsched_attention_pending(void);
extern int	evsched_attention_next(void);
extern void evsched_attention_after(int slot, EvschedNextTurn next);
extern TimestampTz evsched_attention_wake_at(void);

#endif							/* EVSCHED_ATTENTION_H */

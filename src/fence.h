/*
 * fence.h
 *		Delivering only what a synchronous standby has.
 */
#ifndef EVSCHED_FENCE_H
#define EVSCHED_FENCE_H

extern void evsched_fence_begin(void);
extern bool evsched_fence_wait(int database);

#endif							/* EVSCHED_FENCE_H */

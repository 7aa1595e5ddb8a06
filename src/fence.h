/*
 * fence.h
 *		Delivering only what a synchronous standby has.
 */
#ifndef EVSCHED_FENCE_H
#define EVSCHED_FENCE_H

extern void evsched_fence_begin(void);
extern void evsched_fence_wait(void);

#endif							/* EVSCHED_FENCE_H */

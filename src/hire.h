/*
 * hire.h
 *		Starting workers, and sending them away.
 */
#ifndef EVSCHED_HIRE_H
#define EVSCHED_HIRE_H

#include "evsched.h"

extern void evsched_hire_start(void);
extern int64 evsched_hire_run(EvschedStore store, int database, int64 clock);
extern void evsched_hire_forget(EvschedStore store);

#endif							/* EVSCHED_HIRE_H */

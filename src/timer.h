/*
 * timer.h
 *		The one place where the scheduler sleeps.
 */
#ifndef EVSCHED_TIMER_H
#define EVSCHED_TIMER_H

#include "datatype/timestamp.h"

extern void evsched_timer_start(void);
extern void evsched_timer_watch(const int *fds, int n);
extern void evsched_timer_sleep(TimestampTz until);

#endif							/* EVSCHED_TIMER_H */

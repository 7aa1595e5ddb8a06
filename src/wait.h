/*
 * wait.h
 *		Waiting, in a session, for what nobody announces.
 */
#ifndef EVSCHED_WAIT_H
#define EVSCHED_WAIT_H

#define EVSCHED_WAIT_FOREVER	PG_INT64_MAX

typedef bool (*EvschedCondition) (void *arg);

extern bool evsched_wait_until(EvschedCondition condition, void *arg, int pause_ms, int64 us);

#endif							/* EVSCHED_WAIT_H */

/*
 * run.h
 *		One run of a job by a worker.
 */
#ifndef EVSCHED_RUN_H
#define EVSCHED_RUN_H

#include "staff.h"

extern void evsched_run_init(void);
extern bool evsched_run_event(EvschedPlace *place);
extern bool evsched_run_task(EvschedStore store, Oid role, const EvschedTask *task);

#endif							/* EVSCHED_RUN_H */

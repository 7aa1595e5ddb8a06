/*
 * job.h
 *		Jobs: events with a command.
 */
#ifndef EVSCHED_JOB_H
#define EVSCHED_JOB_H

#include "fmgr.h"

#include "entry.h"

extern text *evsched_job_command(FunctionCallInfo fcinfo, int n, const char *argument);
extern const char *evsched_job_pool(FunctionCallInfo fcinfo, int n);
extern void evsched_job_require_login(void);
extern void evsched_job_options(FunctionCallInfo fcinfo, int key, EvschedEntry *entry);

#endif							/* EVSCHED_JOB_H */

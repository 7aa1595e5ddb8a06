/*
 * process.h
 *		What all background processes of evsched have in common.
 */
#ifndef EVSCHED_PROCESS_H
#define EVSCHED_PROCESS_H

#include "postmaster/bgworker.h"

extern void evsched_process_describe(BackgroundWorker *worker, const char *name,
									 const char *function);
extern void evsched_process_start(const char *name);
extern void evsched_process_begin(void);
extern void evsched_process_end(void);
extern void evsched_process_abort(void);
extern void evsched_process_interrupts(void);

#endif							/* EVSCHED_PROCESS_H */

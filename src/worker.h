/*
 * worker.h
 *		The background processes that run jobs.
 */
#ifndef EVSCHED_WORKER_H
#define EVSCHED_WORKER_H

#include "postmaster/bgworker.h"

extern bool evsched_worker_launch(int slot, uint32 generation, BackgroundWorkerHandle **handle);
extern PGDLLEXPORT void evsched_worker_main(Datum slot);

#endif							/* EVSCHED_WORKER_H */

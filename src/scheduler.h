/*
 * scheduler.h
 *		The background process of a database.
 */
#ifndef EVSCHED_SCHEDULER_H
#define EVSCHED_SCHEDULER_H

#include "postmaster/bgworker.h"

extern bool evsched_scheduler_launch(Oid database, BackgroundWorkerHandle **handle);
extern PGDLLEXPORT void evsched_scheduler_main(Datum database);

#endif							/* EVSCHED_SCHEDULER_H */

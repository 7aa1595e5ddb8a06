/*
 * series.h
 *		Recurring events: posting them, and changing what they do.
 */
#ifndef EVSCHED_SERIES_H
#define EVSCHED_SERIES_H

#include "entry.h"
#include "plan.h"

extern int64 evsched_series_post(EvschedEntry *entry, const EvschedTerms *terms,
								 const char *function);
extern void evsched_series_note_watch(void);
extern int64 evsched_series_waiting(int64 series);

/* To be called by who has the right to, with an id that is a series'. */
extern void evsched_series_end(int64 series);
extern bool evsched_series_move(int64 series, TimestampTz due_at);
extern bool evsched_series_pause(int64 series, bool paused);
extern bool evsched_series_run_now(int64 series);

#endif							/* EVSCHED_SERIES_H */

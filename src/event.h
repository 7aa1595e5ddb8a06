/*
 * event.h
 *		The columns of evsched.event.
 */
#ifndef EVSCHED_EVENT_H
#define EVSCHED_EVENT_H

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "evsched.h"

/* In the order of sql/event.sql. */
enum
{
	EVSCHED_EVENT_ID = 1,
	EVSCHED_EVENT_DUE_AT,
	EVSCHED_EVENT_NUM_RETRIES,
	EVSCHED_EVENT_OWNER,
	EVSCHED_EVENT_MAX_RETRIES,
	EVSCHED_EVENT_QUEUE,
	EVSCHED_EVENT_PAYLOAD,
	EVSCHED_EVENT_KEY,
	EVSCHED_EVENT_RETRY_DELAY,
	EVSCHED_EVENT_RECURRING,
	EVSCHED_EVENT_COMMAND,
	EVSCHED_EVENT_LAST_ERROR,
	EVSCHED_EVENT_PLANNED_AT,
	EVSCHED_EVENT_RUN_TIMEOUT,
	EVSCHED_EVENT_BODY,
	EVSCHED_EVENT_HANDLES,
	EVSCHED_EVENT_NUM_LOST,
	EVSCHED_EVENT_PAUSED,
	EVSCHED_EVENT_FOR_ALL
};
#define EVSCHED_EVENT_COLUMNS	EVSCHED_EVENT_FOR_ALL

/* A value of a row's column, and whether there is one. */
#define evsched_event_value(row, column)	((row)->tts_values[(column) - 1])
#define evsched_event_has(row, column)		(!(row)->tts_isnull[(column) - 1])

extern int64 evsched_event_id(TupleTableSlot *row);
extern EvschedPlace evsched_event_place(TupleTableSlot *row);
extern int	evsched_event_num_retries(TupleTableSlot *row);
extern int	evsched_event_next_retry(TupleTableSlot *row);
extern int	evsched_event_num_lost(TupleTableSlot *row);
extern int32 evsched_event_owner(TupleTableSlot *row);
extern bool evsched_event_is_job(TupleTableSlot *row);
extern bool evsched_event_is_series(TupleTableSlot *row);
extern bool evsched_event_is_paused(TupleTableSlot *row);
extern bool evsched_event_is_for_all(TupleTableSlot *row);
extern int64 evsched_event_recurring(TupleTableSlot *row);
extern TimestampTz evsched_event_planned_at(TupleTableSlot *row);
extern void evsched_event_queue(TupleTableSlot *row, char *name);
extern TimestampTz evsched_event_retry_at(TupleTableSlot *row, TimestampTz now,
										  const Interval *delay);

#endif							/* EVSCHED_EVENT_H */

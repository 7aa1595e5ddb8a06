/*
 * event.c
 *		What a row of evsched.event says.
 *
 * Pure: no locks, no access to tables.  The row has all its columns deformed
 * (slot_getallattrs).
 */
#include "postgres.h"

#include "event.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

int64
evsched_event_id(TupleTableSlot *row)
{
	return DatumGetInt64(evsched_event_value(row, EVSCHED_EVENT_ID));
}

EvschedPlace
evsched_event_place(TupleTableSlot *row)
{
	return (EvschedPlace)
	{
		DatumGetTimestampTz(evsched_event_value(row, EVSCHED_EVENT_DUE_AT)),
			evsched_event_id(row)
	};
}

int
evsched_event_num_retries(TupleTableSlot *row)
{
	return DatumGetInt32(evsched_event_value(row, EVSCHED_EVENT_NUM_RETRIES));
}

/* The number of its next retry; who counts for ever stops counting one day. */
int
evsched_event_next_retry(TupleTableSlot *row)
{
	return Min(evsched_event_num_retries(row), PG_INT32_MAX - 1) + 1;
}

/* How many of its runs in a row, up to the last, were lost. */
int
evsched_event_num_lost(TupleTableSlot *row)
{
	if (!evsched_event_has(row, EVSCHED_EVENT_NUM_LOST))
		return 0;
	return DatumGetInt32(evsched_event_value(row, EVSCHED_EVENT_NUM_LOST));
}

/* The number of its owner; 0: it has none. */
int32
evsched_event_owner(TupleTableSlot *row)
{
	if (!evsched_event_has(row, EVSCHED_EVENT_OWNER))
		return 0;
	return DatumGetInt32(evsched_event_value(row, EVSCHED_EVENT_OWNER));
}

bool
evsched_event_is_job(TupleTableSlot *row)
{
	return evsched_event_has(row, EVSCHED_EVENT_COMMAND);
}

/* Does the row stand for a series?  Then it is never due itself. */
bool
evsched_event_is_series(TupleTableSlot *row)
{
	return evsched_event_recurring(row) == evsched_event_id(row);
}

bool
evsched_event_is_paused(TupleTableSlot *row)
{
	return evsched_event_has(row, EVSCHED_EVENT_PAUSED) &&
		DatumGetBool(evsched_event_value(row, EVSCHED_EVENT_PAUSED));
}

/* Does every listener get a copy? */
bool
evsched_event_is_for_all(TupleTableSlot *row)
{
	return evsched_event_has(row, EVSCHED_EVENT_FOR_ALL) &&
		DatumGetBool(evsched_event_value(row, EVSCHED_EVENT_FOR_ALL));
}

/* The series it belongs to, or stands for; 0: none. */
int64
evsched_event_recurring(TupleTableSlot *row)
{
	if (!evsched_event_has(row, EVSCHED_EVENT_RECURRING))
		return 0;
	return DatumGetInt64(evsched_event_value(row, EVSCHED_EVENT_RECURRING));
}

/* Its place in the schedule of its series; asked only where it has one. */
TimestampTz
evsched_event_planned_at(TupleTableSlot *row)
{
	return DatumGetTimestampTz(evsched_event_value(row, EVSCHED_EVENT_PLANNED_AT));
}

/* Copies the queue's name into EVSCHED_QUEUE_BYTES + 1 bytes. */
void
evsched_event_queue(TupleTableSlot *row, char *name)
{
	text_to_cstring_buffer((text *) DatumGetPointer(evsched_event_value(row, EVSCHED_EVENT_QUEUE)),
						   name, EVSCHED_QUEUE_BYTES + 1);
}

/*
 * When an event whose delivery has just failed is due again: after a delay,
 * doubled for each retry it has had.
 */
TimestampTz
evsched_event_retry_at(TupleTableSlot *row, TimestampTz now, const Interval *delay)
{
	int64		wait;

	if (delay->day != 0 || delay->month != 0)
		wait = EVSCHED_MAX_BACKOFF;
	else
		wait = Min(delay->time, EVSCHED_MAX_BACKOFF);
	for (int i = evsched_event_num_retries(row); i > 0 && wait > 0 && wait < EVSCHED_MAX_BACKOFF; i--)
		wait = Min(wait * 2, EVSCHED_MAX_BACKOFF);
	return now + wait;
}

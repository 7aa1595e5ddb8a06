/*
 * run_slot.h
 *		Which runs are under way, in memory that outlives a crash of the server.
 */
#ifndef EVSCHED_RUN_SLOT_H
#define EVSCHED_RUN_SLOT_H

#include "evsched.h"

typedef enum EvschedRunSlotState
{
	EVSCHED_RUN_SLOT_FREE,
	EVSCHED_RUN_SLOT_RUNNING,
	EVSCHED_RUN_SLOT_LOST,		/* its worker, or the server, has died */
	EVSCHED_RUN_SLOT_CUT_OFF	/* the server was shut down: nobody's fault */
} EvschedRunSlotState;

/* Written by its worker while it is running; else guarded by the lease lock. */
typedef struct EvschedRunSlot
{
	uint32		format;
	int32		state;
	EvschedStore store;
	int64		event_id;
	int64		recurring;
	int64		run_id;
	uint64		serial;			/* of its lease */
	TimestampTz due_at;
	TimestampTz started_at;
	int32		owner;
	int32		worker;			/* number in its pool */
	int64		lost_at;		/* µs, monotonic; 0: before the server started */
	char		pool[EVSCHED_QUEUE_BYTES + 1];
} EvschedRunSlot;

extern Size evsched_run_slot_size(void);
extern void evsched_run_slot_attach(void *area, bool found);

extern void evsched_run_slot_begin(const EvschedRunSlot *run);
extern void evsched_run_slot_end(void);
extern bool evsched_run_slot_leave(void);
extern bool evsched_run_slot_any_lost(EvschedStore store);
extern int	evsched_run_slot_list_lost(EvschedStore store, int64 clock, int **slots, bool *more);
extern EvschedRunSlot evsched_run_slot_get(int slot);
extern void evsched_run_slot_settle(int slot);
extern void evsched_run_slot_forget(EvschedStore store, bool others);

#endif							/* EVSCHED_RUN_SLOT_H */

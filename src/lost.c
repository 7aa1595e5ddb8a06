/*
 * lost.c
 *		Runs that were cut off by the death of their worker or of the server.
 *
 * Called by the scheduler, outside a transaction; each is settled in one of its own.
 * Until then its event stays leased, if the server has lived on.  Settled twice, a
 * run is written down once, and counted twice at worst.
 */
#include "postgres.h"

#include "lost.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "failure.h"
#include "process.h"
#include "run_slot.h"
#include "stop.h"

/* Until the next look, µs. */
#define SOON		(50 * INT64CONST(1000))
#define LATER		USECS_PER_SEC

static bool settle(int slot);

/*
 * Returns when to look again (µs, monotonic): somebody has the row of an event, or a run
 * was lost only just now.
 */
int64
evsched_lost_settle(EvschedStore store, int64 clock)
{
	int		   *slots;
	int			n;
	bool		more;
	bool		all = true;

	if (!evsched_run_slot_any_lost(store))
		return PG_INT64_MAX;
	evsched_process_begin();
	n = evsched_run_slot_list_lost(store, clock, &slots, &more);
	slots = n == 0 ? NULL : memcpy(MemoryContextAlloc(TopMemoryContext, sizeof(int) * n),
								   slots, sizeof(int) * n);
	evsched_process_end();
	for (int i = 0; i < n; i++)
		all &= settle(slots[i]);
	if (slots != NULL)
		pfree(slots);
	return more ? clock + SOON : all ? PG_INT64_MAX : clock + LATER;
}

static bool
settle(int slot)
{
	EvschedRunSlot lost = evsched_run_slot_get(slot);
	bool		at_fault = lost.state == EVSCHED_RUN_SLOT_LOST;
	EvschedFailure failure = {
		.record = {
			.id = lost.run_id,
			.event_id = lost.event_id,
			.recurring = lost.recurring,
			.owner = lost.owner,
			.worker = lost.worker,
			.started_at = lost.started_at,
			.ended_at = GetCurrentTimestamp(),
			.pool = lost.pool,
			.state = EVSCHED_RUN_LOST,
			.command = "",
			.message = at_fault ? "the worker or the server has died in the run" :
			"the server was shut down in the run"
		},
		.due_at = lost.due_at,
		.serial = lost.serial,
		.counts = at_fault
	};
	EvschedAttempt attempt;

	evsched_process_begin();
	attempt = evsched_failure_record(&failure, false);
	/* A crash must not bring the mark back without the count. */
	ForceSyncCommit();
	EVSCHED_STOP("run lost");
	evsched_process_end();
	if (attempt == EVSCHED_ATTEMPT_DONE)
		evsched_run_slot_settle(slot);
	return attempt == EVSCHED_ATTEMPT_DONE;
}

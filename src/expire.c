/*
 * expire.c
 *		Leases that are over: a failed delivery is counted for each, and the
 *		event is due again or dead.
 *
 * Called by the scheduler, outside a transaction; works in one of its own.  A
 * row that somebody holds is being confirmed, or will be free soon: its lease
 * runs on and is looked at again after a pause.
 */
#include "postgres.h"

#include "expire.h"

#include "utils/timestamp.h"

#include "dead.h"
#include "effect.h"
#include "lease.h"
#include "listener.h"
#include "process.h"
#include "setting.h"
#include "shared.h"
#include "stop.h"
#include "table.h"

/* How many leases are dealt with in one transaction. */
#define BATCH_LEASES	1000

typedef struct Over
{
	TimestampTz now;
	const EvschedLease *lease;	/* as it was collected */
} Over;

static void expire_lease(EvschedTable *table, const EvschedLease *lease, TimestampTz now);
static EvschedVerdict decide_over(EvschedTable *table, void *arg);
static bool is_still_over(EvschedTable *table, const EvschedLease *lease);
static void count_against_listener(const EvschedLease *lease);

/* Deals with the leases that are over by this clock; false where none is. */
bool
evsched_expire_run(EvschedStore store, int database, int64 clock)
{
	static EvschedLease over[BATCH_LEASES];
	EvschedTable table;
	TimestampTz now = GetCurrentTimestamp();
	int			n = evsched_lease_collect_over(database, clock, over, BATCH_LEASES);

	if (n == 0)
		return false;
	evsched_process_begin();
	evsched_table_open_for_write(&table, "evsched lease");
	EVSCHED_STOP("lease collected");
	for (int i = 0; i < n; i++)
	{
		if (evsched_store_equal(over[i].store, store))
			expire_lease(&table, &over[i], now);
	}
	evsched_table_close(&table);
	EVSCHED_STOP("lease over");
	evsched_process_end();
	return true;
}

static void
expire_lease(EvschedTable *table, const EvschedLease *lease, TimestampTz now)
{
	Over		over = {now, lease};
	EvschedVerdict verdict = EVSCHED_DELETE;

	if (evsched_table_find(table, lease->id))
	{
		if (evsched_table_try_change(table, lease->id, decide_over, &over,
									 &verdict) != EVSCHED_ATTEMPT_DONE ||
			verdict == EVSCHED_KEEP)
			return;
		count_against_listener(lease);
		evsched_table_count(table, EVSCHED_COUNT_FAILED);
		if (verdict == EVSCHED_DELETE)
			evsched_dead_add(table->row,
							 lease->kind == EVSCHED_LEASE_FETCH ? "not fetched" : "not confirmed",
							 NULL);
	}
	evsched_effect_end_lease(table->store, lease->id, false);
}

static EvschedVerdict
decide_over(EvschedTable *table, void *arg)
{
	Over	   *over = arg;

	if (!is_still_over(table, over->lease))
		return EVSCHED_KEEP;
	if (over->lease->kind == EVSCHED_LEASE_FETCH || evsched_dead_is_due(table->row))
		return EVSCHED_DELETE;
	evsched_table_copy_next(table);
	evsched_table_set_next(table, EVSCHED_EVENT_DUE_AT,
						   TimestampTzGetDatum(evsched_setting_retry_at(table->row, over->now)));
	evsched_table_set_next(table, EVSCHED_EVENT_NUM_RETRIES,
						   Int32GetDatum(evsched_event_next_retry(table->row)));
	return EVSCHED_UPDATE;
}

/*
 * The row is locked now, so the lease can no longer change; but since it was
 * collected it may have been ended, extended, or granted anew.
 */
static bool
is_still_over(EvschedTable *table, const EvschedLease *lease)
{
	EvschedLease *current;
	bool		over;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	current = evsched_lease_find(lease->store, lease->id);
	over = current != NULL && current->serial == lease->serial &&
		current->deadline <= lease->deadline;
	LWLockRelease(evsched_lease_lock);
	/* Whoever has moved the event is about to end its lease. */
	return over && evsched_event_place(table->row).due_at == lease->due_at;
}

/* Too many in a row, and it gets one event at a time. */
static void
count_against_listener(const EvschedLease *lease)
{
	EvschedLease *current;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	current = evsched_lease_find(lease->store, lease->id);
	if (current != NULL && current->listener != EVSCHED_NO_SLOT)
		evsched_listener_ran_out(current->listener);
	LWLockRelease(evsched_lease_lock);
}

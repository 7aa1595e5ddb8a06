/*
 * wait.c
 *		Waiting, in a session, for what nobody announces: for the moment in which a
 *		scheduler has left, has answered, or a call of another session has ended.
 *
 * Rare and short; nothing waits here for an event.  No lock may be held.  It ends
 * with an error when the session is cancelled or terminated.
 */
#include "postgres.h"

#include "wait.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "lease.h"

/*
 * Looks every pause_ms whether the condition holds; false when that long (µs) was in
 * vain.
 */
bool
evsched_wait_until(EvschedCondition condition, void *arg, int pause_ms, int64 us)
{
	int64		began = evsched_lease_clock();

	while (!condition(arg))
	{
		if (evsched_lease_clock() - began >= us)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 pause_ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

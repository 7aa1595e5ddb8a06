/*
 * fence.c
 *		Delivering only what a synchronous standby has (evsched.fence), so that an
 *		old primary that is cut off delivers nothing beside the new one.
 *
 * Called by the scheduler in a turn's transaction.  Waiting in the commit, as
 * synchronous replication does, is not enough: who is terminated while he waits
 * there has committed, and his notifications go out.  So the turn waits before it
 * commits as well, where a termination aborts it.
 */
#include "postgres.h"

#include "fence.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "database.h"
#include "guc.h"
#include "process.h"

/* How often one looks whether the standby has answered: at first, at last. */
#define FIRST_PAUSE_MS		1
#define LAST_PAUSE_MS		100

static void set_synchronous_commit(const char *value);
static bool is_fenced(void);
static bool standby_has(XLogRecPtr lsn);

/* The transaction just begun shall be committed on the standby, too. */
void
evsched_fence_begin(void)
{
	if (is_fenced())
		set_synchronous_commit("on");
}

/*
 * Waits until a synchronous standby has what the transaction has written; false when
 * the scheduler is asked for something else before: then the turn is given up.
 */
bool
evsched_fence_wait(int database)
{
	XLogRecPtr	lsn = XactLastRecEnd;
	long		pause_ms = FIRST_PAUSE_MS;

	if (!is_fenced() || lsn == InvalidXLogRecPtr)
		return true;
	XLogFlush(lsn);
	/* Both may be given up meanwhile. */
	while (is_fenced() && !standby_has(lsn))
	{
		if (evsched_database_is_asked(database))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 pause_ms, WAIT_EVENT_SYNC_REP);
		ResetLatch(MyLatch);
		evsched_process_interrupts();
		pause_ms = Min(pause_ms * 2, LAST_PAUSE_MS);
	}
	/* Nor shall the commit wait then. */
	if (!is_fenced())
		set_synchronous_commit("off");
	return true;
}

/* For the transaction under way: what has an earlier source than SESSION would stay. */
static void
set_synchronous_commit(const char *value)
{
	(void) set_config_option("synchronous_commit", value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static bool
is_fenced(void)
{
	return evsched_fence && SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
}

static bool
standby_has(XLogRecPtr lsn)
{
	bool		has;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	has = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH] >= lsn;
	LWLockRelease(SyncRepLock);
	return has;
}

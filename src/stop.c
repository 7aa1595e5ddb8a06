/*
 * stop.c
 *		Named points at which a test can stop a process.
 *
 * Any process calls it, in any state of its transaction, but without a spinlock
 * or LWLock.  The test asks a process to stop by a file in the data directory,
 * evsched_stop/PID POINT.  When the process gets there it renames the file to
 * PID stopped, which is what the test waits for, and stays until the file is
 * gone.  Files, because they need no memory, no lock and no reload of settings: in a
 * callback at the end of a transaction they work as anywhere else, and a crash
 * leaves nothing behind.
 */
#include "postgres.h"

#include "stop.h"

#ifdef EVSCHED_STOP_POINTS

#include <stdio.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/pmsignal.h"

#define PAUSE_US	1000

/* The latch is left alone: who has set it meanwhile means what comes later. */
void
evsched_stop_here(const char *point)
{
	char		asked[MAXPGPATH];
	char		stopped[MAXPGPATH];

	snprintf(asked, sizeof(asked), "evsched_stop/%d %s", MyProcPid, point);
	snprintf(stopped, sizeof(stopped), "evsched_stop/%d stopped", MyProcPid);
	if (rename(asked, stopped) != 0)
		return;
	while (access(stopped, F_OK) == 0)
	{
		/* Does nothing where interrupts are held, as in a callback. */
		CHECK_FOR_INTERRUPTS();
		/* As if it had been killed as well. */
		if (!PostmasterIsAlive())
			_exit(1);
		pg_usleep(PAUSE_US);
	}
}

#endif

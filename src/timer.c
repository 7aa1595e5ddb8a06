/*
 * timer.c
 *		The one place where the scheduler sleeps: until its latch is set, a moment
 *		of the wall clock has come, or something can be read that it watches.
 *
 * On Linux by a timerfd, exact to some 50 µs, which also wakes when somebody
 * sets the clock.  Elsewhere by a timeout: whole milliseconds, and no longer than
 * a minute at a time, so that a clock set forward is seen.
 */
#include "postgres.h"

#include "timer.h"

#include <unistd.h>
#ifdef __linux__
#include <sys/timerfd.h>
#endif

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"

#define NUM_EVENTS		3		/* latch, postmaster's death, timer */

static WaitEventSet *wait_set;

static void start_clock(void);
static void add_clock(void);
static long arm(TimestampTz until);
static void disarm(void);

void
evsched_timer_start(void)
{
	start_clock();
	evsched_timer_watch(NULL, 0);
}

/* From now on sleep ends when one of these can be read; they stay the caller's. */
void
evsched_timer_watch(const int *fds, int n)
{
	/*
	 * Servers before 19 cannot take one out of a set.  The old one goes first: of the
	 * files that the server lets extensions open, the caller's may leave no other.
	 */
	if (wait_set != NULL)
		FreeWaitEventSet(wait_set);
	wait_set = NULL;
	wait_set = evsched_create_wait_set(NUM_EVENTS + n);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	add_clock();
	for (int i = 0; i < n; i++)
		AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, fds[i], NULL, NULL);
}

/* Sleeps until then, or for ever where that is DT_NOEND. */
void
evsched_timer_sleep(TimestampTz until)
{
	WaitEvent	event;

	(void) WaitEventSetWait(wait_set, arm(until), &event, 1, PG_WAIT_EXTENSION);
	disarm();
}

#ifdef __linux__

static int	timer_fd = -1;

static void
start_clock(void)
{
	timer_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer_fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a timer: %m")));
}

static void
add_clock(void)
{
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, timer_fd, NULL, NULL);
}

/* The wait needs no timeout. */
static long
arm(TimestampTz until)
{
	const int64 unix_epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	struct itimerspec when = {0};
	int64		unix_us;

	/* The last years of timestamptz are beyond Unix microseconds, and far enough. */
	if (until < PG_INT64_MAX - unix_epoch)
	{
		unix_us = until + unix_epoch;
		unix_us = Max(unix_us, 1);
		when.it_value.tv_sec = unix_us / USECS_PER_SEC;
		when.it_value.tv_nsec = unix_us % USECS_PER_SEC * 1000;
	}
	/* ECANCELED says that the clock was set before; the timer is armed. */
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) < 0 &&
		errno != ECANCELED)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not set the timer: %m")));
	return -1;
}

static void
disarm(void)
{
	uint64		expirations;

	/* Fails with EAGAIN when not due, with ECANCELED when the clock was set. */
	if (read(timer_fd, &expirations, sizeof(expirations)) < 0 &&
		errno != EAGAIN && errno != ECANCELED && errno != EINTR)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not read the timer: %m")));
}

#else

#define LONGEST_SLEEP_MS	60000

static void
start_clock(void)
{
}

static void
add_clock(void)
{
}

/* The wait's timeout, or -1. */
static long
arm(TimestampTz until)
{
	long		ms;

	if (until == DT_NOEND)
		return -1;
	ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	return Min(ms, LONGEST_SLEEP_MS);
}

static void
disarm(void)
{
}

#endif

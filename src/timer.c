/*
 * timer.c
 *		The one place where the scheduler sleeps: until its latch is set or a
 *		moment of the wall clock has come.
 *
 * On Linux by a timerfd, exact to some 50 µs, which also wakes when somebody
 * sets the clock.  Elsewhere by the latch's own timeout: whole milliseconds,
 * and no longer than a minute at a time, so that a clock set forward is seen.
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

#ifdef __linux__

#define NUM_EVENTS		3		/* latch, postmaster's death, timer */

static WaitEventSet *wait_set;
static int	timer_fd = -1;

static void arm(TimestampTz until);

void
evsched_timer_start(void)
{
	timer_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timer_fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a timer: %m")));
	wait_set = evsched_create_wait_set(NUM_EVENTS);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, timer_fd, NULL, NULL);
}

/* Sleeps until then, or for ever where that is DT_NOEND. */
void
evsched_timer_sleep(TimestampTz until)
{
	WaitEvent	event;
	uint64		expirations;

	arm(until);
	(void) WaitEventSetWait(wait_set, -1, &event, 1, PG_WAIT_EXTENSION);

	/* Fails with EAGAIN when not due, with ECANCELED when the clock was set. */
	if (read(timer_fd, &expirations, sizeof(expirations)) < 0 &&
		errno != EAGAIN && errno != ECANCELED && errno != EINTR)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not read the timer: %m")));
}

static void
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
}

#else

#define LONGEST_SLEEP_MS	60000

void
evsched_timer_start(void)
{
}

void
evsched_timer_sleep(TimestampTz until)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		ms = -1;

	if (until != DT_NOEND)
	{
		events |= WL_TIMEOUT;
		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		ms = Min(ms, LONGEST_SLEEP_MS);
	}
	(void) WaitLatch(MyLatch, events, ms, PG_WAIT_EXTENSION);
}

#endif

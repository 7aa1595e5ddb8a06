/*
 * reader.c
 *		Do the clients of listeners read what they are sent?
 *
 * Called by the scheduler.  Events to be confirmed need no such question: no
 * more of them are out than a connection holds.  Events with max_retries 0 have
 * no confirmation, so what was sent is counted until the listener's backend has
 * handled it and the kernel says that its connection is empty.  A backend that
 * blocks in writing holds back vacuum in the whole cluster; after
 * evsched.write_timeout its session is ended, and so is one that would block if
 * it were sent what waits for it.
 */
#include "postgres.h"

#include "reader.h"

#include <signal.h>

#include "commands/async.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/fmgrprotos.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "effect.h"
#include "guc.h"
#include "lease.h"
#include "shared.h"

/* The usage of the notification queue is asked for once in so many turns. */
#define USAGE_INTERVAL		64

/* How often one looks at who may be stuck while evsched.write_timeout passes. */
#define CHECKS_PER_TIMEOUT	10

static bool has_read_all(EvschedListener *listener);
static bool find_doubtful(EvschedStore store, EvschedListenerRef *ref, EvschedSocket *socket);
static bool still_stuck(EvschedListenerRef ref, int64 unread, int64 clock);
static bool is_stuck(EvschedListener *listener, int64 unread);
static void end_session(EvschedListener *listener);

/* Under the lease lock: is its backend waiting for the client to read? */
bool
evsched_reader_is_blocked(const EvschedListener *listener)
{
	PGPROC	   *proc = &ProcGlobal->allProcs[listener->procno];

	return proc->pid == listener->pid && proc->wait_event_info == WAIT_EVENT_CLIENT_WRITE;
}

/*
 * May it be sent one more event without confirmation, `bytes` having been sent
 * in this turn?  Half the bound at a time: what its backend has just read may
 * not have reached the connection yet, and is counted with the next half.
 */
bool
evsched_reader_may_send(EvschedListenerRef ref, int64 bytes)
{
	EvschedListener *listener = evsched_listener_get(ref.slot);
	EvschedSocket socket;
	int64		unread;
	bool		read;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	unread = listener->unread_bytes + bytes;
	socket = listener->socket;
	LWLockRelease(evsched_lease_lock);

	if (unread == 0 || unread + EVSCHED_NOTIFY_BYTES <= evsched_max_unconfirmed_bytes / 2)
		return true;
	read = bytes == 0 && has_read_all(listener) && evsched_socket_unread(&socket) <= 0;
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (read)
		listener->unread_bytes = 0;
	listener->refused = !read;
	LWLockRelease(evsched_lease_lock);
	return read;
}

/*
 * A turn is about to be sent to it, with so many bytes that need no
 * confirmation.  Before the commit: its backend may have read it right after.
 */
void
evsched_reader_sent(EvschedListenerRef ref, int64 bytes)
{
	EvschedListener *listener = evsched_listener_get(ref.slot);

	evsched_effect_reserve();
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (evsched_listener_is_joined(ref))
	{
		evsched_effect_sent(ref, bytes);
		listener->unread_bytes += bytes;
		pg_atomic_fetch_add_u64(&listener->turns_sent, 1);
	}
	LWLockRelease(evsched_lease_lock);
}

/* When to look, somebody's reading being in doubt now. */
int64
evsched_reader_check_at(void)
{
	return evsched_lease_clock() +
		evsched_write_timeout * INT64CONST(1000) / CHECKS_PER_TIMEOUT;
}

/*
 * Ends the sessions whose clients have not read for too long.  Returns when to
 * look again (µs, monotonic), PG_INT64_MAX when all read.  The kernel is asked
 * without the lock, and only about those in doubt: there may be hundreds.
 */
int64
evsched_reader_check(EvschedStore store, int64 clock)
{
	int64		next = PG_INT64_MAX;

	for (int slot = 0; slot < evsched_max_listeners; slot++)
	{
		EvschedListenerRef ref = {slot};
		EvschedSocket socket;

		if (evsched_listener_get(slot)->state == EVSCHED_LISTENER_JOINED &&
			find_doubtful(store, &ref, &socket) &&
			still_stuck(ref, evsched_socket_unread(&socket), clock))
			next = evsched_reader_check_at();
	}
	return next;
}

/*
 * May events without confirmation be put into the notification queue?  It belongs
 * to the whole cluster, and asking takes a lock of it.
 */
bool
evsched_reader_queue_has_room(void)
{
	static int	turns = 0;
	static bool room = true;

	if (room && turns++ % USAGE_INTERVAL != 0)
		return true;
	room = DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) <
		evsched_max_notify_usage;
	return room;
}

/* Has its backend read all turns, as far as it depends on the backend? */
static bool
has_read_all(EvschedListener *listener)
{
	return pg_atomic_read_u64(&listener->turns_read) ==
		pg_atomic_read_u64(&listener->turns_sent);
}

/* Might a listener of the store be stuck?  Fills in who it is, and its connection. */
static bool
find_doubtful(EvschedStore store, EvschedListenerRef *ref, EvschedSocket *socket)
{
	EvschedListener *listener = evsched_listener_get(ref->slot);
	bool		doubtful = false;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (listener->state == EVSCHED_LISTENER_JOINED && !listener->crew &&
		evsched_store_equal(listener->store, store))
	{
		doubtful = listener->refused || evsched_reader_is_blocked(listener);
		if (!doubtful)
			listener->stuck_since = 0;
	}
	ref->generation = listener->generation;
	*socket = listener->socket;
	LWLockRelease(evsched_lease_lock);
	return doubtful;
}

/* Has its client left as much unread as before?  After a while its session is ended. */
static bool
still_stuck(EvschedListenerRef ref, int64 unread, int64 clock)
{
	EvschedListener *listener = evsched_listener_get(ref.slot);
	bool		stuck = false;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	if (evsched_listener_is_joined(ref))
	{
		if (!is_stuck(listener, unread))
			listener->stuck_since = 0;
		else if (listener->stuck_since == 0 || listener->stuck_at != unread)
		{
			/* Who reads slowly reads. */
			listener->stuck_since = clock;
			listener->stuck_at = unread;
		}
		else if (clock - listener->stuck_since >= evsched_write_timeout * INT64CONST(1000))
			end_session(listener);
		stuck = listener->stuck_since != 0;
	}
	LWLockRelease(evsched_lease_lock);
	return stuck;
}

/* Is its backend blocked in writing, or would it be if it were sent more? */
static bool
is_stuck(EvschedListener *listener, int64 unread)
{
	return evsched_reader_is_blocked(listener) || (listener->refused && unread > 0);
}

/* Its exit takes it out of the ring. */
static void
end_session(EvschedListener *listener)
{
	ereport(LOG,
			(errmsg("evsched ends the session of listener \"%s\" (pid %d)",
					listener->terms.node, listener->pid),
			 errdetail("Its client has not read what was sent to it for %d ms.",
					   evsched_write_timeout)));
	kill(listener->pid, SIGTERM);
	listener->stuck_since = 0;
}

/*
 * staff.c
 *		The worker processes, in shared memory: who they are, and what each of
 *		them is doing.
 *
 * A slot is reserved by a scheduler that asks for a process, taken by that process
 * when it starts, and freed by its exit callback.  All of it is guarded by the
 * lease lock, for a job goes from the leases to a worker in one step.
 */
#include "postgres.h"

#include "staff.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "database.h"
#include "shared.h"

typedef struct Staffs
{
	uint32		renewals;		/* how often all workers were to be replaced */
	EvschedStaff slot[FLEXIBLE_ARRAY_MEMBER];
} Staffs;

static Staffs *staffs;
static EvschedStaff *slots;
static int	mine = EVSCHED_NO_SLOT;
static uint32 renewals;			/* when this one came */
static volatile sig_atomic_t cancellable;

/* No more workers than that can there be. */
int
evsched_staff_slots(void)
{
	return max_worker_processes;
}

Size
evsched_staff_size(void)
{
	return add_size(offsetof(Staffs, slot),
					mul_size(sizeof(EvschedStaff), Max(evsched_staff_slots(), 1)));
}

void
evsched_staff_attach(void *area, bool found)
{
	staffs = area;
	slots = staffs->slot;
	if (!found)
		memset(area, 0, evsched_staff_size());
}

int
evsched_staff_mine(void)
{
	return mine;
}

bool
evsched_staff_is_mine(int slot)
{
	return slot != EVSCHED_NO_SLOT && slot == mine;
}

/* starting: this process is the worker of the slot; false when it is not expected. */
bool
evsched_staff_enter(int slot, uint32 generation)
{
	bool		expected;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	expected = slots[slot].state == EVSCHED_STAFF_STARTING &&
		slots[slot].generation == generation;
	if (expected)
	{
		slots[slot].pid = MyProcPid;
		slots[slot].procno = EVSCHED_MY_PROCNO;
		mine = slot;
		renewals = staffs->renewals;
	}
	LWLockRelease(evsched_lease_lock);
	return expected;
}

/* Is this worker to be replaced, when it has done its job? */
bool
evsched_staff_is_stale(void)
{
	return renewals != staffs->renewals;
}

/* Under the lock: this process is no worker any more. */
void
evsched_staff_leave(void)
{
	evsched_staff_release(mine);
	mine = EVSCHED_NO_SLOT;
}

/* Between two tasks of this process there is nothing to cancel. */
void
evsched_staff_set_cancellable(bool on)
{
	cancellable = on;
}

/* Asked in a signal handler. */
bool
evsched_staff_is_cancellable(void)
{
	return cancellable;
}

/* Copies the workers of a store; returns how many. */
int
evsched_staff_list(EvschedStore store, EvschedStaff **list)
{
	int			n = 0;

	*list = palloc(sizeof(EvschedStaff) * Max(evsched_staff_slots(), 1));
	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state != EVSCHED_STAFF_FREE && evsched_store_equal(slots[i].store, store))
			(*list)[n++] = slots[i];
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

/*
 * The workers of a database (or, given a table, of its store) that have no job leave; the
 * others when they have done theirs.
 */
void
evsched_staff_send_away(Oid database, Oid table)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_FREE || slots[i].store.database != database ||
			(OidIsValid(table) && slots[i].store.table != table))
			continue;
		if (slots[i].state == EVSCHED_STAFF_IDLE)
			evsched_staff_set_state(i, EVSCHED_STAFF_LEAVING);
		evsched_staff_wake(i);
	}
	LWLockRelease(evsched_lease_lock);
}

/*
 * What roles or databases have set for their sessions has changed: workers leave, those
 * that have a job when they have done it.
 */
void
evsched_staff_renew(void)
{
	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	staffs->renewals++;
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_IDLE)
			evsched_staff_set_state(i, EVSCHED_STAFF_LEAVING);
		if (slots[i].state == EVSCHED_STAFF_LEAVING)
			evsched_staff_wake(i);
	}
	LWLockRelease(evsched_lease_lock);
}

/* How many workers a database has that have no job. */
int
evsched_staff_count_waiting(Oid database)
{
	int			n = 0;

	LWLockAcquire(evsched_lease_lock, LW_SHARED);
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].store.database == database && slots[i].state != EVSCHED_STAFF_FREE &&
			slots[i].state != EVSCHED_STAFF_BUSY)
			n++;
	}
	LWLockRelease(evsched_lease_lock);
	return n;
}

/*
 * Ends a run, or (0) all of a store; false where there is none, nor a worker that is about
 * to begin one.  The signal is sent under the lock, for a worker takes that between two runs.
 */
bool
evsched_staff_stop(EvschedStore store, int64 run_id, EvschedStaffStop why)
{
	bool		any = false;

	LWLockAcquire(evsched_lease_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state != EVSCHED_STAFF_BUSY || i == mine ||
			!evsched_store_equal(slots[i].store, store) ||
			(run_id != 0 && slots[i].run_id != run_id))
			continue;
		any = true;
		if (slots[i].run_id == 0)
			continue;
		slots[i].stop = why;
		kill(slots[i].pid, SIGINT);
	}
	LWLockRelease(evsched_lease_lock);
	return any;
}

EvschedStaff *
evsched_staff_get(int slot)
{
	return &slots[slot];
}

/* free -> starting; EVSCHED_NO_SLOT: there is none. */
int
evsched_staff_reserve(EvschedStore store, Oid role)
{
	int			slot = 0;

	while (slot < evsched_staff_slots() && slots[slot].state != EVSCHED_STAFF_FREE)
		slot++;
	if (slot == evsched_staff_slots())
		return EVSCHED_NO_SLOT;
	slots[slot] = (EvschedStaff) {
		.generation = slots[slot].generation,
		.store = store,
		.role = role,
		.hired_at = GetCurrentTimestamp()
	};
	evsched_staff_set_state(slot, EVSCHED_STAFF_STARTING);
	return slot;
}

/* any -> free */
void
evsched_staff_release(int slot)
{
	slots[slot].generation++;
	slots[slot].pid = 0;
	slots[slot].last_job = false;
	evsched_staff_set_state(slot, EVSCHED_STAFF_FREE);
}

/* One of a role's workers that waits for a job; EVSCHED_NO_SLOT: none does. */
int
evsched_staff_find_idle(EvschedStore store, Oid role)
{
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_IDLE && slots[i].role == role &&
			evsched_store_equal(slots[i].store, store))
			return i;
	}
	return EVSCHED_NO_SLOT;
}

/* How many of a role's workers are in that state. */
int
evsched_staff_count(EvschedStore store, Oid role, EvschedStaffState state)
{
	int			n = 0;

	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == state && slots[i].role == role &&
			evsched_store_equal(slots[i].store, store))
			n++;
	}
	return n;
}

/* How many workers the server has. */
int
evsched_staff_count_all(void)
{
	int			n = 0;

	for (int i = 0; i < evsched_staff_slots(); i++)
		n += slots[i].state != EVSCHED_STAFF_FREE;
	return n;
}

/* Has a role a worker that runs a job of that pool, or could soon? */
bool
evsched_staff_serves(EvschedStore store, Oid role, const char *pool)
{
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].role != role || !evsched_store_equal(slots[i].store, store))
			continue;
		if (slots[i].state == EVSCHED_STAFF_STARTING || slots[i].state == EVSCHED_STAFF_IDLE ||
			(slots[i].state == EVSCHED_STAFF_BUSY && strcmp(slots[i].task.pool, pool) == 0))
			return true;
	}
	return false;
}

/* Is an event run whose last run was lost? */
bool
evsched_staff_runs_suspect(EvschedStore store)
{
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_BUSY && slots[i].task.suspect &&
			evsched_store_equal(slots[i].store, store))
			return true;
	}
	return false;
}

/* How many jobs and calls of a pool are run just now. */
int
evsched_staff_running(EvschedStore store, const char *pool)
{
	int			n = 0;

	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_BUSY && evsched_store_equal(slots[i].store, store) &&
			strcmp(slots[i].task.pool, pool) == 0)
			n++;
	}
	return n;
}

/* Has a busy worker of a pool that number? */
bool
evsched_staff_has_number(EvschedStore store, const char *pool, int number)
{
	for (int i = 0; i < evsched_staff_slots(); i++)
	{
		if (slots[i].state == EVSCHED_STAFF_BUSY && slots[i].task.number == number &&
			evsched_store_equal(slots[i].store, store) && strcmp(slots[i].task.pool, pool) == 0)
			return true;
	}
	return false;
}

/* The first number, from 1 on, that none has. */
int
evsched_staff_number(EvschedStore store, const char *pool)
{
	int			number = 1;

	while (evsched_staff_has_number(store, pool, number))
		number++;
	return number;
}

void
evsched_staff_set_state(int slot, EvschedStaffState state)
{
	slots[slot].state = state;
	slots[slot].since = evsched_lease_clock();
}

/* Has the worker look what there is for it to do. */
void
evsched_staff_wake(int slot)
{
	if (slots[slot].pid != 0 && slot != mine)
		SetLatch(&ProcGlobal->allProcs[slots[slot].procno].procLatch);
}

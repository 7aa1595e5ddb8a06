/*
 * database.c
 *		The databases of this server that evsched works in, in shared memory:
 *		which scheduler serves them, and messages to it and to the launcher.
 *
 * Every process calls it.  A slot is found under the directory lock and kept
 * until the launcher sees that the database is gone; what is in it is guarded
 * by its spinlock.  Nothing here needs a transaction, and all but find may be
 * called in a commit callback.
 */
#include "postgres.h"

#include "database.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/resowner.h"

#include "compat.h"
#include "shared.h"

typedef struct Databases
{
	slock_t		mutex;			/* guards what follows */
	int			launcher_procno;
	bool		short_of_workers;

	/* each with a lock of its own */
	EvschedDatabase slot[EVSCHED_MAX_DATABASES];
} Databases;

static Databases *databases;

/* What this process will ask for when its transaction is over. */
static Oid	recheck_later;
static bool recheck_all_later;

static void send_rechecks(ResourceReleasePhase phase, bool commit, bool top_level, void *arg);
static void recheck_slot(int slot);
static void request(Oid oid, bool probe, int holds);
static void wake_launcher(void);
static void wake_process(int procno);

Size
evsched_database_size(void)
{
	return sizeof(Databases);
}

void
evsched_database_attach(void *area, bool found)
{
	databases = area;
	if (found)
		return;
	memset(databases, 0, sizeof(Databases));
	SpinLockInit(&databases->mutex);
	databases->launcher_procno = EVSCHED_NO_PROC;
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		SpinLockInit(&databases->slot[i].mutex);
		databases->slot[i].scheduler_procno = EVSCHED_NO_PROC;
		databases->slot[i].first_dirty = EVSCHED_NO_SLOT;
	}
}

void
evsched_database_init(void)
{
	RegisterResourceReleaseCallback(send_rechecks, NULL);
}

/*
 * The slot of a database, made when asked for; EVSCHED_NO_SLOT when there is
 * none.
 */
int
evsched_database_find(Oid oid, bool create)
{
	int			slot;

	LWLockAcquire(evsched_directory_lock, create ? LW_EXCLUSIVE : LW_SHARED);
	slot = evsched_database_find_locked(oid, create);
	LWLockRelease(evsched_directory_lock);
	return slot;
}

/* The same for a caller who holds the directory lock. */
int
evsched_database_find_locked(Oid oid, bool create)
{
	int			free_slot = EVSCHED_NO_SLOT;

	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		if (databases->slot[i].oid == oid)
			return i;
		if (databases->slot[i].oid == InvalidOid && free_slot == EVSCHED_NO_SLOT)
			free_slot = i;
	}
	if (create && free_slot != EVSCHED_NO_SLOT)
	{
		databases->slot[free_slot].oid = oid;
		databases->slot[free_slot].up_since = GetCurrentTimestamp();
	}
	return create ? free_slot : EVSCHED_NO_SLOT;
}

EvschedDatabase *
evsched_database_get(int slot)
{
	Assert(slot >= 0 && slot < EVSCHED_MAX_DATABASES);
	return &databases->slot[slot];
}

/* Under the directory lock: nobody needs this slot any more. */
void
evsched_database_vacate(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	db->probe = false;
	db->wanted = false;
	db->holds = 0;
	db->recheck = false;
	db->done = db->asked;
	db->want_staff = false;
	db->lacks_staff = false;
	db->table = InvalidOid;
	db->first_dirty = EVSCHED_NO_SLOT;
	SpinLockRelease(&db->mutex);
	db->oid = InvalidOid;
}

/* Does anybody want something of the launcher there? */
bool
evsched_database_is_asked_for(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		asked;

	SpinLockAcquire(&db->mutex);
	asked = db->probe || db->holds > 0;
	SpinLockRelease(&db->mutex);
	return asked;
}

/* Has a scheduler found the extension there? */
bool
evsched_database_is_served(int slot)
{
	return OidIsValid(evsched_database_served_table(slot));
}

/* The table of the store that a scheduler has found there last. */
Oid
evsched_database_served_table(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	Oid			table;

	SpinLockAcquire(&db->mutex);
	table = db->table;
	SpinLockRelease(&db->mutex);
	return table;
}

/* Wakes the scheduler of a database, if it has one. */
void
evsched_database_wake(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	int			procno;

	SpinLockAcquire(&db->mutex);
	procno = db->scheduler_procno;
	SpinLockRelease(&db->mutex);
	wake_process(procno);
}

/* Asks the launcher to look whether a database wants a scheduler. */
void
evsched_database_probe(Oid oid)
{
	request(oid, true, 0);
}

/*
 * Tells the scheduler of a database, when the transaction that is committing is
 * over, that the extension may be gone, or settings and roles have changed.  Not
 * before: its caches would not know of that yet, and nobody would tell it again.
 */
void
evsched_database_recheck(Oid oid)
{
	recheck_later = oid;
}

/* No scheduler shall be in this database until it is let go. */
void
evsched_database_hold(Oid oid)
{
	request(oid, false, 1);
}

/* Lets a database go; the launcher looks what is there now. */
void
evsched_database_unhold(Oid oid)
{
	request(oid, true, -1);
}

bool
evsched_database_is_held(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		held;

	SpinLockAcquire(&db->mutex);
	held = db->holds > 0;
	SpinLockRelease(&db->mutex);
	return held;
}

/* The process that serves a database, or 0. */
int
evsched_database_scheduler_pid(Oid oid)
{
	int			slot = evsched_database_find(oid, false);
	int			pid;

	if (slot == EVSCHED_NO_SLOT)
		return 0;
	SpinLockAcquire(&databases->slot[slot].mutex);
	pid = databases->slot[slot].scheduler_pid;
	SpinLockRelease(&databases->slot[slot].mutex);
	return pid;
}

/* True once for each request to look at a database that nobody holds. */
bool
evsched_database_take_probe(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		probe;

	SpinLockAcquire(&db->mutex);
	probe = db->probe && db->holds == 0;
	if (probe)
		db->probe = false;
	SpinLockRelease(&db->mutex);
	return probe;
}

/* Shall the database have a scheduler, as far as one knows? */
void
evsched_database_set_wanted(int slot, bool wanted)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	db->wanted = wanted;
	if (!wanted)
		db->table = InvalidOid;
	SpinLockRelease(&db->mutex);
}

bool
evsched_database_is_wanted(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		wanted;

	SpinLockAcquire(&db->mutex);
	wanted = db->wanted;
	SpinLockRelease(&db->mutex);
	return wanted;
}

/*
 * This process is the scheduler of the database from now on, unless there is one.
 * InvalidOid: it has not looked yet which store is there.
 */
bool
evsched_database_set_scheduler(int slot, Oid table)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		free;

	SpinLockAcquire(&db->mutex);
	free = db->scheduler_pid == 0 || db->scheduler_pid == MyProcPid;
	if (free)
	{
		db->scheduler_procno = EVSCHED_MY_PROCNO;
		db->scheduler_pid = MyProcPid;
		if (OidIsValid(table))
			db->table = table;
	}
	SpinLockRelease(&db->mutex);
	wake_launcher();
	return free;
}

/* This process is no longer the scheduler of the database. */
void
evsched_database_clear_scheduler(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	if (db->scheduler_pid == MyProcPid)
	{
		db->scheduler_procno = EVSCHED_NO_PROC;
		db->scheduler_pid = 0;
	}
	SpinLockRelease(&db->mutex);
	wake_launcher();
}

/* True once after each recheck: is the extension still there? */
bool
evsched_database_take_recheck(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		recheck;

	SpinLockAcquire(&db->mutex);
	recheck = db->recheck;
	db->recheck = false;
	SpinLockRelease(&db->mutex);
	return recheck;
}

/* The same for all databases: roles are the whole server's. */
void
evsched_database_recheck_all(void)
{
	recheck_all_later = true;
}

/* Asks the scheduler to stop or to go on; returns what is_done is to be asked for. */
uint32
evsched_database_ask(int slot, bool stop)
{
	EvschedDatabase *db = &databases->slot[slot];
	uint32		asked;

	SpinLockAcquire(&db->mutex);
	asked = ++db->asked;
	db->stop = stop;
	SpinLockRelease(&db->mutex);
	evsched_database_wake(slot);
	return asked;
}

/* Is the scheduler asked to stop or to go on? */
bool
evsched_database_take_asked(int slot, uint32 *asked, bool *stop)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		is_asked;

	SpinLockAcquire(&db->mutex);
	*asked = db->asked;
	*stop = db->stop;
	is_asked = db->asked != db->done;
	SpinLockRelease(&db->mutex);
	return is_asked;
}

/* The same, for who need not know what for. */
bool
evsched_database_is_asked(int slot)
{
	uint32		asked;
	bool		stop;

	return evsched_database_take_asked(slot, &asked, &stop);
}

/* The scheduler has done what it was asked until then. */
void
evsched_database_set_done(int slot, uint32 asked)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	db->done = asked;
	SpinLockRelease(&db->mutex);
}

bool
evsched_database_is_done(int slot, uint32 asked)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		done;

	SpinLockAcquire(&db->mutex);
	done = (int32) (db->done - asked) >= 0;
	SpinLockRelease(&db->mutex);
	return done;
}

/* The scheduler is to look whether workers are to be started, or were lost. */
void
evsched_database_want_staff(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		wanted;

	SpinLockAcquire(&db->mutex);
	wanted = db->want_staff;
	db->want_staff = true;
	SpinLockRelease(&db->mutex);
	if (!wanted)
		evsched_database_wake(slot);
}

bool
evsched_database_take_want_staff(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];
	bool		wanted;

	SpinLockAcquire(&db->mutex);
	wanted = db->want_staff;
	db->want_staff = false;
	SpinLockRelease(&db->mutex);
	return wanted;
}

/* There is no slot for a worker that is wanted there. */
void
evsched_database_lack_staff(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	db->lacks_staff = true;
	SpinLockRelease(&db->mutex);
}

/* A worker has left: who lacks one may have it. */
void
evsched_database_worker_left(void)
{
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		EvschedDatabase *db = &databases->slot[i];
		bool		lacks;

		SpinLockAcquire(&db->mutex);
		lacks = db->lacks_staff;
		db->lacks_staff = false;
		SpinLockRelease(&db->mutex);
		if (lacks)
			evsched_database_want_staff(i);
	}
}

/* Is there a database whose scheduler finds no worker slot? */
bool
evsched_launcher_is_short(void)
{
	bool		is_short;

	SpinLockAcquire(&databases->mutex);
	is_short = databases->short_of_workers;
	SpinLockRelease(&databases->mutex);
	return is_short;
}

void
evsched_launcher_set_short(bool is_short)
{
	SpinLockAcquire(&databases->mutex);
	databases->short_of_workers = is_short;
	SpinLockRelease(&databases->mutex);
}

void
evsched_launcher_set(int procno)
{
	SpinLockAcquire(&databases->mutex);
	databases->launcher_procno = procno;
	SpinLockRelease(&databases->mutex);
}

/* Under the directory lock, so that the slot is not given up just then. */
static void
request(Oid oid, bool probe, int holds)
{
	int			slot;

	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	slot = evsched_database_find_locked(oid, true);
	if (slot != EVSCHED_NO_SLOT)
	{
		EvschedDatabase *db = &databases->slot[slot];

		SpinLockAcquire(&db->mutex);
		db->probe |= probe;
		db->holds = Max(db->holds + holds, 0);
		SpinLockRelease(&db->mutex);
	}
	LWLockRelease(evsched_directory_lock);
	if (slot != EVSCHED_NO_SLOT && holds > 0)
		evsched_database_wake(slot);
	wake_launcher();
}

static void
wake_launcher(void)
{
	int			procno;

	SpinLockAcquire(&databases->mutex);
	procno = databases->launcher_procno;
	SpinLockRelease(&databases->mutex);
	wake_process(procno);
}

/* A process that is gone by now is not hurt by it: latches may be set at any time. */
static void
wake_process(int procno)
{
	if (procno != EVSCHED_NO_PROC)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

/* After the locks are released, the invalidations of a commit have been sent. */
static void
send_rechecks(ResourceReleasePhase phase, bool commit, bool top_level, void *arg)
{
	int			slot;

	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level)
		return;
	for (int i = 0; recheck_all_later && i < EVSCHED_MAX_DATABASES; i++)
		recheck_slot(i);
	slot = OidIsValid(recheck_later) ? evsched_database_find(recheck_later, false) :
		EVSCHED_NO_SLOT;
	if (slot != EVSCHED_NO_SLOT)
		recheck_slot(slot);
	recheck_later = InvalidOid;
	recheck_all_later = false;
}

static void
recheck_slot(int slot)
{
	EvschedDatabase *db = &databases->slot[slot];

	SpinLockAcquire(&db->mutex);
	db->recheck = true;
	SpinLockRelease(&db->mutex);
	evsched_database_wake(slot);
}

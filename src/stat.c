/*
 * stat.c
 *		Counters of queues and schedulers, in shared memory.
 *
 * Every process counts: for a queue in its slot, for a scheduler in its
 * database's.  Which slot is whose is guarded by the directory lock.  Counting
 * takes no lock: counts of queues are atomic; all else is written by the one
 * scheduler of a database, or for a pool by workers that hold the lease lock, and
 * read while they write.  Who counts by a reference that becomes stale that very
 * moment counts for another queue: no harm but that.  count is called in commit
 * callbacks: it allocates and raises nothing.
 *
 * The postmaster keeps the counters in a file over a clean restart
 * (stat_file.c).  What it has read back waits in slots that nobody has, from the
 * last one down, until its queue or scheduler gets a slot and takes it over.
 *
 * A queue that loses its slot, or waits in one that another needs, adds what it
 * has counted to what those have that share a slot; what waits in the way of
 * another database is lost.
 */
#include "postgres.h"

#include "stat.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "queue.h"
#include "shared.h"
#include "stat_file.h"

typedef struct QueueRecord
{
	/* directory lock */
	bool		waiting;		/* read from the file and not taken over yet */
	EvschedStore store;			/* database InvalidOid: free */
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	TimestampTz since;

	pg_atomic_uint64 counts[EVSCHED_NUM_COUNTS];
	EvschedLateness lateness;	/* written by the scheduler only, or by workers */
} QueueRecord;

typedef struct SchedulerRecord
{
	bool		waiting;		/* directory lock */
	EvschedSchedulerStat stat;	/* written by the scheduler only */
} SchedulerRecord;

typedef struct Stats
{
	int			num_waiting;	/* queues; directory lock */
	SchedulerRecord schedulers[EVSCHED_MAX_DATABASES];
	QueueRecord queues[FLEXIBLE_ARRAY_MEMBER];	/* by slot */
} Stats;

static Stats *stats;
static const EvschedQueueStat no_queue;

static void read_queue(int slot, EvschedQueueStat *stat);
static void write_queue(int slot, const EvschedQueueStat *stat, bool waiting);
static void add_to_shared(int shared_slot, const EvschedQueueStat *stat);
static EvschedSchedulerStat *scheduler_of(int slot);
static int	find_waiting_queue(EvschedStore store, const char *queue);
static int	find_scheduler(EvschedStore store);
static bool has_counted(const EvschedQueueStat *stat);
static void load(void);
static void save(int code, Datum arg);

Size
evsched_stat_size(void)
{
	return add_size(offsetof(Stats, queues),
					mul_size(sizeof(QueueRecord), evsched_queue_slots()));
}

void
evsched_stat_attach(void *area, bool found)
{
	stats = area;
	if (found)
		return;
	memset(area, 0, evsched_stat_size());
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
			pg_atomic_init_u64(&stats->queues[i].counts[c], 0);
	}
	load();
	on_shmem_exit(save, 0);
}

/*
 * A queue gets a slot: it goes on counting where it had come to, or begins.  Who
 * waits in this slot goes to where the queue has waited, if it has.
 */
void
evsched_stat_move_in(int slot, int shared_slot, EvschedStore store, const char *queue)
{
	int			waiting = find_waiting_queue(store, queue);
	bool		displaces = stats->queues[slot].waiting && waiting != slot;
	EvschedQueueStat displaced;
	EvschedQueueStat stat = {.store = store, .since = GetCurrentTimestamp()};

	read_queue(slot, &displaced);
	strlcpy(stat.queue, queue, sizeof(stat.queue));
	if (waiting != EVSCHED_NO_SLOT)
	{
		read_queue(waiting, &stat);
		write_queue(waiting, displaces ? &displaced : &no_queue, displaces);
	}
	write_queue(slot, &stat, false);
	if (displaces && waiting == EVSCHED_NO_SLOT)
		add_to_shared(shared_slot, &displaced);
	if (displaces || waiting != EVSCHED_NO_SLOT)
		stats->num_waiting--;
}

/* A queue loses its slot. */
void
evsched_stat_move_out(int slot, int shared_slot)
{
	EvschedQueueStat stat;

	read_queue(slot, &stat);
	write_queue(slot, &no_queue, false);
	add_to_shared(shared_slot, &stat);
}

/* Drops what waits for stores of a database that are gone, all but one. */
void
evsched_stat_forget(EvschedStore store, bool others)
{
	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	for (int i = 0; i < evsched_queue_slots() && stats->num_waiting > 0; i++)
	{
		QueueRecord *record = &stats->queues[i];

		if (!record->waiting || record->store.database != store.database ||
			(record->store.table != store.table) != others)
			continue;
		write_queue(i, &no_queue, false);
		stats->num_waiting--;
	}
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		SchedulerRecord *record = &stats->schedulers[i];

		if (record->stat.store.database == store.database &&
			(record->stat.store.table != store.table) == others)
			memset(record, 0, sizeof(*record));
	}
	LWLockRelease(evsched_directory_lock);
}

/* A scheduler starts: it goes on counting where its predecessor had come to. */
void
evsched_stat_start(int database, EvschedStore store)
{
	SchedulerRecord *record = &stats->schedulers[database];
	TimestampTz now = GetCurrentTimestamp();
	EvschedSchedulerStat stat = {.store = store, .since = now};
	int			found;

	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	found = find_scheduler(store);
	if (found != EVSCHED_NO_SLOT)
		stat = stats->schedulers[found].stat;
	/* Who waits in this slot goes to where the scheduler has waited, if it has. */
	if (found != EVSCHED_NO_SLOT && found != database)
	{
		if (record->waiting)
			stats->schedulers[found] = *record;
		else
			memset(&stats->schedulers[found], 0, sizeof(SchedulerRecord));
	}
	stat.starts++;
	stat.started_at = now;
	record->stat = stat;
	record->waiting = false;
	LWLockRelease(evsched_directory_lock);
}

/* One number for each EvschedCount. */
void
evsched_stat_count(int slot, const int64 *counts)
{
	QueueRecord *record = &stats->queues[slot];

	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
	{
		if (counts[c] != 0)
			pg_atomic_fetch_add_u64(&record->counts[c], counts[c]);
	}
}

/*
 * The scheduler has just handed out n events of a queue with these due times.  How
 * late an event is that was due for ever, nobody can say; of jobs, their runs will tell.
 */
void
evsched_stat_handed(int slot, const TimestampTz *due_at, int n, bool jobs)
{
	EvschedSchedulerStat *scheduler = scheduler_of(slot);
	int64		counts[EVSCHED_NUM_COUNTS] = {[EVSCHED_COUNT_DELIVERED] = n};
	EvschedLateness lateness = {0};
	TimestampTz now;

	if (n == 0)
		return;
	now = GetCurrentTimestamp();
	for (int i = 0; i < n; i++)
	{
		if (!TIMESTAMP_NOT_FINITE(due_at[i]))
			evsched_lateness_add(&lateness, now - due_at[i]);
	}
	evsched_stat_count(slot, counts);
	if (!jobs)
		evsched_lateness_merge(&stats->queues[slot].lateness, &lateness);
	scheduler->delivered += n;
	evsched_lateness_merge(&scheduler->lateness, &lateness);
}

/* A run of a job has begun, so late. */
void
evsched_stat_begun(int slot, int64 late)
{
	evsched_lateness_add(&stats->queues[slot].lateness, late);
}

/* The scheduler has committed a turn; busy: it has handed out something. */
void
evsched_stat_turn(int slot, bool busy, int64 notifications)
{
	EvschedSchedulerStat *scheduler = scheduler_of(slot);

	scheduler->turns++;
	scheduler->busy_turns += busy;
	scheduler->notifications += notifications;
}

/* The scheduler has slept. */
void
evsched_stat_wakeup(int database)
{
	stats->schedulers[database].stat.wakeups++;
}

/* The scheduler has seen that somebody set the clock. */
void
evsched_stat_clock_step(int database, TimestampTz now)
{
	stats->schedulers[database].stat.clock_steps++;
	stats->schedulers[database].stat.last_clock_step_at = now;
}

/* What the slot has counted for a queue of this store, if there is one in it. */
bool
evsched_stat_queue(int slot, EvschedStore store, EvschedQueueStat *stat)
{
	if (!evsched_store_equal(stats->queues[slot].store, store))
		return false;
	read_queue(slot, stat);
	return true;
}

/* What the scheduler of this store has counted, if there ever was one. */
bool
evsched_stat_scheduler(EvschedStore store, EvschedSchedulerStat *stat)
{
	int			found = find_scheduler(store);

	if (found == EVSCHED_NO_SLOT)
		return false;
	*stat = stats->schedulers[found].stat;
	return true;
}

static void
read_queue(int slot, EvschedQueueStat *stat)
{
	QueueRecord *record = &stats->queues[slot];

	memset(stat, 0, sizeof(*stat));
	stat->store = record->store;
	strlcpy(stat->queue, record->queue, sizeof(stat->queue));
	stat->since = record->since;
	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
		stat->counts[c] = pg_atomic_read_u64(&record->counts[c]);
	stat->lateness = record->lateness;
}

static void
write_queue(int slot, const EvschedQueueStat *stat, bool waiting)
{
	QueueRecord *record = &stats->queues[slot];

	record->waiting = waiting;
	record->store = stat->store;
	strlcpy(record->queue, stat->queue, sizeof(record->queue));
	record->since = stat->since;
	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
		pg_atomic_write_u64(&record->counts[c], stat->counts[c]);
	record->lateness = stat->lateness;
}

/* Who has no slot any more is counted with those that share one, of his store. */
static void
add_to_shared(int shared_slot, const EvschedQueueStat *stat)
{
	if (!evsched_store_equal(stats->queues[shared_slot].store, stat->store))
		return;
	evsched_stat_count(shared_slot, stat->counts);
	evsched_lateness_merge(&stats->queues[shared_slot].lateness, &stat->lateness);
}

/* That of a queue's slot. */
static EvschedSchedulerStat *
scheduler_of(int slot)
{
	return &stats->schedulers[evsched_queue_get(slot)->database].stat;
}

static int
find_waiting_queue(EvschedStore store, const char *queue)
{
	for (int i = 0; i < evsched_queue_slots() && stats->num_waiting > 0; i++)
	{
		QueueRecord *record = &stats->queues[i];

		if (record->waiting && evsched_store_equal(record->store, store) &&
			strcmp(record->queue, queue) == 0)
			return i;
	}
	return EVSCHED_NO_SLOT;
}

static int
find_scheduler(EvschedStore store)
{
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		if (evsched_store_equal(stats->schedulers[i].stat.store, store))
			return i;
	}
	return EVSCHED_NO_SLOT;
}

static bool
has_counted(const EvschedQueueStat *stat)
{
	for (int c = 0; c < EVSCHED_NUM_COUNTS; c++)
	{
		if (stat->counts[c] != 0)
			return OidIsValid(stat->store.database);
	}
	return false;
}

/* The server starts: what the file has kept waits in the last slots. */
static void
load(void)
{
	EvschedStatFile file;

	if (!evsched_stat_file_read(&file))
		return;
	stats->num_waiting = Min(file.num_queues, evsched_queue_slots());
	for (int i = 0; i < stats->num_waiting; i++)
		write_queue(evsched_queue_slots() - 1 - i, &file.queues[i], true);
	for (int i = 0; i < Min(file.num_schedulers, EVSCHED_MAX_DATABASES); i++)
	{
		SchedulerRecord *record = &stats->schedulers[EVSCHED_MAX_DATABASES - 1 - i];

		record->stat = file.schedulers[i];
		record->waiting = true;
	}
	evsched_stat_file_free(&file);
}

/* The server ends, and nobody else is there any more. */
static void
save(int code, Datum arg)
{
	EvschedStatFile file;

	if (code != 0 || !evsched_stat_file_allocate(&file, evsched_queue_slots(),
												 EVSCHED_MAX_DATABASES))
		return;
	for (int i = 0; i < evsched_queue_slots(); i++)
	{
		read_queue(i, &file.queues[file.num_queues]);
		file.num_queues += has_counted(&file.queues[file.num_queues]);
	}
	for (int i = 0; i < EVSCHED_MAX_DATABASES; i++)
	{
		if (OidIsValid(stats->schedulers[i].stat.store.database))
			file.schedulers[file.num_schedulers++] = stats->schedulers[i].stat;
	}
	evsched_stat_file_write(&file);
	evsched_stat_file_free(&file);
}

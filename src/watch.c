/*
 * watch.c
 *		What comes in on the channels and paths that are watched, entered as
 *		events.
 *
 * Called by the scheduler, once in each round of its loop, outside a transaction.
 * Each call takes a bounded piece of what there is, and enters it in one
 * transaction; neither waits.  What has been read and not committed is gone when
 * the process dies, as with any reader.
 *
 * Which watches there are is read from the tables when they have changed: whoever
 * changes one invalidates what is known of evsched's tables, and has the scheduler
 * look again.
 */
#include "postgres.h"

#include "watch.h"

#include <poll.h>

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "channel.h"
#include "pool.h"
#include "process.h"
#include "right.h"
#include "role.h"
#include "setting.h"
#include "source.h"
#include "statement.h"
#include "stop.h"
#include "store.h"
#include "timer.h"

/* A watch as the tables tell. */
typedef struct Row
{
	int64		id;
	char	   *channel;
	char	   *path;
	char	   *queue;
	int32		owner;
	bool		paused;
	int			command_bytes;
	bool		wanted;
	bool		known;			/* it is among the sources */
} Row;

/* Who hears a channel. */
typedef struct Hearer
{
	char		channel[NAMEDATALEN];	/* the key */
	EvschedSource *source;
} Hearer;

static bool stale = true;		/* the tables have changed */
static List *sources = NIL;		/* of EvschedSource */
static HTAB *hearers;			/* those of channels: the server's notifications may be many */
static int	last;				/* the one whose turn it was */
static bool fds_changed;		/* those that sleep shall wait for have */
static MemoryContext intake_context;

static void see_change(void);
static void refresh(int64 clock);
static int	read_rows(Row **rows);
static bool may_watch(const Row *row);
static Row *find_wanted(Row *rows, int n, int64 watch);
static int	compare_ids(const void *a, const void *b);
static void close_replaced(int64 clock);
static void add(const Row *row, int64 clock);
static void drop(EvschedSource *source);
static void hear(const char *channel, const char *payload);
static void open_paths(int64 clock);
static bool is_open_twice(const EvschedSource *source);
static void find_readable(void);
static void take_in(EvschedIntake *intake);
static void enter(const EvschedIntake *intake);
static void update_fds(void);

/* To be called once, in the life of the process. */
void
evsched_watch_start(void)
{
	HASHCTL		control = {.keysize = NAMEDATALEN,.entrysize = sizeof(Hearer)};

	evsched_channel_start();
	hearers = hash_create("evsched channels", 64, &control, HASH_ELEM | HASH_STRINGS);
	evsched_store_on_change(see_change);
	intake_context = AllocSetContextCreate(TopMemoryContext, "evsched watches",
										   ALLOCSET_DEFAULT_SIZES);
}

/* Roles or pools may have changed. */
void
evsched_watch_look_again(void)
{
	stale = true;
}

/* Enters what has come in, some of it; returns when to call it again (µs, monotonic). */
int64
evsched_watch_run(int64 clock)
{
	MemoryContext old_context;
	EvschedIntake *intake;
	int64		next = PG_INT64_MAX;
	ListCell   *cell;

	if (stale)
		refresh(clock);
	if (sources == NIL && !fds_changed)
		return stale ? clock : PG_INT64_MAX;
	evsched_channel_read(hear);
	open_paths(clock);
	find_readable();

	MemoryContextReset(intake_context);
	old_context = MemoryContextSwitchTo(intake_context);
	intake = palloc0(sizeof(EvschedIntake));
	intake->clock = clock;
	take_in(intake);
	MemoryContextSwitchTo(old_context);
	if (intake->num_pieces > 0)
		enter(intake);
	if (fds_changed)
		update_fds();

	foreach(cell, sources)
		next = Min(next, evsched_source_next_time(lfirst(cell), clock));
	return stale || evsched_intake_is_full(intake) ? clock : next;
}

/* A table has changed: perhaps one of ours. */
static void
see_change(void)
{
	stale = true;
}

/* Opens and closes what has changed. */
static void
refresh(int64 clock)
{
	ListCell   *cell;
	Row		   *rows;
	int			n;

	/* What changes from here on is for the next time. */
	stale = false;
	evsched_process_begin();
	n = read_rows(&rows);
	/* First what goes: another watch may be on the same channel. */
	foreach(cell, sources)
	{
		EvschedSource *source = lfirst(cell);
		Row		   *row = find_wanted(rows, n, source->watch);

		if (row != NULL)
		{
			row->known = true;
			source->command_bytes = row->command_bytes;
			continue;
		}
		sources = foreach_delete_current(sources, cell);
		drop(source);
	}
	for (int i = 0; i < n; i++)
	{
		if (rows[i].wanted && !rows[i].known)
			add(&rows[i], clock);
	}
	evsched_process_end();
	close_replaced(clock);
}

/*
 * All watches of the database, by id, in the memory of the transaction, and which to
 * watch.
 */
static int
read_rows(Row **rows)
{
	EvschedCaller caller;
	MemoryContext context = CurrentMemoryContext;
	int			n;

	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_WATCH_LIST, NULL);
	context = MemoryContextSwitchTo(context);
	*rows = palloc0(sizeof(Row) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Row		   *row = &(*rows)[i];
		bool		isnull;
		Datum		value;

		row->id = DatumGetInt64(evsched_statement_value(i, 1, &isnull));
		value = evsched_statement_value(i, 2, &isnull);
		row->channel = isnull ? NULL : TextDatumGetCString(value);
		value = evsched_statement_value(i, 3, &isnull);
		row->path = isnull ? NULL : TextDatumGetCString(value);
		row->queue = TextDatumGetCString(evsched_statement_value(i, 4, &isnull));
		value = evsched_statement_value(i, 5, &isnull);
		row->owner = isnull ? 0 : DatumGetInt32(value);
		row->paused = DatumGetBool(evsched_statement_value(i, 6, &isnull));
		row->command_bytes = DatumGetInt32(evsched_statement_value(i, 7, &isnull));
	}
	MemoryContextSwitchTo(context);
	evsched_statement_end(&caller);
	for (int i = 0; i < n; i++)
		(*rows)[i].wanted = may_watch(&(*rows)[i]);
	return n;
}

/* Would its jobs be run, and may its owner still have what they are run with? */
static bool
may_watch(const Row *row)
{
	Oid			role = evsched_role_of(row->owner);

	return !row->paused && OidIsValid(role) && evsched_pool_exists(row->queue) &&
		!evsched_setting_is_halted(row->queue) &&
		evsched_right_has(role, row->queue, EVSCHED_RIGHT_POST) &&
		evsched_right_may_work(role) &&
		(row->path == NULL || evsched_right_reads_files(role));
}

/* The one with that id, if it is to be watched; else NULL. */
static Row *
find_wanted(Row *rows, int n, int64 watch)
{
	Row			key = {.id = watch};
	Row		   *row = bsearch(&key, rows, n, sizeof(Row), compare_ids);

	return row != NULL && row->wanted ? row : NULL;
}

static int
compare_ids(const void *a, const void *b)
{
	int64		one = ((const Row *) a)->id;
	int64		other = ((const Row *) b)->id;

	return (one > other) - (one < other);
}

/* What has the name of an open path now may be another thing: it is opened instead. */
static void
close_replaced(int64 clock)
{
	ListCell   *cell;

	foreach(cell, sources)
	{
		EvschedSource *source = lfirst(cell);

		if (source->path.fd < 0 || evsched_path_is_current(&source->path))
			continue;
		evsched_path_lose(&source->path, clock);
		fds_changed = true;
	}
}

/* Inside a transaction. */
static void
add(const Row *row, int64 clock)
{
	EvschedSource *source = evsched_source_make(row->id, row->channel, row->path, clock);
	MemoryContext context;

	source->command_bytes = row->command_bytes;
	if (row->channel != NULL)
	{
		Hearer	   *hearer = hash_search(hearers, row->channel, HASH_ENTER, NULL);

		hearer->source = source;
		evsched_channel_listen(row->channel);
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	sources = lappend(sources, source);
	MemoryContextSwitchTo(context);
}

/* Inside a transaction. */
static void
drop(EvschedSource *source)
{
	if (source->channel != NULL)
	{
		hash_search(hearers, source->channel, HASH_REMOVE, NULL);
		evsched_channel_unlisten(source->channel);
	}
	else
		fds_changed = true;
	evsched_source_free(source);
}

static void
hear(const char *channel, const char *payload)
{
	const Hearer *hearer = hash_search(hearers, channel, HASH_FIND, NULL);

	if (hearer != NULL)
		evsched_source_hear(hearer->source, payload);
}

/* Those whose time has come. */
static void
open_paths(int64 clock)
{
	ListCell   *cell;

	foreach(cell, sources)
	{
		EvschedSource *source = lfirst(cell);

		if (source->channel != NULL || source->path.retry_at > clock ||
			!evsched_path_open(&source->path, clock))
			continue;
		fds_changed = true;
		if (is_open_twice(source))
			evsched_path_fail(&source->path, "it is watched under another name",
							  "Cancel one of the two.", clock);
		else if (!source->path.is_socket)
			evsched_path_recover(&source->path);
	}
}

/* Two readers of one thing would share what comes. */
static bool
is_open_twice(const EvschedSource *source)
{
	ListCell   *cell;

	foreach(cell, sources)
	{
		const EvschedSource *other = lfirst(cell);

		if (other != source && other->path.fd >= 0 &&
			other->path.device == source->path.device &&
			other->path.inode == source->path.inode)
			return true;
	}
	return false;
}

/*
 * Which paths can be read now?  The wait does not tell all of them, nor any before
 * server 17 when the latch is set; and where turns are due nobody waits.
 */
static void
find_readable(void)
{
	struct pollfd *asked;
	EvschedSource **who;
	int			n = 0;
	ListCell   *cell;

	if (sources == NIL)
		return;
	asked = palloc(sizeof(struct pollfd) * list_length(sources));
	who = palloc(sizeof(EvschedSource *) * list_length(sources));
	foreach(cell, sources)
	{
		EvschedSource *source = lfirst(cell);

		source->readable = false;
		if (source->path.fd < 0 || source->exhausted)
			continue;
		who[n] = source;
		asked[n++] = (struct pollfd) {.fd = source->path.fd,.events = POLLIN};
	}
	if (n > 0 && poll(asked, n, 0) > 0)
	{
		for (int i = 0; i < n; i++)
			who[i]->readable = asked[i].revents != 0;
	}
	pfree(asked);
	pfree(who);
}

/* Of one source after the other, beginning where it ended last. */
static void
take_in(EvschedIntake *intake)
{
	for (int n = list_length(sources); n > 0 && !evsched_intake_is_full(intake); n--)
	{
		EvschedSource *source;
		int			fd;

		last = (last + 1) % list_length(sources);
		source = list_nth(sources, last);
		fd = evsched_source_fd(source);
		evsched_source_take(source, intake);
		fds_changed |= evsched_source_fd(source) != fd;
	}
}

/* In one transaction; the triggers of the table see to the rest. */
static void
enter(const EvschedIntake *intake)
{
	TimestampTz now = GetCurrentTimestamp();
	EvschedCaller caller;

	EVSCHED_STOP("watch read");
	evsched_process_begin();
	evsched_statement_begin(&caller);
	for (int i = 0; i < intake->num_pieces; i++)
	{
		Datum		values[] = {
			Int64GetDatum(intake->pieces[i].watch), TimestampTzGetDatum(now),
			JsonbPGetDatum(intake->pieces[i].payload)
		};

		/* None: it is no more, by a plain DELETE. */
		if (evsched_statement_run(EVSCHED_STMT_WATCH_FEED, values, NULL) == 0)
			stale = true;
	}
	evsched_statement_end(&caller);
	evsched_process_end();
}

/* Sleep shall wait for the paths that may be read. */
static void
update_fds(void)
{
	int		   *fds = palloc(sizeof(int) * Max(list_length(sources), 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, sources)
	{
		fds[n] = evsched_source_fd(lfirst(cell));
		n += fds[n] >= 0;
	}
	evsched_timer_watch(fds, n);
	pfree(fds);
	fds_changed = false;
}

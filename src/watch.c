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

#include "commands/async.h"
#include "lib/ilist.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "channel.h"
#include "guc.h"
#include "path.h"
#include "piece.h"
#include "pool.h"
#include "process.h"
#include "right.h"
#include "role.h"
#include "setting.h"
#include "statement.h"
#include "stop.h"
#include "store.h"
#include "timer.h"

/* What one call takes at most: a turn waits for no more. */
#define MAX_PIECES			100
#define MAX_READS			16
#define MAX_BYTES			(4 * EVSCHED_PIECE_BYTES)

/* A channel's notifications that wait; those beyond are dropped. */
#define MAX_BACKLOG			10000

/* How often it is told at most that some were. */
#define DROPPED_TOLD_US		(60 * USECS_PER_SEC)

/* How long the beginning of a character waits for its end. */
#define REST_US				(100 * INT64CONST(1000))

/* What one occurrence costs of a watch's share, which grows by the rate each µs. */
#define SHARE_OF_ONE		INT64CONST(1000000)

/* A longer time has filled every share. */
#define LONGEST_REFILL_US	(10 * USECS_PER_SEC)

typedef struct Notification
{
	dlist_node	node;
	char		payload[FLEXIBLE_ARRAY_MEMBER];
} Notification;

typedef struct Watch
{
	int64		id;
	bool		wanted;
	int64		share;			/* what it may still enter */
	int64		refilled_at;	/* µs, monotonic */
	bool		exhausted;		/* its share is, until half of the burst is back */

	char	   *channel;		/* NULL: it is a path */
	dlist_head	backlog;		/* of Notification */
	int			num_backlog;
	int64		num_dropped;
	int64		dropped_since;

	EvschedPath path;
	bool		readable;
	char		rest[EVSCHED_PIECE_REST];	/* of what was read: a character's beginning */
	int			num_rest;
	int64		rest_until;
} Watch;

/* A watch as the tables tell. */
typedef struct Row
{
	int64		id;
	char	   *channel;
	char	   *path;
	char	   *queue;
	int32		owner;
	bool		paused;
} Row;

/* What is to be entered. */
typedef struct Piece
{
	int64		watch;
	Jsonb	   *payload;
} Piece;

typedef struct Pass
{
	int64		clock;
	Piece		pieces[MAX_PIECES];
	int			num_pieces;
	int			num_reads;
	int			num_bytes;
} Pass;

static bool stale = true;		/* the tables have changed */
static List *watches = NIL;		/* of Watch */
static int	first;				/* the one whose turn it is */
static bool sources_changed;	/* what sleep shall wait for has */
static MemoryContext pass_context;

static void see_change(Datum arg, Oid relation);
static void refresh(int64 clock);
static int	read_rows(Row **rows);
static bool may_watch(const Row *row);
static void keep(const Row *row, int64 clock);
static void drop(Watch *watch);
static void hear(const char *channel, const char *payload);
static void open_paths(int64 clock);
static bool is_open_twice(const Watch *watch);
static void find_readable(void);
static bool is_full(const Pass *pass);
static void take_in(Watch *watch, Pass *pass);
static void take_notifications(Watch *watch, Pass *pass);
static void take_bytes(Watch *watch, Pass *pass);
static void add_piece(Watch *watch, Pass *pass, Jsonb *payload);
static void tell_dropped(Watch *watch, int64 clock);
static void enter(const Pass *pass);
static void refill(Watch *watch, int64 clock);
static int64 burst(void);
static int64 resume_share(void);
static void update_sources(void);
static int64 next_time(const Watch *watch, int64 clock);

/* To be called once, in the life of the process. */
void
evsched_watch_start(void)
{
	evsched_channel_start();
	CacheRegisterRelcacheCallback(see_change, (Datum) 0);
	pass_context = AllocSetContextCreate(TopMemoryContext, "evsched watches",
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
	Pass	   *pass;
	int64		next = PG_INT64_MAX;

	if (stale)
		refresh(clock);
	if (watches == NIL && !sources_changed)
		return PG_INT64_MAX;
	evsched_channel_read(hear);
	open_paths(clock);
	find_readable();

	MemoryContextReset(pass_context);
	old_context = MemoryContextSwitchTo(pass_context);
	pass = palloc0(sizeof(Pass));
	pass->clock = clock;
	for (int n = list_length(watches); n > 0 && !is_full(pass); n--)
	{
		first = (first + 1) % list_length(watches);
		take_in(list_nth(watches, first), pass);
	}
	MemoryContextSwitchTo(old_context);
	if (pass->num_pieces > 0)
		enter(pass);

	update_sources();
	for (int i = 0; i < list_length(watches); i++)
		next = Min(next, next_time(list_nth(watches, i), clock));
	return stale || is_full(pass) ? clock : next;
}

/* A table has changed: perhaps one of ours. */
static void
see_change(Datum arg, Oid relation)
{
	if (relation == InvalidOid || evsched_store_is_setting(relation))
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
	foreach(cell, watches)
		((Watch *) lfirst(cell))->wanted = false;
	for (int i = 0; i < n; i++)
	{
		if (may_watch(&rows[i]))
			keep(&rows[i], clock);
	}
	foreach(cell, watches)
	{
		Watch	   *watch = lfirst(cell);

		if (watch->wanted)
			continue;
		watches = foreach_delete_current(watches, cell);
		drop(watch);
	}
	first = 0;
	evsched_process_end();
}

/* All watches of the database, in the memory of the transaction. */
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
	}
	MemoryContextSwitchTo(context);
	evsched_statement_end(&caller);
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

/* Goes on with a watch, or begins with it. */
static void
keep(const Row *row, int64 clock)
{
	MemoryContext context;
	ListCell   *cell;
	Watch	   *watch;

	foreach(cell, watches)
	{
		watch = lfirst(cell);
		if (watch->id != row->id)
			continue;
		watch->wanted = true;
		/* It may have been made anew. */
		if (watch->path.fd >= 0 && !evsched_path_is_current(&watch->path))
		{
			evsched_path_fail(&watch->path, NULL, NULL, clock);
			sources_changed = true;
		}
		return;
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	watch = palloc0(sizeof(Watch));
	watch->id = row->id;
	watch->wanted = true;
	watch->share = burst();
	watch->refilled_at = clock;
	dlist_init(&watch->backlog);
	evsched_path_init(&watch->path, row->path != NULL ? pstrdup(row->path) : NULL, clock);
	if (row->channel != NULL)
	{
		watch->channel = pstrdup(row->channel);
		evsched_channel_listen(watch->channel);
	}
	watches = lappend(watches, watch);
	MemoryContextSwitchTo(context);
}

/* Inside a transaction. */
static void
drop(Watch *watch)
{
	dlist_mutable_iter iter;

	if (watch->channel != NULL)
	{
		evsched_channel_unlisten(watch->channel);
		pfree(watch->channel);
	}
	else
	{
		sources_changed |= watch->path.fd >= 0;
		evsched_path_close(&watch->path);
		pfree(watch->path.name);
	}
	dlist_foreach_modify(iter, &watch->backlog)
		pfree(dlist_container(Notification, node, iter.cur));
	pfree(watch);
}

/* Keeps a notification until it is entered. */
static void
hear(const char *channel, const char *payload)
{
	ListCell   *cell;

	foreach(cell, watches)
	{
		Watch	   *watch = lfirst(cell);
		Notification *notification;

		if (watch->channel == NULL || strcmp(watch->channel, channel) != 0)
			continue;
		if (watch->num_backlog == MAX_BACKLOG)
		{
			watch->num_dropped++;
			return;
		}
		notification = MemoryContextAlloc(TopMemoryContext,
										  offsetof(Notification, payload) + strlen(payload) + 1);
		strcpy(notification->payload, payload);
		dlist_push_tail(&watch->backlog, &notification->node);
		watch->num_backlog++;
		return;
	}
}

/* Those whose time has come. */
static void
open_paths(int64 clock)
{
	ListCell   *cell;

	foreach(cell, watches)
	{
		Watch	   *watch = lfirst(cell);

		if (watch->channel != NULL || watch->path.retry_at > clock ||
			!evsched_path_open(&watch->path, clock))
			continue;
		sources_changed = true;
		if (is_open_twice(watch))
			evsched_path_fail(&watch->path, "it is watched under another name",
							  "Cancel one of the two.", clock);
	}
}

/* Two readers of one thing would share what comes. */
static bool
is_open_twice(const Watch *watch)
{
	ListCell   *cell;

	foreach(cell, watches)
	{
		const Watch *other = lfirst(cell);

		if (other != watch && other->path.fd >= 0 &&
			other->path.device == watch->path.device &&
			other->path.inode == watch->path.inode)
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
	Watch	  **who;
	int			n = 0;
	ListCell   *cell;

	if (watches == NIL)
		return;
	asked = palloc(sizeof(struct pollfd) * list_length(watches));
	who = palloc(sizeof(Watch *) * list_length(watches));
	foreach(cell, watches)
	{
		Watch	   *watch = lfirst(cell);

		watch->readable = false;
		if (watch->path.fd < 0 || watch->exhausted)
			continue;
		who[n] = watch;
		asked[n++] = (struct pollfd) {.fd = watch->path.fd,.events = POLLIN};
	}
	if (n > 0 && poll(asked, n, 0) > 0)
	{
		for (int i = 0; i < n; i++)
			who[i]->readable = asked[i].revents != 0;
	}
	pfree(asked);
	pfree(who);
}

static bool
is_full(const Pass *pass)
{
	return pass->num_pieces == MAX_PIECES || pass->num_reads == MAX_READS ||
		pass->num_bytes >= MAX_BYTES;
}

static void
take_in(Watch *watch, Pass *pass)
{
	bool		was_exhausted = watch->exhausted;

	refill(watch, pass->clock);
	if (!watch->exhausted)
	{
		if (watch->channel != NULL)
			take_notifications(watch, pass);
		else
			take_bytes(watch, pass);
	}
	sources_changed |= watch->path.fd >= 0 && watch->exhausted != was_exhausted;
}

static void
take_notifications(Watch *watch, Pass *pass)
{
	while (!watch->exhausted && watch->num_backlog > 0 && !is_full(pass))
	{
		Notification *notification = dlist_container(Notification, node,
													 dlist_pop_head_node(&watch->backlog));

		watch->num_backlog--;
		add_piece(watch, pass, evsched_piece_of_notification(watch->id, notification->payload));
		pfree(notification);
	}
	tell_dropped(watch, pass->clock);
}

/*
 * A character is not cut between two pieces: its beginning waits for the rest, but
 * not for long.
 */
static void
take_bytes(Watch *watch, Pass *pass)
{
	char	   *bytes;
	int			n = watch->num_rest;
	int			cut = 0;

	if (!watch->readable && (n == 0 || watch->rest_until > pass->clock))
		return;
	bytes = palloc(EVSCHED_PIECE_BYTES + 1);
	memcpy(bytes, watch->rest, n);
	if (watch->readable)
	{
		n += evsched_path_read(&watch->path, bytes + n, EVSCHED_PIECE_BYTES - n, pass->clock);
		pass->num_reads++;
		sources_changed |= watch->path.fd < 0;
	}
	bytes[n] = '\0';
	if (watch->path.fd >= 0 && (watch->num_rest < n || watch->rest_until > pass->clock))
		cut = evsched_piece_cut(bytes, n);
	if (cut > 0 && (watch->num_rest == 0 || cut < n))
		watch->rest_until = pass->clock + REST_US;
	memcpy(watch->rest, bytes + n - cut, cut);
	watch->num_rest = cut;
	if (n > cut)
		add_piece(watch, pass, evsched_piece_of_bytes(watch->id, bytes, n - cut));
	pass->num_bytes += n - cut;
	pfree(bytes);
}

static void
add_piece(Watch *watch, Pass *pass, Jsonb *payload)
{
	pass->pieces[pass->num_pieces++] = (Piece) {watch->id, payload};
	watch->share -= SHARE_OF_ONE;
	watch->exhausted = watch->share < SHARE_OF_ONE;
}

/* Once it is over, and now and then while it is not. */
static void
tell_dropped(Watch *watch, int64 clock)
{
	if (watch->num_dropped == 0)
		return;
	if (watch->dropped_since == 0)
		watch->dropped_since = clock;
	if (watch->num_backlog > 0 && clock < watch->dropped_since + DROPPED_TOLD_US)
		return;
	ereport(LOG,
			(errmsg("evsched dropped " INT64_FORMAT " notifications on channel \"%s\"",
					watch->num_dropped, watch->channel),
			 errdetail("%d were waiting already.", MAX_BACKLOG),
			 errhint("Notify less often, or raise evsched.max_watch_rate.")));
	watch->num_dropped = 0;
	watch->dropped_since = 0;
}

/* In one transaction; the triggers of the table see to the rest. */
static void
enter(const Pass *pass)
{
	TimestampTz now = GetCurrentTimestamp();
	EvschedCaller caller;

	EVSCHED_STOP("watch read");
	evsched_process_begin();
	evsched_statement_begin(&caller);
	for (int i = 0; i < pass->num_pieces; i++)
	{
		Datum		values[] = {
			Int64GetDatum(pass->pieces[i].watch), TimestampTzGetDatum(now),
			JsonbPGetDatum(pass->pieces[i].payload)
		};

		/* None: it is no more, by a plain DELETE. */
		if (evsched_statement_run(EVSCHED_STMT_WATCH_FEED, values, NULL) == 0)
			stale = true;
	}
	evsched_statement_end(&caller);
	evsched_process_end();
}

/* The share grows with time, up to a burst. */
static void
refill(Watch *watch, int64 clock)
{
	int64		elapsed = Min(clock - watch->refilled_at, LONGEST_REFILL_US);

	watch->share = Min(watch->share + elapsed * evsched_max_watch_rate, burst());
	watch->refilled_at = clock;
	if (watch->exhausted && watch->share >= resume_share())
		watch->exhausted = false;
}

/* A tenth of a second's, at least one. */
static int64
burst(void)
{
	return Max(evsched_max_watch_rate / 10, 1) * SHARE_OF_ONE;
}

/* What is exhausted waits for half of that, lest it be opened and closed all the time. */
static int64
resume_share(void)
{
	return Max(burst() / 2, SHARE_OF_ONE);
}

/* Sleep shall wait for the paths that may be read. */
static void
update_sources(void)
{
	int		   *fds;
	int			n = 0;
	ListCell   *cell;

	if (!sources_changed)
		return;
	fds = palloc(sizeof(int) * Max(list_length(watches), 1));
	foreach(cell, watches)
	{
		const Watch *watch = lfirst(cell);

		if (watch->path.fd >= 0 && !watch->exhausted)
			fds[n++] = watch->path.fd;
	}
	evsched_timer_watch(fds, n);
	pfree(fds);
	sources_changed = false;
}

/* When there is something to do for it even if nothing more comes in. */
static int64
next_time(const Watch *watch, int64 clock)
{
	int64		next = PG_INT64_MAX;

	if (watch->exhausted)
		next = clock + (resume_share() - watch->share) / evsched_max_watch_rate + 1;
	else if (watch->num_backlog > 0)
		next = clock;
	else if (watch->num_rest > 0)
		next = watch->rest_until;
	if (watch->channel == NULL)
		next = Min(next, watch->path.retry_at);
	return next;
}

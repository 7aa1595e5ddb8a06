/*
 * source.c
 *		One channel or path that is watched: what of it waits, and how much it may
 *		give.
 *
 * In the memory of the scheduler, which calls it outside a transaction.  Nothing
 * waits, and nothing is written: what is taken goes into an intake.
 */
#include "postgres.h"

#include "source.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"

/* A channel's notifications that wait; those beyond are dropped. */
#define MAX_BACKLOG			10000
#define MAX_BACKLOG_BYTES	(8 * 1024 * 1024)

/* How often it is told at most that some were. */
#define DROPPED_TOLD_US		(60 * USECS_PER_SEC)

/* How long the beginning of a character waits for its end. */
#define REST_US				(100 * INT64CONST(1000))

/* What one piece costs of a source's share, which grows by the rate each µs. */
#define SHARE_OF_ONE		INT64CONST(1000000)

/* A longer time has filled every share. */
#define LONGEST_REFILL_US	(10 * USECS_PER_SEC)

typedef struct Notification
{
	dlist_node	node;
	char		payload[FLEXIBLE_ARRAY_MEMBER];
} Notification;

static void take_notifications(EvschedSource *source, EvschedIntake *intake);
static void take_bytes(EvschedSource *source, EvschedIntake *intake);
static void add_piece(EvschedSource *source, EvschedIntake *intake, Jsonb *payload);
static void tell_dropped(EvschedSource *source, int64 clock);
static void refill(EvschedSource *source, int64 clock);
static int64 burst(void);
static int64 resume_share(void);

/* Of channel and path one is NULL. */
EvschedSource *
evsched_source_make(int64 watch, const char *channel, const char *path, int64 clock)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
	EvschedSource *source = palloc0(sizeof(EvschedSource));

	source->watch = watch;
	source->share = burst();
	source->refilled_at = clock;
	source->channel = channel != NULL ? pstrdup(channel) : NULL;
	if (channel != NULL)
		source->memory = AllocSetContextCreate(TopMemoryContext, "evsched backlog",
											   ALLOCSET_SMALL_SIZES);
	dlist_init(&source->backlog);
	evsched_path_init(&source->path, path != NULL ? pstrdup(path) : NULL, clock);
	MemoryContextSwitchTo(context);
	return source;
}

void
evsched_source_free(EvschedSource *source)
{
	if (source->channel != NULL)
	{
		MemoryContextDelete(source->memory);
		pfree(source->channel);
	}
	else
	{
		evsched_path_close(&source->path);
		pfree(source->path.name);
	}
	pfree(source);
}

/* Keeps a notification until it is taken. */
void
evsched_source_hear(EvschedSource *source, const char *payload)
{
	int			bytes = strlen(payload) + 1;
	Notification *notification;

	if (source->num_backlog == MAX_BACKLOG ||
		source->backlog_bytes + bytes > MAX_BACKLOG_BYTES)
	{
		source->num_dropped++;
		return;
	}
	notification = MemoryContextAlloc(source->memory, offsetof(Notification, payload) + bytes);
	memcpy(notification->payload, payload, bytes);
	dlist_push_tail(&source->backlog, &notification->node);
	source->num_backlog++;
	source->backlog_bytes += bytes;
}

/* What is to be waited for until there is more to read; -1: nothing. */
int
evsched_source_fd(const EvschedSource *source)
{
	return source->exhausted ? -1 : source->path.fd;
}

/* Takes what there is and the source may give, as much as still fits; in this memory. */
void
evsched_source_take(EvschedSource *source, EvschedIntake *intake)
{
	refill(source, intake->clock);
	if (source->exhausted)
		return;
	if (source->channel != NULL)
		take_notifications(source, intake);
	else
		take_bytes(source, intake);
}

/* When there is something to do for it even if nothing more comes in (µs, monotonic). */
int64
evsched_source_next_time(const EvschedSource *source, int64 clock)
{
	int64		next = PG_INT64_MAX;

	if (source->exhausted)
		next = clock + (resume_share() - source->share) / evsched_max_watch_rate + 1;
	else if (source->num_backlog > 0)
		next = clock;
	else if (source->num_rest > 0)
		next = source->rest_until;
	if (source->channel == NULL)
		next = Min(next, source->path.retry_at);
	return next;
}

bool
evsched_intake_is_full(const EvschedIntake *intake)
{
	return intake->num_pieces == EVSCHED_INTAKE_PIECES ||
		intake->num_reads == EVSCHED_INTAKE_READS ||
		intake->num_bytes >= EVSCHED_INTAKE_BYTES;
}

static void
take_notifications(EvschedSource *source, EvschedIntake *intake)
{
	while (!source->exhausted && source->num_backlog > 0 && !evsched_intake_is_full(intake))
	{
		Notification *notification = dlist_container(Notification, node,
													 dlist_pop_head_node(&source->backlog));

		source->num_backlog--;
		source->backlog_bytes -= strlen(notification->payload) + 1;
		add_piece(source, intake,
				  evsched_piece_of_notification(source->watch, notification->payload));
		pfree(notification);
	}
	/* What a flood has taken is given back. */
	if (source->num_backlog == 0)
		MemoryContextReset(source->memory);
	tell_dropped(source, intake->clock);
}

/*
 * A character is not cut between two pieces: its beginning waits for the rest, but
 * not for long.
 */
static void
take_bytes(EvschedSource *source, EvschedIntake *intake)
{
	char	   *bytes;
	int			n = source->num_rest;
	int			cut = 0;

	if (!source->readable && (n == 0 || source->rest_until > intake->clock))
		return;
	bytes = palloc(EVSCHED_PIECE_BYTES + 1);
	memcpy(bytes, source->rest, n);
	if (source->readable)
	{
		n += evsched_path_read(&source->path, bytes + n, EVSCHED_PIECE_BYTES - n,
							   intake->clock);
		intake->num_reads++;
	}
	bytes[n] = '\0';
	if (source->path.fd >= 0 &&
		(source->num_rest < n || source->rest_until > intake->clock))
		cut = evsched_piece_cut(bytes, n);
	if (cut > 0 && (source->num_rest == 0 || cut < n))
		source->rest_until = intake->clock + REST_US;
	memcpy(source->rest, bytes + n - cut, cut);
	source->num_rest = cut;
	if (n > cut)
		add_piece(source, intake, evsched_piece_of_bytes(source->watch, bytes, n - cut));
	pfree(bytes);
}

static void
add_piece(EvschedSource *source, EvschedIntake *intake, Jsonb *payload)
{
	intake->pieces[intake->num_pieces++] = (EvschedPiece) {source->watch, payload};
	intake->num_bytes += VARSIZE(payload) + source->command_bytes;
	source->share -= SHARE_OF_ONE;
	source->exhausted = source->share < SHARE_OF_ONE;
}

/* Once it is over, and now and then while it is not. */
static void
tell_dropped(EvschedSource *source, int64 clock)
{
	if (source->num_dropped == 0)
		return;
	if (source->dropped_since == 0)
		source->dropped_since = clock;
	if (source->num_backlog > 0 && clock < source->dropped_since + DROPPED_TOLD_US)
		return;
	ereport(LOG,
			(errmsg("evsched dropped " INT64_FORMAT " notifications on channel \"%s\"",
					source->num_dropped, source->channel),
			 errdetail("No more than %d, or %d kB, wait.", MAX_BACKLOG,
					   MAX_BACKLOG_BYTES / 1024),
			 errhint("Notify less often, or raise evsched.max_watch_rate.")));
	source->num_dropped = 0;
	source->dropped_since = 0;
}

/* The share grows with time, up to a burst. */
static void
refill(EvschedSource *source, int64 clock)
{
	int64		elapsed = Min(clock - source->refilled_at, LONGEST_REFILL_US);

	source->share = Min(source->share + elapsed * evsched_max_watch_rate, burst());
	source->refilled_at = clock;
	if (source->exhausted && source->share >= resume_share())
		source->exhausted = false;
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

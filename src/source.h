/*
 * source.h
 *		One channel or path that is watched.
 */
#ifndef EVSCHED_SOURCE_H
#define EVSCHED_SOURCE_H

#include "lib/ilist.h"

#include "path.h"
#include "piece.h"

/* What one intake holds at most: a turn waits for no more. */
#define EVSCHED_INTAKE_PIECES	100
#define EVSCHED_INTAKE_READS	16
#define EVSCHED_INTAKE_BYTES	(4 * EVSCHED_PIECE_BYTES)

/* What is to be entered as an occurrence of a watch. */
typedef struct EvschedPiece
{
	int64		watch;
	Jsonb	   *payload;
} EvschedPiece;

/* What is taken in at a time. */
typedef struct EvschedIntake
{
	int64		clock;			/* µs, monotonic */
	EvschedPiece pieces[EVSCHED_INTAKE_PIECES];
	int			num_pieces;
	int			num_reads;
	int			num_bytes;		/* of payloads and commands: each piece is entered with both */
} EvschedIntake;

typedef struct EvschedSource
{
	int64		watch;			/* its id */
	int64		share;			/* what it may still give */
	int64		refilled_at;	/* µs, monotonic */
	bool		exhausted;		/* its share is, until half of the burst is back */
	int			command_bytes;	/* what each piece is entered with */

	/* of a channel; NULL: it is a path */
	char	   *channel;
	MemoryContext memory;		/* of the backlog; as good as empty when that is */
	dlist_head	backlog;		/* of notifications */
	int			num_backlog;
	int			backlog_bytes;
	int64		num_dropped;
	int64		dropped_since;	/* µs, monotonic; 0: none was */

	/* of a path */
	EvschedPath path;
	bool		readable;
	char		rest[EVSCHED_PIECE_REST];	/* of what was read: a character's beginning */
	int			num_rest;
	int64		rest_until;		/* µs, monotonic */
} EvschedSource;

extern EvschedSource *evsched_source_make(int64 watch, const char *channel,
										  const char *path, int64 clock);
extern void evsched_source_free(EvschedSource *source);
extern void evsched_source_hear(EvschedSource *source, const char *payload);
extern int	evsched_source_fd(const EvschedSource *source);
extern void evsched_source_take(EvschedSource *source, EvschedIntake *intake);
extern int64 evsched_source_next_time(const EvschedSource *source, int64 clock);

extern bool evsched_intake_is_full(const EvschedIntake *intake);

#endif							/* EVSCHED_SOURCE_H */

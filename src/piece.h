/*
 * piece.h
 *		What has come in, as the payload of an event.
 */
#ifndef EVSCHED_PIECE_H
#define EVSCHED_PIECE_H

#include "utils/jsonb.h"

/* What is read at a time. */
#define EVSCHED_PIECE_BYTES		65536

/* No character has more. */
#define EVSCHED_PIECE_REST		4

extern int	evsched_piece_cut(const char *bytes, int length);
extern Jsonb *evsched_piece_of_bytes(int64 watch, const char *bytes, int length);
extern Jsonb *evsched_piece_of_notification(int64 watch, const char *payload);

#endif							/* EVSCHED_PIECE_H */

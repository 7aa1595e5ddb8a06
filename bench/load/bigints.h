/*
 * bigints.h: a growing array of ids, and as the parameter of a statement.
 */
#ifndef BIGINTS_H
#define BIGINTS_H

#include <libpq-fe.h>
#include <stdint.h>

typedef struct
{
	int64_t    *value;
	int			count;
	int			size;
} Bigints;

extern void bigints_add(Bigints *ids, int64_t id);
extern int	bigints_send(PGconn *conn, const char *statement, const Bigints *ids);

#endif

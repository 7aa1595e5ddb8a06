/*
 * bigints.c: a growing array of ids, and as the parameter of a statement.
 *
 * Sent as bigint[] in binary, so that writing and reading digits is not measured.
 */
#include "bigints.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "option.h"

#define BIGINT_TYPE 20
#define HEAD_WORDS 5
#define ITEM_SIZE (sizeof(uint32_t) + sizeof(uint64_t))

void
bigints_add(Bigints *ids, int64_t id)
{
	if (ids->count == ids->size)
	{
		ids->size = ids->size ? ids->size * 2 : 4096;
		ids->value = realloc(ids->value, ids->size * sizeof(int64_t));
		if (!ids->value)
			die("out of memory");
	}
	ids->value[ids->count++] = id;
}

/* array_recv's format: dimensions, nulls, type, length, lower bound; then the items. */
static char *
encode(const Bigints *ids, int *length)
{
	int			dimensions = ids->count > 0;
	uint32_t	head[HEAD_WORDS] = {
		htonl(dimensions), 0, htonl(BIGINT_TYPE), htonl(ids->count), htonl(1)
	};
	int			head_size = (dimensions ? HEAD_WORDS : 3) * sizeof(uint32_t);
	char	   *bytes = malloc(head_size + ids->count * ITEM_SIZE);
	char	   *end = bytes + head_size;
	uint32_t	size = htonl(sizeof(uint64_t));

	if (!bytes)
		die("out of memory");
	memcpy(bytes, head, head_size);
	for (int i = 0; i < ids->count; i++)
	{
		uint64_t	value = htobe64(ids->value[i]);

		memcpy(end, &size, sizeof(size));
		memcpy(end + sizeof(size), &value, sizeof(value));
		end += ITEM_SIZE;
	}
	*length = end - bytes;
	return bytes;
}

/* Sends the statement with the ids as $1; what libpq says of it. */
int
bigints_send(PGconn *conn, const char *statement, const Bigints *ids)
{
	int			length;
	char	   *bytes = encode(ids, &length);
	const char *values[] = {bytes};
	int			binary = 1;
	int			sent;

	sent = PQsendQueryPrepared(conn, statement, 1, values, &length, &binary, 0);
	free(bytes);
	return sent;
}

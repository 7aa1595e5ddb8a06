/*
 * evsched.h
 *		The words of evsched: limits, places and stores.
 *
 * Every file may include this one; it includes nothing of ours.
 */
#ifndef EVSCHED_H
#define EVSCHED_H

#include "datatype/timestamp.h"
#include "storage/lwlock.h"

#define EVSCHED_NAME			"evsched"	/* extension, schema, library */

/* Longest names, in bytes, without the terminating zero. */
#define EVSCHED_QUEUE_BYTES		63
#define EVSCHED_KEY_BYTES		255
#define EVSCHED_NODE_BYTES		255
#define EVSCHED_CHANNEL_BYTES	40

/* Longest payload of a NOTIFY, without the terminating zero (async.c). */
#define EVSCHED_NOTIFY_BYTES	(BLCKSZ - NAMEDATALEN - 128 - 1)

/* No queue, listener, lease or database. */
#define EVSCHED_NO_SLOT			(-1)

/* Databases of one server that can have a scheduler. */
#define EVSCHED_MAX_DATABASES	128

/* A wait before a retry doubles, up to this. */
#define EVSCHED_MAX_BACKOFF		USECS_PER_HOUR

/* max_retries of an event that is never given up. */
#define EVSCHED_RETRY_FOREVER	(-1)

/*
 * Where an event stands in its queue: events are handed out in the order of
 * their places.
 */
typedef struct EvschedPlace
{
	TimestampTz due_at;
	int64		id;
} EvschedPlace;

#define EVSCHED_PLACE_FIRST		((EvschedPlace) {DT_NOBEGIN, PG_INT64_MIN})
#define EVSCHED_PLACE_LAST		((EvschedPlace) {DT_NOEND, PG_INT64_MAX})

/* The place before which everything finite stands. */
#define EVSCHED_PLACE_NEVER		((EvschedPlace) {DT_NOEND, PG_INT64_MIN})

static inline bool
evsched_place_before(EvschedPlace a, EvschedPlace b)
{
	return a.due_at < b.due_at || (a.due_at == b.due_at && a.id < b.id);
}

static inline EvschedPlace
evsched_place_min(EvschedPlace a, EvschedPlace b)
{
	return evsched_place_before(b, a) ? b : a;
}

/*
 * One life of the extension in one database.  The table's oid is its
 * generation: ids start again after DROP and CREATE EXTENSION, oids do not.
 */
typedef struct EvschedStore
{
	Oid			database;
	Oid			table;
} EvschedStore;

static inline bool
evsched_store_equal(EvschedStore a, EvschedStore b)
{
	return a.database == b.database && a.table == b.table;
}

/* Is it that store or, asked for the others, another one of its database? */
static inline bool
evsched_store_is_meant(EvschedStore one, EvschedStore store, bool others)
{
	return one.database == store.database && (one.table != store.table) == others;
}

#endif							/* EVSCHED_H */

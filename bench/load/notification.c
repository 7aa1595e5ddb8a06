/*
 * notification.c: the events in a notification's payload.
 *
 * A payload is a JSON array of objects. This finds "id", "due_at" and "fetch" among
 * an object's own keys, in whatever order, with or without spaces, and steps over all
 * else. It trusts the server to send JSON and does not check it.
 */
#include "notification.h"

#include <stdlib.h>
#include <string.h>

#include "timestamp.h"

static const char *skip_space(const char *at);
static const char *skip_string(const char *at);
static const char *skip_value(const char *at);
static void note(Delivered *event, const char *key, size_t length, const char *value);

/*
 * Reads the next event at or behind `at` (at first the payload itself) and returns
 * where to go on; NULL when there is no other.
 */
const char *
notification_event(const char *at, Delivered *event)
{
	at = strchr(at, '{');
	if (!at)
		return NULL;
	*event = (Delivered) {.due_at = -1};
	at = skip_space(at + 1);
	while (*at == '"')
	{
		const char *key = at + 1;
		size_t		length;

		at = skip_string(at);
		length = at - key - 1;
		at = skip_space(at);
		if (*at != ':')
			return NULL;
		at = skip_space(at + 1);
		note(event, key, length, at);
		at = skip_space(skip_value(at));
		if (*at == ',')
			at = skip_space(at + 1);
	}
	return *at == '}' ? at + 1 : NULL;
}

static void
note(Delivered *event, const char *key, size_t length, const char *value)
{
	if (length == 2 && memcmp(key, "id", 2) == 0)
		event->id = strtoll(value, NULL, 10);
	else if (length == 6 && memcmp(key, "due_at", 6) == 0 && *value == '"')
		event->due_at = timestamp_parse(value + 1);
	else if (length == 5 && memcmp(key, "fetch", 5) == 0)
		event->fetch = *value == 't';
}

static const char *
skip_space(const char *at)
{
	while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
		at++;
	return at;
}

/* From the opening quote to behind the closing one. */
static const char *
skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

/* Behind a value, of whatever kind and depth. */
static const char *
skip_value(const char *at)
{
	int			depth = 0;

	for (; *at; at++)
	{
		if (*at == '"')
			at = skip_string(at) - 1;
		else if (*at == '{' || *at == '[')
			depth++;
		else if ((*at == '}' || *at == ']') && depth-- == 0)
			return at;
		else if (*at == ',' && depth == 0)
			return at;
	}
	return at;
}

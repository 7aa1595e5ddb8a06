/*
 * notification.h: the events in a notification's payload.
 */
#ifndef NOTIFICATION_H
#define NOTIFICATION_H

#include <stdbool.h>
#include <stdint.h>

typedef struct
{
	int64_t		id;
	int64_t		due_at;			/* -1: not told */
	bool		fetch;			/* too large for a notification */
} Delivered;

extern const char *notification_event(const char *at, Delivered *event);

#endif

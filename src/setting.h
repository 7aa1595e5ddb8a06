/*
 * setting.h
 *		What was said of a queue, and of the database as a whole.
 */
#ifndef EVSCHED_SETTING_H
#define EVSCHED_SETTING_H

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "evsched.h"

/* What a role that does not own a queue may do with it. */
typedef enum EvschedRight
{
	EVSCHED_RIGHT_POST,
	EVSCHED_RIGHT_CONSUME
} EvschedRight;

#define EVSCHED_NUM_RIGHTS	2

typedef struct EvschedGrant
{
	int32		role;			/* number in evsched.role */
	EvschedRight right;
} EvschedGrant;

typedef struct EvschedSetting
{
	char		queue[EVSCHED_QUEUE_BYTES + 1]; /* hash key */
	bool		owned;			/* else it is open to everybody */
	int32		owner;			/* number in evsched.role */
	bool		paused;
	int32		max_retries;	/* of events that do not say */
	bool		has_retry_delay;
	Interval	retry_delay;
	int			num_grants;
	EvschedGrant *grants;
} EvschedSetting;

/* The words for rights, by EvschedRight. */
extern const char *const evsched_right_words[EVSCHED_NUM_RIGHTS];

extern void evsched_setting_init(void);
extern const EvschedSetting *evsched_setting_find(const char *queue);
extern bool evsched_setting_is_stopped(void);
extern bool evsched_setting_is_halted(const char *queue);

/* What an event says of itself, or else its queue. */
extern int	evsched_setting_max_retries(TupleTableSlot *row);
extern TimestampTz evsched_setting_retry_at(TupleTableSlot *row, TimestampTz now);

#endif							/* EVSCHED_SETTING_H */

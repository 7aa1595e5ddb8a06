/*
 * channel.h
 *		Channels on which the scheduler listens.
 */
#ifndef EVSCHED_CHANNEL_H
#define EVSCHED_CHANNEL_H

/* What is to be done with a notification; both are the caller's for this call only. */
typedef void (*EvschedHear) (const char *channel, const char *payload);

extern void evsched_channel_start(void);
extern void evsched_channel_listen(const char *channel);
extern void evsched_channel_unlisten(const char *channel);
extern void evsched_channel_read(EvschedHear hear);

#endif							/* EVSCHED_CHANNEL_H */

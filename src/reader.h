/*
 * reader.h
 *		Do the clients of listeners read what they are sent?
 */
#ifndef EVSCHED_READER_H
#define EVSCHED_READER_H

#include "listener.h"

extern bool evsched_reader_is_blocked(const EvschedListener *listener);
extern bool evsched_reader_queue_has_room(void);
extern bool evsched_reader_may_send(EvschedListenerRef ref, int64 bytes);
extern void evsched_reader_sent(EvschedListenerRef ref, int64 bytes);
extern int64 evsched_reader_check_at(void);
extern int64 evsched_reader_check(EvschedStore store, int64 clock);

#endif							/* EVSCHED_READER_H */

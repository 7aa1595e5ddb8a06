/*
 * notice.h
 *		Events as the JSON of notifications.
 */
#ifndef EVSCHED_NOTICE_H
#define EVSCHED_NOTICE_H

#include "lib/stringinfo.h"

#include "event.h"

extern bool evsched_notice_format(StringInfo piece, TupleTableSlot *row);
extern void evsched_notice_format_fetch(StringInfo piece, int64 id);
extern void evsched_notice_add(StringInfo pending, const char *channel, StringInfo piece);
extern void evsched_notice_send(StringInfo pending, const char *channel);
extern void evsched_notice_tell(const char *channel);
extern int64 evsched_notice_sent(void);

#endif							/* EVSCHED_NOTICE_H */

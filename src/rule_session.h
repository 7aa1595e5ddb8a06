/*
 * rule_session.h
 *		When this session has last run the rules of mode each.
 */
#ifndef EVSCHED_RULE_SESSION_H
#define EVSCHED_RULE_SESSION_H

#include "evsched.h"

extern void evsched_rule_session_init(void);
extern bool evsched_rule_session_is_due(EvschedStore store, int64 rule, int64 period,
										TimestampTz now);
extern bool evsched_rule_session_take(EvschedStore store, int64 rule, int64 period,
									  TimestampTz now);
extern void evsched_rule_session_forget(void);

#endif							/* EVSCHED_RULE_SESSION_H */

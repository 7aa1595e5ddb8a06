/*
 * rule_owner.h
 *		What is run as the owner of a set of rules.
 */
#ifndef EVSCHED_RULE_OWNER_H
#define EVSCHED_RULE_OWNER_H

#include "evsched.h"

/* What was the caller's, while something is done as the owner of a set. */
typedef struct EvschedRuleCaller
{
	Oid			user;
	int			context;
	int			guc_level;
} EvschedRuleCaller;

extern const char *evsched_rule_owner_path(void);
extern void evsched_rule_owner_become(Oid owner, const char *search_path,
									  EvschedRuleCaller *caller);
extern void evsched_rule_owner_leave(const EvschedRuleCaller *caller);

#endif							/* EVSCHED_RULE_OWNER_H */

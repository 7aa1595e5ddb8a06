/*
 * rule_set.h
 *		Sets of rules: whose they are, who may run them, what their slots are.
 */
#ifndef EVSCHED_RULE_SET_H
#define EVSCHED_RULE_SET_H

#include "fmgr.h"
#include "storage/lock.h"

#include "rule_list.h"

/* What was the caller's, while something is done as the owner of a set. */
typedef struct EvschedRuleCaller
{
	Oid			user;
	int			context;
	int			guc_level;
} EvschedRuleCaller;

extern const char *evsched_rule_set_name(FunctionCallInfo fcinfo, int n);
extern void evsched_rule_set_require_run(const EvschedRuleSet *set);
extern const char *evsched_rule_set_path(void);

/* Between begin and end of statements. */
extern int32 evsched_rule_set_change(const char *name, Oid user, bool *slots_named);
extern int32 evsched_rule_set_own(const char *name, int32 owner, Oid user);
extern void evsched_rule_set_forget_slots(const char *set, uint64 n);

extern bool evsched_rule_set_lock_slot(const char *set, const char *name, int nth, bool wait);
extern void evsched_rule_set_unlock_slot(const char *set, const char *name, int nth);

extern void evsched_rule_set_become_owner(Oid owner, const char *search_path,
										  EvschedRuleCaller *caller);
extern void evsched_rule_set_become_caller(const EvschedRuleCaller *caller);

#endif							/* EVSCHED_RULE_SET_H */

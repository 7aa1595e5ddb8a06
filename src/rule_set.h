/*
 * rule_set.h
 *		Sets of rules: whose they are, who may run them, what their slots are.
 */
#ifndef EVSCHED_RULE_SET_H
#define EVSCHED_RULE_SET_H

#include "fmgr.h"
#include "storage/lock.h"

#include "evsched.h"

typedef struct EvschedRuleSet
{
	const char *name;
	int32		owner;			/* number */
	Oid			role;			/* of the owner; InvalidOid: not bound here */
	const char *slot_function;	/* quoted name, or NULL: the default */
	const char *search_path;	/* for that */
} EvschedRuleSet;

/* What was the caller's, while something is done as the owner of a set. */
typedef struct EvschedRuleCaller
{
	Oid			user;
	int			context;
	int			guc_level;
} EvschedRuleCaller;

extern const char *evsched_rule_set_name(FunctionCallInfo fcinfo, int n);
extern bool evsched_rule_set_find(EvschedRuleSet *set, const char *name);
extern void evsched_rule_set_require_run(const EvschedRuleSet *set);
extern const char *evsched_rule_set_path(void);

/* Between begin and end of statements. */
extern int32 evsched_rule_set_change(const char *name, Oid user, bool *slots_named);
extern int32 evsched_rule_set_own(const char *name, int32 owner, Oid user);
extern void evsched_rule_set_forget_slots(const char *name, text *identifier);
extern void evsched_rule_set_forget_stray(const char *name);

extern bool evsched_rule_set_lock_slot(const char *set, const char *name, int nth, bool wait);

extern void evsched_rule_set_become_owner(const EvschedRuleSet *set, const char *search_path,
										  EvschedRuleCaller *caller);
extern void evsched_rule_set_become_caller(const EvschedRuleCaller *caller);

#endif							/* EVSCHED_RULE_SET_H */

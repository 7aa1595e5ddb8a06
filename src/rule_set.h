/*
 * rule_set.h
 *		Sets of rules: whose they are, and who may run them.
 */
#ifndef EVSCHED_RULE_SET_H
#define EVSCHED_RULE_SET_H

#include "fmgr.h"

#include "rule_list.h"

extern const char *evsched_rule_set_name(FunctionCallInfo fcinfo, int n);
extern void evsched_rule_set_require_run(const EvschedRuleSet *set);

/* Between begin and end of statements. */
extern int32 evsched_rule_set_change(const char *name, Oid user, bool *slots_named);
extern int32 evsched_rule_set_own(const char *name, int32 owner, Oid user);

#endif							/* EVSCHED_RULE_SET_H */

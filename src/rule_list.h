/*
 * rule_list.h
 *		Sets of rules as this process knows them.
 */
#ifndef EVSCHED_RULE_LIST_H
#define EVSCHED_RULE_LIST_H

#include "utils/timestamp.h"

#include "evsched.h"

typedef struct EvschedRule
{
	int64		id;
	const char *identifier;
	int			nth;			/* of that identifier */
	Interval	period;
	bool		each;			/* for each session; else once for all */
	text	   *filter;			/* NULL: none */
	const char *command;
	const char *search_path;
	bool		has_run;		/* by the default name of its slots: */
	int64		last_slot;
} EvschedRule;

typedef struct EvschedRuleSet
{
	const char *name;
	int32		owner;			/* number */
	const char *slot_function;	/* quoted name, or NULL: the default */
	const char *slot_path;		/* the search_path for that */
	int32	   *grants;			/* numbers of roles */
	int			num_grants;
	EvschedRule *rules;			/* in the order in which they were added */
	int			num_rules;
} EvschedRuleSet;

extern void evsched_rule_list_init(void);
extern const EvschedRuleSet *evsched_rule_list_find(const char *name);
extern EvschedRuleSet *evsched_rule_list_copy(const EvschedRuleSet *set);
extern void evsched_rule_list_note_slot(const char *set, int64 rule, int64 slot);
extern void evsched_rule_list_note_spent(void);

#endif							/* EVSCHED_RULE_LIST_H */

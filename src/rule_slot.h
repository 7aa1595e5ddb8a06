/*
 * rule_slot.h
 *		The slots of rules of mode once.
 */
#ifndef EVSCHED_RULE_SLOT_H
#define EVSCHED_RULE_SLOT_H

#include "rule_list.h"

extern bool evsched_rule_slot_may_be_due(const EvschedRuleSet *set, const EvschedRule *rule,
										 TimestampTz now);
extern bool evsched_rule_slot_take(const EvschedRuleSet *set, const EvschedRule *rule,
								   TimestampTz now);

/* Between begin and end of statements. */
extern void evsched_rule_slot_forget(const char *set, uint64 n);
extern void evsched_rule_slot_forget_one(const char *set, Datum name, int nth);

#endif							/* EVSCHED_RULE_SLOT_H */

/*
 * rule_owner.h
 *		What is run as the owner of a set of rules.
 */
#ifndef EVSCHED_RULE_OWNER_H
#define EVSCHED_RULE_OWNER_H

#include "evsched.h"

extern void evsched_rule_owner_init(void);
extern const char *evsched_rule_owner_path(void);
extern ErrorData *evsched_rule_owner_run(int32 owner, const char *search_path,
										 void (*work) (void *arg), void *arg);

#endif							/* EVSCHED_RULE_OWNER_H */

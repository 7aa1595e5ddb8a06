/*
 * role.h
 *		The owners of events: small numbers that survive a dump.
 */
#ifndef EVSCHED_ROLE_H
#define EVSCHED_ROLE_H

#include "evsched.h"

extern void evsched_role_init(void);
extern int32 evsched_role_number(EvschedStore store, Oid role);

#endif							/* EVSCHED_ROLE_H */

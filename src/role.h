/*
 * role.h
 *		The owners of events: small numbers that survive a dump.
 */
#ifndef EVSCHED_ROLE_H
#define EVSCHED_ROLE_H

#include "evsched.h"

extern void evsched_role_init(void);
extern Oid	evsched_role_of(int32 number);
extern bool evsched_role_is_known(int32 number, const char *name, const char *origin);
extern void evsched_role_adopt(int32 number);
extern bool evsched_role_bind_all(void);
extern bool evsched_role_is_restored(void);
extern void evsched_role_follow_all(void);
extern char *evsched_role_origin(void);
extern int32 evsched_role_number(EvschedStore store, Oid role);

#endif							/* EVSCHED_ROLE_H */

/*
 * store.h
 *		The extension in this database: its tables and indexes, and its version.
 */
#ifndef EVSCHED_STORE_H
#define EVSCHED_STORE_H

#include "storage/lockdefs.h"

#include "evsched.h"

#define EVSCHED_STORE_SETTINGS	9

typedef struct EvschedObjects
{
	Oid			event;			/* InvalidOid: not known */
	Oid			id_index;
	Oid			due_index;
	Oid			sequence;
	Oid			run_sequence;	/* InvalidOid before the update of the extension */
	Oid			settings[EVSCHED_STORE_SETTINGS];
	bool		current;		/* the extension's version is the library's */
} EvschedObjects;

extern void evsched_store_init(void);
extern void evsched_store_on_change(void (*watcher) (void));
extern bool evsched_store_exists(void);
extern EvschedStore evsched_store_here(void);
extern EvschedStore evsched_store_lock(LOCKMODE lock);
extern bool evsched_store_is_current(void);
extern void evsched_store_require_current(void);
extern void evsched_store_refuse_stale(void);
extern bool evsched_store_is_setting(Oid relation);
extern void evsched_store_invalidate(void);
extern const EvschedObjects *evsched_store_objects(void);

#endif							/* EVSCHED_STORE_H */

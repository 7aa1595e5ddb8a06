/*
 * database.h
 *		The databases of this server that evsched works in, in shared memory.
 */
#ifndef EVSCHED_DATABASE_H
#define EVSCHED_DATABASE_H

#include "storage/s_lock.h"
#include "storage/spin.h"

#include "evsched.h"

#define EVSCHED_NO_PROC		(-1)

typedef struct EvschedDatabase
{
	Oid			oid;			/* directory lock; InvalidOid: slot is free */
	TimestampTz up_since;		/* directory lock, set before anything refers to it */
	slock_t		mutex;			/* guards all that follows */
	Oid			table;			/* the store its last scheduler served */
	int			scheduler_procno;
	int			scheduler_pid;
	bool		probe;			/* the launcher shall start a scheduler */
	bool		wanted;			/* ... and again whenever it ends */
	int			holds;			/* sessions that want no scheduler here now */
	bool		recheck;		/* the extension, or roles, may have changed */
	uint32		asked;			/* how often it was asked to start or stop */
	uint32		done;			/* which of these it has done */
	bool		stop;			/* what it was asked for last */
	bool		want_staff;		/* workers are to be started, or were lost */
	bool		lacks_staff;	/* there was no slot for one that it wants */
	int			first_dirty;	/* queues with something to do */
} EvschedDatabase;

extern void evsched_database_init(void);
extern Size evsched_database_size(void);
extern void evsched_database_attach(void *area, bool found);

extern int	evsched_database_find(Oid oid, bool create);
extern EvschedDatabase *evsched_database_get(int slot);
extern int	evsched_database_find_locked(Oid oid, bool create);
extern void evsched_database_vacate(int slot);
extern bool evsched_database_is_served(int slot);
extern Oid	evsched_database_served_table(int slot);
extern bool evsched_database_is_asked_for(int slot);

extern void evsched_database_wake(int slot);
extern void evsched_database_probe(Oid oid);
extern void evsched_database_recheck(Oid oid);
extern void evsched_database_hold(Oid oid);
extern void evsched_database_unhold(Oid oid);
extern int	evsched_database_scheduler_pid(Oid oid);
extern bool evsched_database_is_held(int slot);
extern bool evsched_database_take_probe(int slot);

extern void evsched_database_set_wanted(int slot, bool wanted);
extern bool evsched_database_is_wanted(int slot);
extern bool evsched_database_set_scheduler(int slot, Oid table);
extern void evsched_database_clear_scheduler(int slot);
extern bool evsched_database_take_recheck(int slot);

extern void evsched_database_recheck_all(void);
extern uint32 evsched_database_ask(int slot, bool stop);
extern bool evsched_database_take_asked(int slot, uint32 *asked, bool *stop);
extern bool evsched_database_is_asked(int slot);
extern void evsched_database_set_done(int slot, uint32 asked);
extern bool evsched_database_is_done(int slot, uint32 asked);

extern void evsched_database_want_staff(int slot);
extern bool evsched_database_take_want_staff(int slot);
extern void evsched_database_lack_staff(int slot);
extern void evsched_database_worker_left(void);

extern void evsched_launcher_set(int procno);
extern bool evsched_launcher_is_short(void);
extern void evsched_launcher_set_short(bool is_short);

#endif							/* EVSCHED_DATABASE_H */

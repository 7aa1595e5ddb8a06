/*
 * queue.h
 *		The queues in shared memory.
 */
#ifndef EVSCHED_QUEUE_H
#define EVSCHED_QUEUE_H

#include "storage/spin.h"

#include "evsched.h"

/* Scans that may overlap before one of them can no longer raise the mark. */
#define EVSCHED_QUEUE_EPOCHS	16

typedef struct EvschedQueue
{
	/* directory lock; name is empty for the slot that the others share */
	EvschedStore store;			/* database InvalidOid: slot is free */
	char		name[EVSCHED_QUEUE_BYTES + 1];
	int			database;		/* slot of the database */
	int			next_in_bucket;
	uint32		generation;		/* grows when the slot gets another queue */

	slock_t		mutex;			/* guards the marks that follow */
	EvschedPlace low;			/* nothing available stands before it */
	EvschedPlace wake;			/* wake the scheduler for anything before it */
	uint32		epoch;
	EvschedPlace fresh[EVSCHED_QUEUE_EPOCHS];	/* first place noted in each epoch */
	bool		in_turn;		/* the scheduler may be granting leases */
	int			receivers;		/* calls of receive that may be granting leases */
	int			deleters;		/* calls of take that delete without locking first */
	bool		awaited;		/* somebody waits for these to end */
	bool		for_all;		/* there may be events for all listeners */
	bool		for_all_anew;	/* ... that were entered since somebody looked */
	TimestampTz resumed_at;		/* DT_NOEND: it is halted; 0: it was not since it is here */

	/* mutex of the database */
	bool		dirty;
	int			next_dirty;

	/* lease lock */
	int			first_listener; /* the ring, in the order of turns */
	int			last_listener;
	int			num_listeners;
	int			num_leases;
	bool		starving;		/* due events wait for a credit */
	int			told;			/* listener that was told and not answered yet */
} EvschedQueue;

/* A slot that may have got another queue since. */
typedef struct EvschedQueueRef
{
	int			slot;
	uint32		generation;
} EvschedQueueRef;

extern Size evsched_queue_size(void);
extern void evsched_queue_attach(void *area, bool found);
extern int	evsched_queue_slots(void);

extern EvschedQueueRef evsched_queue_find(EvschedStore store, const char *name);
extern int	evsched_queue_resolve(EvschedQueueRef ref, EvschedStore store, const char *name);
extern bool evsched_queue_is_in(EvschedStore store, const char *name, int slot);
extern EvschedQueue *evsched_queue_get(int slot);
extern bool evsched_queue_copy_name(int slot, char *name);
extern TimestampTz evsched_queue_served_since(int slot);
extern void evsched_queue_set_halted(int slot, bool halted);
extern void evsched_queue_set_for_all(int slot);
extern bool evsched_queue_begin_for_all(int slot);
extern void evsched_queue_end_for_all(int slot);
extern bool evsched_queue_is_shared(const EvschedQueue *queue);
extern void evsched_queue_for_each(EvschedStore store, void (*visit) (int slot));
extern void evsched_queue_forget(EvschedStore store, bool others);
extern void evsched_queue_release(int database, bool gone);

extern void evsched_queue_touch(int slot);
extern int	evsched_queue_next_dirty(int database);

#endif							/* EVSCHED_QUEUE_H */

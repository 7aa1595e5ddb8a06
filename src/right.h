/*
 * right.h
 *		Who may do what with which queue and event.
 */
#ifndef EVSCHED_RIGHT_H
#define EVSCHED_RIGHT_H

#include "executor/tuptable.h"

#include "setting.h"

/* What a scan knows of whether its queue's events may be handed out. */
typedef struct EvschedGate
{
	const char *queue;
	bool		asked;
	int32		owner;			/* asked for last, and the answer */
	bool		open;
	bool		unbound;		/* one was met whose owner is not bound here */
} EvschedGate;

extern bool evsched_right_has(Oid role, const char *queue, EvschedRight right);
extern bool evsched_right_may_consume(const char *queue);
extern void evsched_right_require(const char *queue, EvschedRight right);
extern bool evsched_right_is_member(Oid role, int32 number);
extern bool evsched_right_owns(const char *queue);
extern bool evsched_right_sees(Oid role, int32 owner, const char *queue);
extern bool evsched_right_sees_row(TupleTableSlot *row);
extern bool evsched_right_consumes_row(TupleTableSlot *row);
extern bool evsched_right_passes(EvschedGate *gate, TupleTableSlot *row);
extern void evsched_right_log_unbound(void);
extern bool evsched_right_is_served(Oid role, const char *queue);
extern bool evsched_right_may_log_in(Oid role);
extern bool evsched_right_may_work(Oid role);
extern bool evsched_right_reads_files(Oid role);
extern bool evsched_right_controls(void);
extern bool evsched_right_monitors(void);
extern void evsched_right_require_monitor(const char *function);
extern void evsched_right_require_control(const char *function);
extern void evsched_right_require_queue_control(const char *queue, const char *function);

#endif							/* EVSCHED_RIGHT_H */

/*
 * mark.h
 *		Where the first event of a queue stands, and when the scheduler wants
 *		to be woken for it.
 */
#ifndef EVSCHED_MARK_H
#define EVSCHED_MARK_H

#include "queue.h"

/* One scan of a queue's due events, from its mark on. */
typedef struct EvschedScanMark
{
	uint32		generation;		/* of the queue's slot */
	uint32		epoch;
	EvschedPlace low;
} EvschedScanMark;

extern void evsched_mark_note_slot(int slot, EvschedPlace place);
extern void evsched_mark_note_all(EvschedStore store);
extern void evsched_mark_start_all(EvschedStore store);
extern void evsched_mark_begin_scan(int slot, EvschedScanMark *mark);
extern void evsched_mark_raise(int slot, const EvschedScanMark *mark, EvschedPlace low);
extern bool evsched_mark_begin_turn(int slot, bool serving, EvschedScanMark *mark);
extern bool evsched_mark_end_turn(int slot, const EvschedScanMark *mark,
								  EvschedPlace low, EvschedPlace wake);
extern bool evsched_mark_begin_deleting(EvschedQueueRef ref);
extern void evsched_mark_end_deleting(EvschedQueueRef ref);
extern bool evsched_mark_begin_receiving(EvschedQueueRef ref);
extern void evsched_mark_end_receiving(EvschedQueueRef ref);

#endif							/* EVSCHED_MARK_H */

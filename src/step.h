/*
 * step.h
 *		From one occurrence of a series to the next.
 */
#ifndef EVSCHED_STEP_H
#define EVSCHED_STEP_H

#include "table.h"

/* What is to become of an occurrence that could be handed out. */
typedef enum EvschedStepKind
{
	EVSCHED_STEP_HAND_OUT,		/* then go on */
	EVSCHED_STEP_DROP,			/* removed without being handed out */
	EVSCHED_STEP_HELD,			/* locked: to be looked at again */
	EVSCHED_STEP_WAIT,			/* until the lease of another one of the series ends */
	EVSCHED_STEP_PASSED			/* not to be had */
} EvschedStepKind;

typedef struct EvschedStep
{
	EvschedStepKind kind;
	TimestampTz next;			/* of the series; DT_NOEND: nothing is to be entered */
} EvschedStep;

extern EvschedStep evsched_step_take(EvschedTable *table, int slot, TimestampTz now);
extern EvschedStepKind evsched_step_lock(EvschedTable *table);
extern EvschedPlace evsched_step_go_on(EvschedTable *table, const EvschedStep *step);
extern EvschedPlace evsched_step_drop(EvschedTable *table, const EvschedStep *step);
extern EvschedStep evsched_step_hold(TupleTableSlot *row, TimestampTz now);

#endif							/* EVSCHED_STEP_H */

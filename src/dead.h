/*
 * dead.h
 *		Events that are given up.
 */
#ifndef EVSCHED_DEAD_H
#define EVSCHED_DEAD_H

#include "event.h"

extern bool evsched_dead_is_due(TupleTableSlot *row);
extern void evsched_dead_add(TupleTableSlot *row, const char *why, const char *sqlstate);

#endif							/* EVSCHED_DEAD_H */

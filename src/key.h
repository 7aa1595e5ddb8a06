/*
 * key.h
 *		Events found by their users' own names.
 */
#ifndef EVSCHED_KEY_H
#define EVSCHED_KEY_H

#include "fmgr.h"

/* Does something to an event; false when that was not to be done. */
typedef bool (*EvschedKeyAction) (int64 id, void *arg);

extern bool evsched_key_apply(FunctionCallInfo fcinfo, int key, int queue,
							  EvschedKeyAction action, void *arg);

#endif							/* EVSCHED_KEY_H */

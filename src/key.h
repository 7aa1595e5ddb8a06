/*
 * key.h
 *		Events found by their users' own names.
 */
#ifndef EVSCHED_KEY_H
#define EVSCHED_KEY_H

#include "fmgr.h"

extern bool evsched_key_find(FunctionCallInfo fcinfo, int key, int queue, int64 *id);

#endif							/* EVSCHED_KEY_H */

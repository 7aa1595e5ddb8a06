/*
 * command.h
 *		What the scheduler is asked to do for its database as a whole.
 */
#ifndef EVSCHED_COMMAND_H
#define EVSCHED_COMMAND_H

#include "evsched.h"

extern void evsched_command_run(EvschedStore store, int database);
extern void evsched_command_refresh(void);

#endif							/* EVSCHED_COMMAND_H */

/*
 * hook.h
 *		Statements that evsched must know of.
 */
#ifndef EVSCHED_HOOK_H
#define EVSCHED_HOOK_H

extern void evsched_hook_init(void);

#endif							/* EVSCHED_HOOK_H */

/*
 * stop.h
 *		Named points at which a test can stop a process; nothing at all in a
 *		library built without EVSCHED_STOP_POINTS.
 */
#ifndef EVSCHED_STOP_H
#define EVSCHED_STOP_H

#ifdef EVSCHED_STOP_POINTS
#define EVSCHED_STOP(point)	evsched_stop_here(point)
extern void evsched_stop_here(const char *point);
#else
#define EVSCHED_STOP(point)	((void) 0)
#endif

#endif							/* EVSCHED_STOP_H */

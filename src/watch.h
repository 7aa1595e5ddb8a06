/*
 * watch.h
 *		What comes in on the channels and paths that are watched.
 */
#ifndef EVSCHED_WATCH_H
#define EVSCHED_WATCH_H

extern void evsched_watch_start(void);
extern void evsched_watch_look_again(void);
extern int64 evsched_watch_run(int64 clock);

#endif							/* EVSCHED_WATCH_H */

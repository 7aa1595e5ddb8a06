/*
 * launcher.h
 *		The background process of the server.
 */
#ifndef EVSCHED_LAUNCHER_H
#define EVSCHED_LAUNCHER_H

extern void evsched_launcher_init(void);
extern PGDLLEXPORT void evsched_launcher_main(Datum arg);

#endif							/* EVSCHED_LAUNCHER_H */

/*
 * guc.h
 *		The settings of evsched.
 */
#ifndef EVSCHED_GUC_H
#define EVSCHED_GUC_H

extern int	evsched_max_leases;
extern int	evsched_max_queues;
extern int	evsched_max_listeners;
extern int	evsched_max_unconfirmed_bytes;
extern int	evsched_write_timeout;	/* ms */
extern int	evsched_dead_age;	/* minutes */
extern int	evsched_max_catch_up;
extern int	evsched_max_watch_rate; /* per second and watch */
extern int	evsched_max_workers;
extern int	evsched_max_role_workers;	/* 0: no limit */
extern int	evsched_worker_idle_timeout;	/* ms */
extern int	evsched_max_lost_runs;
extern int	evsched_history_keep;
extern int	evsched_history_rows;
extern int	evsched_history_age;	/* minutes */
extern double evsched_max_notify_usage;
extern bool evsched_enabled;
extern bool evsched_fence;
extern bool evsched_start_after_restore;
extern char *evsched_time_zone; /* empty: the server's */

extern void evsched_guc_init(void);

#endif							/* EVSCHED_GUC_H */

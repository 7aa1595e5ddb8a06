/*
 * guc.c
 *		The settings of evsched, as a table.
 *
 * Called once, from _PG_init.  doc/reference.md repeats name, default and
 * context for users.
 */
#include "postgres.h"

#include "guc.h"

#include "evsched.h"

#include <limits.h>

#include "pgtime.h"
#include "utils/guc.h"

#include "pool.h"

int			evsched_max_leases = 100000;
int			evsched_max_queues = 4096;
int			evsched_max_listeners = 512;
int			evsched_max_unconfirmed_bytes = 128 * 1024;
int			evsched_write_timeout = 30000;
int			evsched_dead_age = 30 * 24 * 60;
int			evsched_max_catch_up = 100;
int			evsched_max_watch_rate = 1000;
int			evsched_max_workers = 64;
int			evsched_max_role_workers = 0;
int			evsched_worker_idle_timeout = 60000;
int			evsched_max_lost_runs = 3;
int			evsched_history_keep = 100;
int			evsched_history_rows = 100000;
int			evsched_history_age = 30 * 24 * 60;
double		evsched_max_notify_usage = 0.25;
bool		evsched_enabled = true;
bool		evsched_fence = false;
bool		evsched_start_after_restore = false;
char	   *evsched_time_zone = "";

typedef struct IntSetting
{
	const char *name;
	int		   *variable;
	int			min;
	int			max;
	GucContext	context;
	int			flags;
	const char *description;
} IntSetting;

static const IntSetting int_settings[] = {
	/* Sizes of fixed shared memory, hence only at server start. */
	{"evsched.max_leases", &evsched_max_leases, 16, 100 * 1000 * 1000,
		PGC_POSTMASTER, 0,
	"Events of the whole server that can be delivered and unconfirmed at a time."},
	{"evsched.max_queues", &evsched_max_queues, 1, 1000 * 1000,
		PGC_POSTMASTER, 0,
	"Queues of the whole server with a slot of their own; the others of a database share one."},
	{"evsched.max_listeners", &evsched_max_listeners, 1, 100 * 1000,
		PGC_POSTMASTER, 0,
	"Listeners of the whole server that can be joined at a time."},

	/* A unix socket that nobody reads blocks the server at about 200 kB. */
	{"evsched.max_unconfirmed_bytes", &evsched_max_unconfirmed_bytes, 1024, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_BYTE,
	"Bytes of notifications that one listener may hold unconfirmed."},

	/* A backend blocked in writing holds back vacuum in every database. */
	{"evsched.write_timeout", &evsched_write_timeout, 100, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MS,
	"Ends the session of a listener that has been blocked in writing for this long."},
	{"evsched.dead_age", &evsched_dead_age, 1, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MIN,
	"Dead events older than this are removed when another one dies."},

	/* After a week without the server, nobody wants all of what each second missed. */
	{"evsched.max_catch_up", &evsched_max_catch_up, 1, 1000 * 1000,
		PGC_SIGHUP, 0,
	"Missed occurrences of a series with missed 'all' that are handed out."},

	/* What comes from outside of the server must not be able to fill it. */
	{"evsched.max_watch_rate", &evsched_max_watch_rate, 1, 1000 * 1000,
		PGC_SIGHUP, 0,
	"Jobs per second that one watch posts; what comes faster waits."},

	/* Each is a process, and takes one of max_worker_processes. */
	{"evsched.max_workers", &evsched_max_workers, 1, 10000,
		PGC_SIGHUP, 0,
	"Worker processes of the whole server."},
	{"evsched.max_role_workers", &evsched_max_role_workers, 0, 10000,
		PGC_SIGHUP, 0,
	"Worker processes that run the jobs of one role in one database; 0: no limit."},
	{"evsched.worker_idle_timeout", &evsched_worker_idle_timeout, 0, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MS,
	"A worker that has had no job for this long ends."},
	{"evsched.max_lost_runs", &evsched_max_lost_runs, 1, 1000,
		PGC_SIGHUP, 0,
	"A job whose worker or server has died in so many runs in a row is given up."},

	/* The history is pruned by whoever adds to it. */
	{"evsched.history_keep", &evsched_history_keep, 1, INT_MAX,
		PGC_SIGHUP, 0,
	"Runs of each series that are kept as history."},
	{"evsched.history_rows", &evsched_history_rows, 1, INT_MAX,
		PGC_SIGHUP, 0,
	"Runs that are kept as history in a database."},
	{"evsched.history_age", &evsched_history_age, 1, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MIN,
	"Runs older than this are removed from the history when another one is added."},
};

static bool check_time_zone(char **value, void **extra, GucSource source);

void
evsched_guc_init(void)
{
	for (int i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->description, NULL, s->variable,
								*s->variable, s->min, s->max, s->context,
								s->flags, NULL, NULL, NULL);
	}

	/* The notification queue is shared by the whole cluster; leave most of it. */
	DefineCustomRealVariable("evsched.max_notify_usage",
							 "Fraction of the notification queue beyond which events with max_retries 0 wait.",
							 NULL, &evsched_max_notify_usage,
							 evsched_max_notify_usage, 0.0, 1.0,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("evsched.enabled",
							 "Starts the schedulers; off keeps a copy of a server silent.",
							 NULL, &evsched_enabled, evsched_enabled,
							 PGC_POSTMASTER, 0, NULL, NULL, NULL);
	/* An isolated old primary must not go on beside the new one. */
	DefineCustomBoolVariable("evsched.fence",
							 "Delivers only what a synchronous standby has received.",
							 NULL, &evsched_fence, evsched_fence,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("evsched.start_after_restore",
							 "Hands out restored or copied events without evsched.start().",
							 NULL, &evsched_start_after_restore, evsched_start_after_restore,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("evsched.time_zone",
							   "Time zone of schedules that name none; empty: the server's TimeZone.",
							   NULL, &evsched_time_zone, evsched_time_zone,
							   PGC_SIGHUP, 0, check_time_zone, NULL, NULL);
	evsched_pool_init();
	MarkGUCPrefixReserved(EVSCHED_NAME);
}

static bool
check_time_zone(char **value, void **extra, GucSource source)
{
	pg_tz	   *zone = (*value)[0] == '\0' ? NULL : pg_tzset(*value);

	return (*value)[0] == '\0' || (zone != NULL && pg_tz_acceptable(zone));
}

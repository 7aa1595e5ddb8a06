/*
 * server_zone.c
 *		The time zone of schedules that name none: evsched.time_zone, else the
 *		server's own TimeZone.
 *
 * A session does not know the server's TimeZone: ALTER ROLE, ALTER DATABASE or
 * its client may have put another one in its place.  The postmaster and the
 * launcher know it, for nothing but the server's configuration gets at theirs.
 * The postmaster writes it into shared memory when the server starts, and the
 * launcher when it starts or reads the configuration again.
 */
#include "postgres.h"

#include "server_zone.h"

#include "utils/builtins.h"

#include "guc.h"
#include "shared.h"
#include "zone.h"

typedef struct ServerZone
{
	char		name[TZ_STRLEN_MAX + 1];	/* directory lock */
} ServerZone;

static ServerZone *server_zone;

Size
evsched_server_zone_size(void)
{
	return sizeof(ServerZone);
}

void
evsched_server_zone_attach(void *area, bool found)
{
	server_zone = area;
	if (!found)
		strlcpy(server_zone->name, pg_get_timezone_name(session_timezone),
				sizeof(server_zone->name));
}

/* Called by the launcher, the only one that writes; the zone may have changed. */
void
evsched_server_zone_publish(void)
{
	const char *name = pg_get_timezone_name(session_timezone);

	if (strcmp(server_zone->name, name) == 0)
		return;
	LWLockAcquire(evsched_directory_lock, LW_EXCLUSIVE);
	strlcpy(server_zone->name, name, sizeof(server_zone->name));
	LWLockRelease(evsched_directory_lock);
}

/*
 * The zone that is named; NULL: the server's.  Raises 22023, or 55000 where the library
 * is not preloaded: there nobody knows.
 */
pg_tz *
evsched_server_zone_or(text *name)
{
	ServerZone	zone;

	if (name != NULL)
		return evsched_zone_find(text_to_cstring(name));
	if (!evsched_shared_ready())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the time zone of schedules is not known"),
				 errdetail("evsched is not loaded at server start."),
				 errhint("Give a time_zone, or add evsched to "
						 "shared_preload_libraries and restart the server.")));
	if (evsched_time_zone[0] != '\0')
		return evsched_zone_find(evsched_time_zone);
	LWLockAcquire(evsched_directory_lock, LW_SHARED);
	zone = *server_zone;
	LWLockRelease(evsched_directory_lock);
	return evsched_zone_find(zone.name);
}

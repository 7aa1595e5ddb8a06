/*
 * watch_add.c
 *		Posting watches: watch_channel, watch_path; and which paths are lost.
 *
 * Runs in the session that posts, in its transaction.  A watch is a series without a
 * schedule; the scheduler enters its occurrences (watch.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "arg.h"
#include "job.h"
#include "path.h"
#include "pool.h"
#include "right.h"
#include "series.h"
#include "statement.h"
#include "stop.h"

#define CHANNEL_BYTES		(NAMEDATALEN - 1)
#define LOST_PATH_COLUMNS	2

/* Each job gets a copy, written by the scheduler, for which all others wait. */
#define MAX_COMMAND_BYTES	65536

/* The server looks at every notification, and at every channel listened to, for each other. */
#define MAX_WATCHES			1000

static char *channel_arg(FunctionCallInfo fcinfo);
static char *path_arg(FunctionCallInfo fcinfo);
static void require_source(const char *path);
static text *command_arg(FunctionCallInfo fcinfo, int n);
static int64 add_watch(text *command, const char *channel, const char *path,
					   const char *function);
static const char *find_other_name(const char *path);
static void refuse_too_many(void);
static void refuse_second(const char *channel, const char *path, const char *other);

PG_FUNCTION_INFO_V1(evsched_sql_watch_channel);
PG_FUNCTION_INFO_V1(evsched_sql_watch_path);
PG_FUNCTION_INFO_V1(evsched_sql_lost_paths);

/* watch_channel(channel, command) */
Datum
evsched_sql_watch_channel(PG_FUNCTION_ARGS)
{
	const char *channel = channel_arg(fcinfo);
	text	   *command = command_arg(fcinfo, 1);

	PG_RETURN_INT64(add_watch(command, channel, NULL, "evsched.watch_channel()"));
}

/* watch_path(path, command) */
Datum
evsched_sql_watch_path(PG_FUNCTION_ARGS)
{
	const char *path = path_arg(fcinfo);
	text	   *command = command_arg(fcinfo, 1);

	if (!evsched_right_reads_files(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to watch a path"),
				 errhint("A superuser or a member of pg_read_server_files may.")));
	require_source(path);
	PG_RETURN_INT64(add_watch(command, NULL, path, "evsched.watch_path()"));
}

/* _lost_paths() */
Datum
evsched_sql_lost_paths(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EvschedCaller caller;
	uint64		n;

	evsched_right_require_monitor("_lost_paths()");
	InitMaterializedSRF(fcinfo, 0);
	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_WATCH_LIST, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[LOST_PATH_COLUMNS];
		bool		nulls[LOST_PATH_COLUMNS];
		struct stat found;
		EvschedPathKind kind;

		values[0] = evsched_statement_value(i, 1, &nulls[0]);
		values[1] = evsched_statement_value(i, 3, &nulls[1]);
		if (nulls[1])
			continue;
		kind = evsched_path_look(TextDatumGetCString(values[1]), &found);
		if (kind == EVSCHED_PATH_GONE || kind == EVSCHED_PATH_OTHER)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	evsched_statement_end(&caller);
	return (Datum) 0;
}

/* The name of a channel; raises 22023. */
static char *
channel_arg(FunctionCallInfo fcinfo)
{
	int			bytes = PG_ARGISNULL(0) ? 0 : VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));

	if (bytes < 1 || bytes > CHANNEL_BYTES)
		evsched_arg_refuse("invalid channel name",
						   psprintf("A channel's name has 1 to %d bytes.", CHANNEL_BYTES));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/* The name of a file, as short as it can be told; raises 22023. */
static char *
path_arg(FunctionCallInfo fcinfo)
{
	int			bytes = PG_ARGISNULL(0) ? 0 : VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));
	char	   *path;

	if (bytes < 1 || bytes >= MAXPGPATH)
		evsched_arg_refuse("invalid path",
						   psprintf("A path has 1 to %d bytes.", MAXPGPATH - 1));
	path = text_to_cstring(PG_GETARG_TEXT_PP(0));
	canonicalize_path(path);
	if (!is_absolute_path(path))
		evsched_arg_refuse("path is not absolute", "Give it from the root on: it begins with /.");
	return path;
}

/* A command that is not too long; raises 22023. */
static text *
command_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *command = evsched_job_command(fcinfo, n, "command");

	if (VARSIZE_ANY_EXHDR(command) > MAX_COMMAND_BYTES)
		evsched_arg_refuse(psprintf("command of a watch is longer than %d bytes",
									MAX_COMMAND_BYTES),
						   "Put it into a function, and call that.");
	return command;
}

/* Raises 58P01, or what else is wrong, unless it is there, 42809 unless it can be watched. */
static void
require_source(const char *path)
{
	struct stat found;

	switch (evsched_path_look(path, &found))
	{
		case EVSCHED_PATH_FIFO:
			break;
		case EVSCHED_PATH_SOCKET:
			if (!evsched_path_fits_socket(path))
				evsched_arg_refuse("path is too long for a unix socket",
								   "Make the socket in a folder of a shorter name.");
			break;
		case EVSCHED_PATH_GONE:
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not stat file \"%s\": %m", path)));
			break;
		case EVSCHED_PATH_OTHER:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a FIFO or a unix socket", path)));
			break;
	}
}

/* One of channel and path is NULL. */
static int64
add_watch(text *command, const char *channel, const char *path, const char *function)
{
	EvschedEntry entry = {
		.command = command,
		.due_at = DT_NOEND,
		.has_max_retries = true,
		.series = true
	};
	const char *nulls = channel != NULL ? "  n" : " n ";
	const char *other;
	Datum		values[3];
	EvschedTable table;
	EvschedCaller caller;
	bool		kept;

	entry.queue = evsched_pool_require(EVSCHED_POOL_PASSIVE);
	evsched_job_require_login();
	evsched_entry_open(&table, &entry, function);
	values[0] = Int64GetDatum(evsched_entry_insert(&table, &entry, &kept));
	values[1] = channel != NULL ? CStringGetTextDatum(channel) : (Datum) 0;
	values[2] = path != NULL ? CStringGetTextDatum(path) : (Datum) 0;
	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_WATCH_FORGET, &values[1], &nulls[1]);
	if (evsched_statement_read(EVSCHED_STMT_WATCH_COUNT, NULL) >= MAX_WATCHES)
		refuse_too_many();
	other = path != NULL ? find_other_name(path) : NULL;
	if (other != NULL ||
		evsched_statement_run(EVSCHED_STMT_WATCH_ADD, values, nulls) == 0)
		refuse_second(channel, path, other);
	evsched_statement_end(&caller);
	evsched_table_close(&table);
	evsched_series_note_watch();
	EVSCHED_STOP("post inserted");
	return DatumGetInt64(values[0]);
}

/* The path of another watch that leads to the same file; NULL: there is none. */
static const char *
find_other_name(const char *path)
{
	uint64		n = evsched_statement_read(EVSCHED_STMT_WATCH_LIST, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		value = evsched_statement_value(i, 3, &isnull);
		const char *other = isnull ? NULL : TextDatumGetCString(value);

		if (other != NULL && evsched_path_is_same(path, other))
			return other;
	}
	return NULL;
}

static void
refuse_too_many(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("a database has no more than %d watches", MAX_WATCHES),
			 errhint("Cancel some, or let one channel stand for many, with a payload that tells which.")));
}

static void
refuse_second(const char *channel, const char *path, const char *other)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 channel != NULL ? errmsg("channel \"%s\" is watched already", channel) :
			 errmsg("path \"%s\" is watched already", path),
			 other == NULL || strcmp(other, path) == 0 ? 0 :
			 errdetail("It is watched as \"%s\".", other),
			 errhint("Cancel that watch first: evsched.cancel(id).")));
}

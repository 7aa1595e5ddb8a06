/*
 * forecast.c
 *		When a schedule would come, for looking before posting: next_fires.
 *
 * Runs in any session; reads no table.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arg.h"
#include "recurrence.h"
#include "server_zone.h"

#define DEFAULT_FIRES	5
#define MAX_FIRES		100000

/* The server reads no longer ones, and would repeat them in full. */
#define MAX_INTERVAL_BYTES	256

static void read_recurrence(const char *text, TimestampTz start,
							EvschedRecurrence *recurrence);
static bool looks_like_cron(const char *text);
static Interval *read_interval(const char *text);
static void refuse_schedule(const char *text);

PG_FUNCTION_INFO_V1(evsched_sql_next_fires);

/* next_fires(schedule, n, time_zone, from_time) */
Datum
evsched_sql_next_fires(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			n = PG_ARGISNULL(1) ? DEFAULT_FIRES : PG_GETARG_INT32(1);
	TimestampTz at = PG_ARGISNULL(3) ? GetCurrentTransactionStartTimestamp() :
		PG_GETARG_TIMESTAMPTZ(3);
	EvschedRecurrence recurrence;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("schedule must not be null",
						   "Give a cron schedule such as '0 9 * * mon-fri', or an interval.");
	if (n < 1 || n > MAX_FIRES)
		evsched_arg_refuse(psprintf("invalid n: %d", n),
						   psprintf("It is 1 to %d, or NULL for %d.", MAX_FIRES, DEFAULT_FIRES));
	if (TIMESTAMP_NOT_FINITE(at))
		evsched_arg_refuse("from_time must be finite", "Give a time, or NULL for now.");
	read_recurrence(text_to_cstring(PG_GETARG_TEXT_PP(0)), at, &recurrence);
	recurrence.zone = evsched_server_zone_or((text *) evsched_arg_pointer(fcinfo, 2));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < n; i++)
	{
		Datum		value;
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		at = evsched_recurrence_next(&recurrence, at);
		if (at == DT_NOEND)
			break;
		value = TimestampTzGetDatum(at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* A cron schedule, or the interval of a period that starts there; all but the zone. */
static void
read_recurrence(const char *text, TimestampTz start, EvschedRecurrence *recurrence)
{
	if (looks_like_cron(text))
		evsched_recurrence_of_cron(recurrence, text);
	else
		evsched_recurrence_of_period(recurrence, read_interval(text), start);
}

/*
 * Whether it is meant for one: it has a *, is a shorthand such as @daily ('@ 1 day'
 * is an interval), or its first two of at least five words begin with a digit and
 * have no letters, as those of an interval of so many words do not.
 */
static bool
looks_like_cron(const char *text)
{
	int			words = 0;
	bool		letters = false;

	text += strspn(text, " \t\n\r\f\v");
	if (strchr(text, '*') != NULL || (text[0] == '@' && isalpha((unsigned char) text[1])))
		return true;
	if (!isdigit((unsigned char) text[0]))
		return false;
	while (*text != '\0')
	{
		int			length = strcspn(text, " \t\n\r\f\v");

		for (int i = 0; i < length && words < 2; i++)
			letters |= isalpha((unsigned char) text[i]) != 0;
		words++;
		text += length;
		text += strspn(text, " \t\n\r\f\v");
	}
	return words >= 5 && !letters;
}

static Interval *
read_interval(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Interval   *volatile interval = NULL;

	if (strlen(text) > MAX_INTERVAL_BYTES)
		refuse_schedule(text);
	PG_TRY();
	{
		interval = DatumGetIntervalP(DirectFunctionCall3(interval_in,
														 CStringGetDatum(text),
														 ObjectIdGetDatum(InvalidOid),
														 Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		refuse_schedule(text);
	}
	PG_END_TRY();
	return interval;
}

static void
refuse_schedule(const char *text)
{
	evsched_arg_refuse(psprintf("invalid schedule: \"%s\"", evsched_arg_clip(text)),
					   "Give a cron schedule such as '0 9 * * mon-fri', "
					   "or an interval such as '1 day'.");
}

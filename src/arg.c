/*
 * arg.c
 *		Arguments of the SQL functions, checked.
 *
 * Pure, but for the catalogs.  Whatever is wrong with an argument is SQLSTATE 22023
 * with a hint that says what is accepted.
 */
#include "postgres.h"

#include "arg.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Longer than all words there are: what is longer need not be told in full. */
#define MAX_WORD_BYTES	40

static bool returns_columns(Oid function, const Oid *columns);

/* Raises 22023. */
void
evsched_arg_refuse(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

/* What a message tells of a value: its first bytes. */
const char *
evsched_arg_clip(const char *given)
{
	return pnstrdup(given, pg_mbcliplen(given, strlen(given), MAX_WORD_BYTES));
}

/* The name of a queue; NULL is the default one. */
const char *
evsched_arg_queue(text *queue)
{
	int			bytes;

	if (queue == NULL)
		return "default";
	bytes = VARSIZE_ANY_EXHDR(queue);
	if (bytes < 1 || bytes > EVSCHED_QUEUE_BYTES)
		evsched_arg_refuse("invalid queue name",
						   psprintf("A queue's name has 1 to %d bytes.", EVSCHED_QUEUE_BYTES));
	return text_to_cstring(queue);
}

const char *
evsched_arg_required_queue(text *queue)
{
	if (queue == NULL)
		evsched_arg_refuse("queue must not be null", "Name the queue of the key.");
	return evsched_arg_queue(queue);
}

/* A queue that is itself what the function is about. */
const char *
evsched_arg_named_queue(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		evsched_arg_refuse("queue must not be null", "Name the queue.");
	return evsched_arg_queue(PG_GETARG_TEXT_PP(n));
}

/* A key, or NULL. */
text *
evsched_arg_key(text *key)
{
	if (key != NULL &&
		(VARSIZE_ANY_EXHDR(key) < 1 || VARSIZE_ANY_EXHDR(key) > EVSCHED_KEY_BYTES))
		evsched_arg_refuse("invalid key",
						   psprintf("A key has 1 to %d bytes, or is NULL.", EVSCHED_KEY_BYTES));
	return key;
}

/* The number of a word in a list; NULL is the first. */
int
evsched_arg_word(text *word, const char *argument, const char *const *words, int num_words)
{
	StringInfoData list;
	char	   *given;

	if (word == NULL)
		return 0;
	given = pnstrdup(VARDATA_ANY(word),
					 pg_mbcliplen(VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word), MAX_WORD_BYTES));
	for (int i = 0; i < num_words; i++)
	{
		if (strcmp(given, words[i]) == 0)
			return i;
	}
	initStringInfo(&list);
	for (int i = 0; i < num_words; i++)
		appendStringInfo(&list, "%s'%s'", i == 0 ? "" : i < num_words - 1 ? ", " : " or ",
						 words[i]);
	evsched_arg_refuse(psprintf("invalid %s: \"%s\"", argument, given),
					   psprintf("It is one of %s.", list.data));
	pg_unreachable();
}

int32
evsched_arg_max_retries(int32 max_retries)
{
	if (max_retries < EVSCHED_RETRY_FOREVER)
		evsched_arg_refuse(psprintf("invalid max_retries: %d", max_retries),
						   "It is 0 or more, -1 to retry for ever, or NULL.");
	return max_retries;
}

void
evsched_arg_retry_delay(const Interval *retry_delay)
{
	if (retry_delay != NULL && evsched_arg_us(retry_delay) < 0)
		evsched_arg_refuse("retry_delay must not be negative",
						   "Give an interval of 0 or more, or NULL.");
}

/* The time after a delay from now; NULL is now. */
TimestampTz
evsched_arg_due_after(const Interval *delay, TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	volatile TimestampTz due_at = now;

	if (delay == NULL)
		return now;
	PG_TRY();
	{
		due_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														 TimestampTzGetDatum(now),
														 IntervalPGetDatum(delay)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_DATETIME_VALUE_OUT_OF_RANGE)
			PG_RE_THROW();
		FlushErrorState();
		evsched_arg_refuse("delay out of range",
						   "Now and the delay together must be a valid timestamptz.");
	}
	PG_END_TRY();
	return due_at;
}

/* Length in µs; a month has 30 days, and nothing is longer than 100 years. */
int64
evsched_arg_us(const Interval *interval)
{
	const int64 longest = INT64CONST(36525) * USECS_PER_DAY;
	int64		days = interval->month * INT64CONST(30) + interval->day;
	double		about = (double) days * USECS_PER_DAY + interval->time;

	/* What is far out of range in one part only can be in range in all. */
	if (about >= longest)
		return longest;
	if (about <= -longest)
		return -longest;
	if (llabs(days) > 36525 * INT64CONST(2))
		return (int64) about;
	return days * USECS_PER_DAY + interval->time;
}

int64
evsched_arg_positive_us(const Interval *interval, const char *argument)
{
	int64		us = evsched_arg_us(interval);

	if (us <= 0)
		evsched_arg_refuse(psprintf("%s must be greater than zero", argument),
						   "Give an interval such as '10 s'.");
	return us;
}

/* Takes an array apart; returns its length. */
int
evsched_arg_array(ArrayType *array, const char *argument, Oid type,
				  Datum **values, bool **nulls)
{
	int16		length;
	bool		by_value;
	char		align;
	int			n;

	if (array == NULL)
		evsched_arg_refuse(psprintf("%s must not be null", argument), "Give an array.");
	if (ARR_NDIM(array) > 1)
		evsched_arg_refuse(psprintf("%s has more than one dimension", argument),
						   "Give a one-dimensional array.");
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, values, nulls, &n);
	return n;
}

void
evsched_arg_no_null(const bool *nulls, int n, const char *argument)
{
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			evsched_arg_refuse(psprintf("%s has a null element", argument),
							   "Leave it out, or give a value (JSON null is one).");
	}
}

/* The quoted name of a function that users bring; raises 22023 where it is of another kind. */
const char *
evsched_arg_function(Oid function, const EvschedSignature *wanted)
{
	const char *name = get_func_name(function);
	Oid		   *types;
	int			n;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	/* By its name it would be another session's. */
	if (isAnyTempNamespace(get_func_namespace(function)))
		evsched_arg_refuse(psprintf("function %s is a temporary one", name),
						   "Make it in a schema that stays.");
	(void) get_func_signature(function, &types, &n);
	if (n != wanted->num_args || memcmp(types, wanted->args, n * sizeof(Oid)) != 0 ||
		!returns_columns(function, wanted->columns))
		evsched_arg_refuse(psprintf("function %s is no %s", name, wanted->kind), wanted->hint);
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)), name);
}

static bool
returns_columns(Oid function, const Oid *columns)
{
	TupleDesc	desc;
	int			n = 0;

	if (get_func_prokind(function) != PROKIND_FUNCTION ||
		get_func_result_type(function, NULL, &desc) != TYPEFUNC_COMPOSITE)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped)
			continue;
		if (n == 2 || column->atttypid != columns[n])
			return false;
		n++;
	}
	return n == 2;
}

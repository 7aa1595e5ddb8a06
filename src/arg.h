/*
 * arg.h
 *		Arguments of the SQL functions, checked.
 */
#ifndef EVSCHED_ARG_H
#define EVSCHED_ARG_H

#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "evsched.h"

/* The argument, or NULL where it is NULL or not there. */
#define evsched_arg_pointer(fcinfo, n) \
	((n) >= PG_NARGS() || PG_ARGISNULL(n) ? NULL : PG_GETARG_POINTER(n))
#define evsched_arg_interval(fcinfo, n) ((Interval *) evsched_arg_pointer(fcinfo, n))

/* What a function that users bring is called with, and the two columns it returns. */
typedef struct EvschedSignature
{
	const char *kind;
	int			num_args;
	Oid			args[3];
	Oid			columns[2];
	const char *hint;
} EvschedSignature;

extern void evsched_arg_refuse(const char *message, const char *hint);
extern const char *evsched_arg_clip(const char *given);

extern const char *evsched_arg_queue(text *queue);
extern const char *evsched_arg_required_queue(text *queue);
extern const char *evsched_arg_named_queue(FunctionCallInfo fcinfo, int n);
extern text *evsched_arg_key(text *key);
extern int	evsched_arg_word(text *word, const char *argument, const char *const *words,
							 int num_words);
extern int32 evsched_arg_max_retries(int32 max_retries);
extern void evsched_arg_retry_delay(const Interval *retry_delay);
extern TimestampTz evsched_arg_due_after(const Interval *delay, TimestampTz now);
extern int64 evsched_arg_us(const Interval *interval);
extern int64 evsched_arg_positive_us(const Interval *interval, const char *argument);
extern int	evsched_arg_array(ArrayType *array, const char *argument, Oid type,
							  Datum **values, bool **nulls);
extern const char *evsched_arg_function(Oid function, const EvschedSignature *wanted);
extern void evsched_arg_no_null(const bool *nulls, int n, const char *argument);

#endif							/* EVSCHED_ARG_H */

/*
 * key.c
 *		Events found by their users' own names.
 *
 * For the SQL functions that take (key, queue) instead of an id.
 */
#include "postgres.h"

#include "key.h"

#include "utils/builtins.h"

#include "arg.h"
#include "statement.h"

/* Finds the id of the event that holds a key; false when none does. */
bool
evsched_key_find(FunctionCallInfo fcinfo, int key, int queue, int64 *id)
{
	Datum		values[2];
	bool		found;
	bool		isnull;

	if (PG_ARGISNULL(key))
		return false;
	values[0] = CStringGetTextDatum(evsched_arg_required_queue(PG_ARGISNULL(queue) ? NULL :
															   PG_GETARG_TEXT_PP(queue)));
	values[1] = PG_GETARG_DATUM(key);
	evsched_statement_begin();
	found = evsched_statement_run(EVSCHED_STMT_KEY_ID, values, NULL) > 0;
	if (found)
		*id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	evsched_statement_end();
	return found;
}

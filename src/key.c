/*
 * key.c
 *		Events found by their users' own names.
 *
 * For the SQL functions that take (key, queue) instead of an id; runs in their
 * transaction.
 */
#include "postgres.h"

#include "key.h"

#include "utils/builtins.h"

#include "arg.h"
#include "statement.h"

static bool find_holder(Datum *values, int64 *id);

/*
 * Does something to the event that holds a key, given by two arguments; false when
 * none does.  If another transaction has taken the key from one event and given
 * it to a new one meanwhile, then to that.
 */
bool
evsched_key_apply(FunctionCallInfo fcinfo, int key, int queue,
				  EvschedKeyAction action, void *arg)
{
	Datum		values[2];
	int64		tried = 0;
	int64		id;

	if (PG_ARGISNULL(key))
		return false;
	values[0] = CStringGetTextDatum(evsched_arg_required_queue(PG_ARGISNULL(queue) ? NULL :
															   PG_GETARG_TEXT_PP(queue)));
	values[1] = PointerGetDatum(evsched_arg_key(PG_GETARG_TEXT_PP(key)));
	for (bool again = false; find_holder(values, &id) && !(again && id == tried); again = true)
	{
		if (action(id, arg))
			return true;
		tried = id;
	}
	return false;
}

static bool
find_holder(Datum *values, int64 *id)
{
	EvschedCaller caller;
	bool		found;
	bool		isnull;

	evsched_statement_begin(&caller);
	found = evsched_statement_run(EVSCHED_STMT_KEY_ID, values, NULL) > 0;
	if (found)
		*id = DatumGetInt64(evsched_statement_value(0, 1, &isnull));
	evsched_statement_end(&caller);
	return found;
}

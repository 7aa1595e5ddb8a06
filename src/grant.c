/*
 * grant.c
 *		Giving roles rights, and taking them back: create_queue, grant_queue,
 *		revoke_queue, grant_usage.
 *
 * Runs in any session, in its transaction.  What is granted stands in
 * evsched.queue and evsched.queue_grant, with roles by their numbers; the right to
 * use the extension at all is the server's own.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "arg.h"
#include "compat.h"
#include "listener.h"
#include "pool.h"
#include "right.h"
#include "role.h"
#include "shared.h"
#include "statement.h"
#include "store.h"

static Oid	role_argument(FunctionCallInfo fcinfo, int n);
static void change_grant(FunctionCallInfo fcinfo, bool grant, const char *function);
static void require_ownable(const char *queue);
static void require_own_events(const char *queue, Oid role);
static void require_own_listeners(const char *queue, Oid role);
static void refuse_queue(const char *queue, const char *detail);

PG_FUNCTION_INFO_V1(evsched_sql_create_queue);
PG_FUNCTION_INFO_V1(evsched_sql_grant_queue);
PG_FUNCTION_INFO_V1(evsched_sql_revoke_queue);
PG_FUNCTION_INFO_V1(evsched_sql_grant_usage);
PG_FUNCTION_INFO_V1(evsched_sql_take_over);

/* create_queue(queue, max_retries, retry_delay) */
Datum
evsched_sql_create_queue(PG_FUNCTION_ARGS)
{
	const char *queue = evsched_arg_named_queue(fcinfo, 0);
	Interval   *retry_delay = evsched_arg_interval(fcinfo, 2);
	Oid			role = GetUserId();
	EvschedCaller caller;
	Datum		values[4] = {CStringGetTextDatum(queue)};
	char		nulls[] = "    ";
	bool		isnull;

	if (!PG_ARGISNULL(1))
		evsched_arg_max_retries(PG_GETARG_INT32(1));
	evsched_arg_retry_delay(retry_delay);
	PreventCommandIfReadOnly("evsched.create_queue()");
	evsched_store_require_current();
	require_ownable(queue);

	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_QUEUE_ADD, values, NULL);
	if (evsched_statement_run(EVSCHED_STMT_QUEUE_LOCK, values, NULL) == 0)
		elog(ERROR, "queue \"%s\" is not there", queue);
	values[1] = evsched_statement_value(0, 1, &isnull);
	if (!isnull && !evsched_right_is_member(role, DatumGetInt32(values[1])))
		refuse_queue(queue, "It belongs to another role.");
	/* Of an owner who is gone, or was not restored, a superuser takes it over. */
	if (isnull || !OidIsValid(evsched_role_of(DatumGetInt32(values[1]))))
	{
		require_own_events(queue, role);
		require_own_listeners(queue, role);
		values[1] = Int32GetDatum(evsched_role_number(evsched_store_here(), role));
	}

	values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[2] = PG_ARGISNULL(1) ? 'n' : ' ';
	values[3] = IntervalPGetDatum(retry_delay);
	nulls[3] = retry_delay == NULL ? 'n' : ' ';
	evsched_statement_run(EVSCHED_STMT_QUEUE_SET, values, nulls);
	evsched_statement_end(&caller);
	PG_RETURN_VOID();
}

/* grant_queue(queue, role, may) */
Datum
evsched_sql_grant_queue(PG_FUNCTION_ARGS)
{
	change_grant(fcinfo, true, "grant_queue()");
	PG_RETURN_VOID();
}

/* revoke_queue(queue, role, may) */
Datum
evsched_sql_revoke_queue(PG_FUNCTION_ARGS)
{
	change_grant(fcinfo, false, "revoke_queue()");
	PG_RETURN_VOID();
}

/* grant_usage(role, bulk) */
Datum
evsched_sql_grant_usage(PG_FUNCTION_ARGS)
{
	const char *role;
	EvschedCaller caller;
	Datum		values[2];
	bool		isnull;

	evsched_right_require_control("grant_usage()");
	role = quote_identifier(GetUserNameFromId(role_argument(fcinfo, 0), false));
	PreventCommandIfReadOnly("evsched.grant_usage()");
	evsched_store_require_current();

	values[0] = CStringGetTextDatum(role);
	values[1] = BoolGetDatum(!PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	evsched_statement_begin(&caller);
	/* Of two at a time, one would fail on what the other has changed in the catalogs. */
	LockDatabaseObject(ExtensionRelationId, get_extension_oid(EVSCHED_NAME, false), 0,
					   ShareUpdateExclusiveLock);
	evsched_statement_run(EVSCHED_STMT_USAGE, values, NULL);
	evsched_statement_execute(TextDatumGetCString(evsched_statement_value(0, 1, &isnull)));
	evsched_statement_end(&caller);
	PG_RETURN_VOID();
}

/*
 * _take_over(old, new): whoever may call the one may call the other, which takes its place
 * in an update.  The grants are not the script's, or no dump would have them.
 */
Datum
evsched_sql_take_over(PG_FUNCTION_ARGS)
{
	bool		creating = creating_extension;
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	EvschedCaller caller;
	bool		isnull;
	Datum		commands;

	evsched_right_require_control("_take_over()");
	evsched_statement_begin(&caller);
	evsched_statement_run(EVSCHED_STMT_TAKE_OVER, values, NULL);
	commands = evsched_statement_value(0, 1, &isnull);
	PG_TRY();
	{
		creating_extension = false;
		if (!isnull)
			evsched_statement_execute(TextDatumGetCString(commands));
	}
	PG_FINALLY();
	{
		creating_extension = creating;
	}
	PG_END_TRY();
	evsched_statement_end(&caller);
	PG_RETURN_VOID();
}

static Oid
role_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		evsched_arg_refuse("role must not be null", "Name a role.");
	return get_role_oid(NameStr(*PG_GETARG_NAME(n)), false);
}

static void
change_grant(FunctionCallInfo fcinfo, bool grant, const char *function)
{
	const char *queue = evsched_arg_named_queue(fcinfo, 0);
	Oid			role = role_argument(fcinfo, 1);
	EvschedCaller caller;
	Datum		values[3];
	char		command[64];
	int			word;

	if (PG_ARGISNULL(2))
		evsched_arg_refuse("may must not be null", "It is one of 'post' or 'consume'.");
	word = evsched_arg_word(PG_GETARG_TEXT_PP(2), "right", evsched_right_words,
							EVSCHED_NUM_RIGHTS);
	snprintf(command, sizeof(command), "evsched.%s", function);
	PreventCommandIfReadOnly(command);
	evsched_store_require_current();
	if (!evsched_right_owns(queue))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for evsched.%s of queue \"%s\"", function, queue),
				 errhint("Only the queue's owner may call it; evsched.create_queue makes one.")));

	values[0] = CStringGetTextDatum(queue);
	values[2] = CStringGetTextDatum(evsched_right_words[word]);
	evsched_statement_begin(&caller);
	if (grant)
	{
		values[1] = Int32GetDatum(evsched_role_number(evsched_store_here(), role));
		evsched_statement_run(EVSCHED_STMT_GRANT_ADD, values, NULL);
	}
	else
	{
		values[1] = ObjectIdGetDatum(role);
		evsched_statement_run(EVSCHED_STMT_GRANT_REMOVE, values, NULL);
	}
	evsched_statement_end(&caller);
}

/* Everybody relies on posting to the default queue. */
static void
require_ownable(const char *queue)
{
	if (strcmp(queue, "default") == 0)
		refuse_queue(queue, "It is open to everybody.");
	if (evsched_pool_exists(queue))
		refuse_queue(queue, "It is a pool of workers.");
}

/* Nobody else's event may be shut in, nor a dead one thrown away. */
static void
require_own_events(const char *queue, Oid role)
{
	Datum		value = CStringGetTextDatum(queue);
	int			n = evsched_statement_read(EVSCHED_STMT_QUEUE_OWNERS, &value);
	int32	   *owners = palloc(sizeof(int32) * Max(n, 1));
	bool		isnull;

	for (int i = 0; i < n; i++)
		owners[i] = DatumGetInt32(evsched_statement_value(i, 1, &isnull));
	for (int i = 0; i < n; i++)
	{
		if (!evsched_right_is_member(role, owners[i]))
			refuse_queue(queue, "It holds events of other roles.");
	}
}

/* Nor may a listener be shut out. */
static void
require_own_listeners(const char *queue, Oid role)
{
	EvschedListener *listeners;
	int			n;

	if (!evsched_shared_ready())
		return;
	n = evsched_listener_list(evsched_store_here(), &listeners);
	for (int i = 0; i < n; i++)
	{
		if (strcmp(listeners[i].queue_name, queue) == 0 &&
			!evsched_is_member(role, listeners[i].role))
			refuse_queue(queue, "Other roles have joined it.");
	}
}

static void
refuse_queue(const char *queue, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("queue \"%s\" cannot be made your own", queue),
			 errdetail("%s", detail),
			 errhint("Choose another name.")));
}

/*
 * right.c
 *		Who may do what with which queue and event.
 *
 * Asked inside a transaction, by sessions for their current_user and by the
 * scheduler for the owners of events and the roles of listeners.  A queue is
 * open to everybody who may use the extension until it has an owner.  Who owns
 * what stands in setting.c and role.c; membership is the server's.  A role
 * that is not bound here, or gone, is nobody.
 */
#include "postgres.h"

#include "right.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "compat.h"
#include "event.h"
#include "pool.h"
#include "role.h"
#include "store.h"

static void refuse_call(const char *function, const char *hint);
static bool is_open(EvschedGate *gate);

PG_FUNCTION_INFO_V1(evsched_sql_sees);
PG_FUNCTION_INFO_V1(evsched_sql_may_post);
PG_FUNCTION_INFO_V1(evsched_sql_require_control);
PG_FUNCTION_INFO_V1(evsched_sql_may_work);

/* May the role do that with the queue? */
bool
evsched_right_has(Oid role, const char *queue, EvschedRight right)
{
	const EvschedSetting *setting;

	/* What is in a pool is its workers', and nobody else's. */
	if (right == EVSCHED_RIGHT_CONSUME && evsched_pool_exists(queue))
		return superuser_arg(role);
	setting = evsched_setting_find(queue);
	if (!setting->owned || evsched_right_is_member(role, setting->owner))
		return true;
	for (int i = 0; i < setting->num_grants; i++)
	{
		if (setting->grants[i].right == right && evsched_right_is_member(role, setting->grants[i].role))
			return true;
	}
	return false;
}

bool
evsched_right_may_consume(const char *queue)
{
	return evsched_right_has(GetUserId(), queue, EVSCHED_RIGHT_CONSUME);
}

/* Raises 42501 unless current_user may do that with the queue. */
void
evsched_right_require(const char *queue, EvschedRight right)
{
	if (evsched_right_has(GetUserId(), queue, right))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 right == EVSCHED_RIGHT_POST ?
			 errmsg("permission denied to post to queue \"%s\"", queue) :
			 errmsg("permission denied to consume queue \"%s\"", queue),
			 errhint("The owner of the queue can grant it: evsched.grant_queue(%s, %s, '%s').",
					 quote_literal_cstr(queue),
					 quote_literal_cstr(GetUserNameFromId(GetUserId(), false)),
					 evsched_right_words[right])));
}

/* Is the role a member of the one that a number stands for? */
bool
evsched_right_is_member(Oid role, int32 number)
{
	Oid			group = evsched_role_of(number);

	return OidIsValid(group) ? evsched_is_member(role, group) : superuser_arg(role);
}

/* Is current_user the owner of the queue, or a member of it? */
bool
evsched_right_owns(const char *queue)
{
	const EvschedSetting *setting = evsched_setting_find(queue);

	return setting->owned && evsched_right_is_member(GetUserId(), setting->owner);
}

/* May the role know of an event with that owner in that queue? */
bool
evsched_right_sees(Oid role, int32 owner, const char *queue)
{
	return evsched_right_is_member(role, owner) ||
		evsched_right_has(role, queue, EVSCHED_RIGHT_CONSUME);
}

bool
evsched_right_sees_row(TupleTableSlot *row)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	/* Jobs are their owners', whether or not their pool is one by now. */
	if (evsched_event_is_job(row))
		return evsched_right_is_member(GetUserId(), evsched_event_owner(row));
	evsched_event_queue(row, queue);
	return evsched_right_sees(GetUserId(), evsched_event_owner(row), queue);
}

bool
evsched_right_consumes_row(TupleTableSlot *row)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	evsched_event_queue(row, queue);
	return evsched_right_may_consume(queue);
}

/*
 * May the event be handed out?  Its owner is bound in this system and database, and
 * may still post to the queue.
 */
bool
evsched_right_passes(EvschedGate *gate, TupleTableSlot *row)
{
	int32		owner = evsched_event_owner(row);

	if (!gate->asked || gate->owner != owner)
	{
		gate->asked = true;
		gate->owner = owner;
		gate->open = is_open(gate);
	}
	return gate->open;
}

/* May a listener of that role be handed what is in the queue, as when it joined? */
bool
evsched_right_is_served(Oid role, const char *queue)
{
	Oid			schema = get_namespace_oid(EVSCHED_NAME, true);

	return OidIsValid(schema) &&
		evsched_schema_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK &&
		evsched_right_has(role, queue, EVSCHED_RIGHT_CONSUME);
}

bool
evsched_right_may_log_in(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		may = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

/* May a worker log in as that role and use the extension? */
bool
evsched_right_may_work(Oid role)
{
	Oid			schema = get_namespace_oid(EVSCHED_NAME, true);

	return evsched_right_may_log_in(role) && OidIsValid(schema) &&
		evsched_schema_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK &&
		evsched_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
}

/* May the role read what is outside of the database, as the server can? */
bool
evsched_right_reads_files(Oid role)
{
	return has_privs_of_role(role, ROLE_PG_READ_SERVER_FILES);
}

/* Is current_user a superuser, or the owner of the database? */
bool
evsched_right_controls(void)
{
	return evsched_owns_database(MyDatabaseId, GetUserId());
}

/* May current_user know what all roles do together? */
bool
evsched_right_monitors(void)
{
	return evsched_right_controls() || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* Raises 42501 unless so. */
void
evsched_right_require_monitor(const char *function)
{
	if (!evsched_right_monitors())
		refuse_call(function, "A superuser, the owner of the database or a member of pg_monitor may call it.");
}

/* Raises 42501 unless current_user is a superuser, or the owner of the database. */
void
evsched_right_require_control(const char *function)
{
	if (!evsched_right_controls())
		refuse_call(function, "A superuser or the owner of the database may call it.");
}

/* Raises 42501 unless so, or current_user owns the queue. */
void
evsched_right_require_queue_control(const char *queue, const char *function)
{
	if (evsched_right_controls() || evsched_right_owns(queue))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for evsched.%s of queue \"%s\"", function, queue),
			 errhint("A superuser, the owner of the database or the queue's owner may call it.")));
}

/* Says once in the life of the process that events wait for an owner. */
void
evsched_right_log_unbound(void)
{
	static bool logged = false;

	if (!logged)
		ereport(LOG,
				(errmsg("evsched does not hand out events whose owners are not bound in this database"),
				 errdetail("They were restored or copied from elsewhere, or their role was dropped."),
				 errhint("evsched.check() tells which; evsched.start() binds the owners of restored events.")));
	logged = true;
}

/* _may_post(owner, queue) */
Datum
evsched_sql_may_post(PG_FUNCTION_ARGS)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];
	Oid			role = PG_ARGISNULL(0) ? InvalidOid : evsched_role_of(PG_GETARG_INT32(0));

	evsched_right_require_monitor("_may_post()");
	if (!OidIsValid(role) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(true);
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(1), queue, sizeof(queue));
	PG_RETURN_BOOL(evsched_right_has(role, queue, EVSCHED_RIGHT_POST));
}

/* _require_control(function) */
Datum
evsched_sql_require_control(PG_FUNCTION_ARGS)
{
	evsched_right_require_control(PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* _may_work(owner) */
Datum
evsched_sql_may_work(PG_FUNCTION_ARGS)
{
	Oid			role = PG_ARGISNULL(0) ? InvalidOid : evsched_role_of(PG_GETARG_INT32(0));

	evsched_right_require_monitor("_may_work()");
	PG_RETURN_BOOL(!OidIsValid(role) || evsched_right_may_work(role));
}

/* _sees(owner, queue); without a queue: of a job */
Datum
evsched_sql_sees(PG_FUNCTION_ARGS)
{
	char		queue[EVSCHED_QUEUE_BYTES + 1];

	int32		owner = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);

	if (PG_ARGISNULL(1))
		PG_RETURN_BOOL(evsched_right_is_member(GetUserId(), owner));
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(1), queue, sizeof(queue));
	PG_RETURN_BOOL(evsched_right_sees(GetUserId(), owner, queue));
}

static void
refuse_call(const char *function, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for evsched.%s", function),
			 errhint("%s", hint)));
}

static bool
is_open(EvschedGate *gate)
{
	Oid			role = evsched_role_of(gate->owner);

	if (!OidIsValid(role))
		gate->unbound = true;
	return OidIsValid(role) && evsched_right_has(role, gate->queue, EVSCHED_RIGHT_POST);
}

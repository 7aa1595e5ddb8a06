/*
 * rule_set.c
 *		Sets of rules: whose they are, who may run them, what their slots are.
 *
 * Runs in the session that calls it, in its transaction.  Whoever changes a set, or
 * its rules, locks its row first.  A name's slot is guarded by an advisory lock of the
 * transaction: who runs rules tries it, who forgets slots waits for it.
 */
#include "postgres.h"

#include "rule_set.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "arg.h"
#include "right.h"
#include "role.h"
#include "statement.h"
#include "store.h"

/* Advisory locks of users are of class 1 and 2. */
#define LOCK_CLASS		3

static const EvschedSignature slot_signature = {
	.kind = "slot function",
	.num_args = 3,
	.args = {TEXTOID, INTERVALOID, TIMESTAMPTZOID},
	.columns = {INT8OID, TEXTOID},
	.hint = "It is called with (identifier text, period interval, at timestamptz) and returns (slot bigint, name text)."
};

static bool is_granted(const EvschedRuleSet *set, Oid role);
static void change_grant(FunctionCallInfo fcinfo, bool grant, const char *function);
static LOCKTAG slot_tag(const char *set, const char *name, int nth);

PG_FUNCTION_INFO_V1(evsched_sql_set_slot_function);
PG_FUNCTION_INFO_V1(evsched_sql_grant_rules);
PG_FUNCTION_INFO_V1(evsched_sql_revoke_rules);

/* set_slot_function(f, rule_set) */
Datum
evsched_sql_set_slot_function(PG_FUNCTION_ARGS)
{
	const char *name = evsched_rule_set_name(fcinfo, 1);
	Datum		values[3] = {CStringGetTextDatum(name)};
	EvschedCaller caller;
	bool		slots_named;
	bool		isnull;

	PreventCommandIfReadOnly("evsched.set_slot_function()");
	evsched_store_require_current();
	if (!PG_ARGISNULL(0))
		values[1] = CStringGetTextDatum(evsched_arg_function(PG_GETARG_OID(0), &slot_signature));
	values[2] = CStringGetTextDatum(evsched_rule_set_path());
	evsched_statement_begin(&caller);
	(void) evsched_rule_set_change(name, caller.user, &slots_named);
	evsched_statement_run(EVSCHED_STMT_RULE_SET_SLOTS, values, PG_ARGISNULL(0) ? " n " : NULL);
	/* What another one has called a slot tells nothing. */
	if (DatumGetBool(evsched_statement_value(0, 1, &isnull)))
		evsched_rule_set_forget_slots(name,
									  evsched_statement_run(EVSCHED_STMT_RULE_SLOT_LIST,
															values, NULL));
	evsched_statement_end(&caller);
	PG_RETURN_VOID();
}

/* grant_rules(rule_set, role) */
Datum
evsched_sql_grant_rules(PG_FUNCTION_ARGS)
{
	change_grant(fcinfo, true, "evsched.grant_rules()");
	PG_RETURN_VOID();
}

/* revoke_rules(rule_set, role) */
Datum
evsched_sql_revoke_rules(PG_FUNCTION_ARGS)
{
	change_grant(fcinfo, false, "evsched.revoke_rules()");
	PG_RETURN_VOID();
}

/* The set of an argument; NULL is the default one. */
const char *
evsched_rule_set_name(FunctionCallInfo fcinfo, int n)
{
	text	   *name;

	if (PG_ARGISNULL(n))
		return "default";
	name = PG_GETARG_TEXT_PP(n);
	if (VARSIZE_ANY_EXHDR(name) < 1 || VARSIZE_ANY_EXHDR(name) > EVSCHED_QUEUE_BYTES)
		evsched_arg_refuse("invalid name of a rule set",
						   psprintf("A rule set's name has 1 to %d bytes.", EVSCHED_QUEUE_BYTES));
	return text_to_cstring(name);
}

/* Raises 42501 unless current_user may run the rules of the set. */
void
evsched_rule_set_require_run(const EvschedRuleSet *set)
{
	if (!evsched_right_is_member(GetUserId(), set->owner) && !is_granted(set, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for rule set \"%s\"", set->name),
				 errhint("Its owner may grant it with evsched.grant_rules.")));
}

/*
 * The search_path that is set now, for what is run later: temporary objects, which may be
 * anybody's, come last.
 */
const char *
evsched_rule_set_path(void)
{
	char	   *given = pstrdup(GetConfigOption("search_path", false, false));
	StringInfoData path;
	List	   *names;
	ListCell   *cell;

	initStringInfo(&path);
	/* The setting has been checked. */
	if (SplitIdentifierString(given, ',', &names))
	{
		foreach(cell, names)
		{
			if (strcmp(lfirst(cell), "pg_temp") != 0)
				appendStringInfo(&path, "%s, ", quote_identifier(lfirst(cell)));
		}
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

/*
 * Locks the set to change it, made if it is not there; returns its owner's number.  Raises
 * 42501 unless the role is a member of the owner.
 */
int32
evsched_rule_set_change(const char *name, Oid user, bool *slots_named)
{
	Datum		values[2] = {CStringGetTextDatum(name)};
	bool		isnull;
	int32		owner;

	if (evsched_statement_read(EVSCHED_STMT_RULE_SET_FIND, values) == 0)
	{
		values[1] = Int32GetDatum(evsched_role_number(evsched_store_here(), user));
		evsched_statement_run(EVSCHED_STMT_RULE_SET_ADD, values, NULL);
	}
	if (evsched_statement_run(EVSCHED_STMT_RULE_SET_LOCK, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	owner = DatumGetInt32(evsched_statement_value(0, 1, &isnull));
	*slots_named = DatumGetBool(evsched_statement_value(0, 2, &isnull));
	if (evsched_right_is_member(user, owner))
		return owner;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for rule set \"%s\"", name),
			 errdetail("It belongs to another role."),
			 errhint("Choose another name.")));
}

/*
 * The number of the owner of what is added to a set that is locked.  One whose owner is
 * gone becomes the user's when nothing is left in it.
 */
int32
evsched_rule_set_own(const char *name, int32 owner, Oid user)
{
	Datum		values[2] = {CStringGetTextDatum(name)};
	int32		number;

	if (OidIsValid(evsched_role_of(owner)))
		return owner;
	number = evsched_role_number(evsched_store_here(), user);
	values[1] = Int32GetDatum(number);
	if (evsched_statement_run(EVSCHED_STMT_RULE_SET_OWN, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the owner of rule set \"%s\" is not bound in this database", name),
				 errhint("evsched.start() binds the owners of what was restored; of a role that was dropped, remove the rules first.")));
	return number;
}

/*
 * As if the rules had never been run of which the statement run last has listed n, by name
 * and number; waits for who is running them.
 */
void
evsched_rule_set_forget_slots(const char *set, uint64 n)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(n, 1));
	Datum	   *nths = palloc(sizeof(Datum) * Max(n, 1));
	bool		isnull;

	for (uint64 i = 0; i < n; i++)
	{
		names[i] = evsched_statement_value(i, 1, &isnull);
		nths[i] = evsched_statement_value(i, 2, &isnull);
	}
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[] = {CStringGetTextDatum(set), names[i], nths[i]};

		(void) evsched_rule_set_lock_slot(set, TextDatumGetCString(names[i]),
										  DatumGetInt32(nths[i]), true);
		evsched_statement_run_now(EVSCHED_STMT_RULE_SLOT_REMOVE, values, NULL);
	}
}

/* Locks a name's slot until the transaction ends; false: another one has it. */
bool
evsched_rule_set_lock_slot(const char *set, const char *name, int nth, bool wait)
{
	LOCKTAG		tag = slot_tag(set, name, nth);

	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* It is not to be run: others may look. */
void
evsched_rule_set_unlock_slot(const char *set, const char *name, int nth)
{
	LOCKTAG		tag = slot_tag(set, name, nth);

	(void) LockRelease(&tag, ExclusiveLock, false);
}

/*
 * What follows is done with the rights of the set's owner and its settings: it cannot become
 * another role, nor leave anything for the caller to run.
 */
void
evsched_rule_set_become_owner(Oid owner, const char *search_path, EvschedRuleCaller *caller)
{
	const char *settings[][2] = {
		{"search_path", search_path},
		/* How the owner's text is to be read. */
		{"standard_conforming_strings", "on"},
		{"transform_null_equals", "off"},
		{"row_security", "on"}
	};

	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(owner, caller->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	caller->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
evsched_rule_set_become_caller(const EvschedRuleCaller *caller)
{
	/* Also what was set there without SET LOCAL. */
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

static LOCKTAG
slot_tag(const char *set, const char *name, int nth)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) set, strlen(set), nth);
	LOCKTAG		tag;

	hash = hash_bytes_extended((const unsigned char *) name, strlen(name), hash);
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, LOCK_CLASS);
	return tag;
}

static bool
is_granted(const EvschedRuleSet *set, Oid role)
{
	bool		granted = false;

	for (int i = 0; i < set->num_grants && !granted; i++)
		granted = evsched_right_is_member(role, set->grants[i]);
	return granted;
}

static void
change_grant(FunctionCallInfo fcinfo, bool grant, const char *function)
{
	const char *name;
	Datum		values[2];
	EvschedCaller caller;
	bool		slots_named;
	Oid			role;

	if (PG_ARGISNULL(0))
		evsched_arg_refuse("rule_set must not be null", "Name the set of rules.");
	if (PG_ARGISNULL(1))
		evsched_arg_refuse("role must not be null", "Name a role.");
	name = evsched_rule_set_name(fcinfo, 0);
	role = get_role_oid(NameStr(*PG_GETARG_NAME(1)), false);
	PreventCommandIfReadOnly(function);
	evsched_store_require_current();
	values[0] = CStringGetTextDatum(name);
	evsched_statement_begin(&caller);
	(void) evsched_rule_set_change(name, caller.user, &slots_named);
	values[1] = grant ? Int32GetDatum(evsched_role_number(evsched_store_here(), role)) :
		ObjectIdGetDatum(role);
	evsched_statement_run(grant ? EVSCHED_STMT_RULE_GRANT_ADD : EVSCHED_STMT_RULE_GRANT_REMOVE,
						  values, NULL);
	evsched_statement_end(&caller);
}

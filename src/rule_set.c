/*
 * rule_set.c
 *		Sets of rules: whose they are, and who may run them.
 *
 * Runs in the session that calls it, in its transaction.  Whoever changes a set, or
 * its rules, locks its row first.
 */
#include "postgres.h"

#include "rule_set.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "arg.h"
#include "right.h"
#include "role.h"
#include "rule_owner.h"
#include "rule_slot.h"
#include "statement.h"
#include "store.h"

static const EvschedSignature slot_signature = {
	.kind = "slot function",
	.num_args = 3,
	.args = {TEXTOID, INTERVALOID, TIMESTAMPTZOID},
	.columns = {INT8OID, TEXTOID},
	.hint = "It is called with (identifier text, period interval, at timestamptz) and returns (slot bigint, name text)."
};

static bool is_granted(const EvschedRuleSet *set, Oid role);
static void change_grant(FunctionCallInfo fcinfo, bool grant, const char *function);

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
	values[2] = CStringGetTextDatum(evsched_rule_owner_path());
	evsched_statement_begin(&caller);
	if (!PG_ARGISNULL(0) || evsched_statement_read(EVSCHED_STMT_RULE_SET_FIND, values) > 0)
	{
		(void) evsched_rule_set_change(name, caller.user, &slots_named);
		evsched_statement_run(EVSCHED_STMT_RULE_SET_SLOTS, values,
							  PG_ARGISNULL(0) ? " n " : NULL);
		/* What another one has called a slot tells nothing. */
		if (DatumGetBool(evsched_statement_value(0, 1, &isnull)))
			evsched_rule_slot_forget(name, evsched_statement_run(EVSCHED_STMT_RULE_SLOT_LIST,
																 values, NULL));
	}
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
		evsched_store_refuse_stale();
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
	Datum		values[3];
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
	if (grant || evsched_statement_read(EVSCHED_STMT_RULE_SET_FIND, values) > 0)
	{
		values[1] = Int32GetDatum(evsched_rule_set_change(name, caller.user, &slots_named));
		values[2] = grant ? Int32GetDatum(evsched_role_number(evsched_store_here(), role)) :
			ObjectIdGetDatum(role);
		evsched_statement_run(grant ? EVSCHED_STMT_RULE_GRANT_ADD :
							  EVSCHED_STMT_RULE_GRANT_REMOVE, values, NULL);
	}
	evsched_statement_end(&caller);
}

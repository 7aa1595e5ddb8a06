/*
 * hook.c
 *		Statements that evsched must know of: those that bring or take away the
 *		extension or a database, those that end a prepared transaction, those
 *		that end a session's listening.
 *
 * Runs in whatever session executes them.  What is to be done when the
 * transaction ends is kept here until then.
 */
#include "postgres.h"

#include "hook.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "compat.h"
#include "database.h"
#include "effect.h"
#include "join.h"
#include "lease.h"
#include "shared.h"
#include "staff.h"
#include "store.h"
#include "wait.h"

/* How long a session waits for a scheduler to go away. */
#define LEAVE_TIMEOUT_MS	5000
#define LEAVE_PAUSE_MS		5

/* More databases than this in one transaction, and the rest is not held. */
#define MAX_HELD			8

static object_access_hook_type prev_object_access_hook;
static ProcessUtility_hook_type prev_process_utility_hook;

static bool extension_created;
static bool extension_dropped;
static bool extension_altered;
static bool roles_changed;
static bool sessions_changed;	/* what roles or databases set for them */
static uint32 role_changes;		/* of which this process has heard */
static Oid	database_created;
static struct
{
	Oid			oid;
	int			level;			/* of the subtransaction that holds it */
}			held[MAX_HELD];
static int	num_held;

static void see_object_access(ObjectAccessType access, Oid class_id, Oid object_id,
							  int sub_id, void *arg);
static void see_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment *environment, DestReceiver *dest,
						QueryCompletion *completion);
static void before_statement(Node *node);
static bool changes_roles(Node *node);
static bool may_change_extension(Node *node);
static Oid	needed_database(Node *node);
static bool changes_use(const char *option);
static void lock_event_first(Node *node);
static Oid	owner_of(Oid relation);
static bool finishes_prepared(Node *node);
static void hear_of_role(Datum arg, int cache, uint32 hash);
static void after_prepared(EvschedStore before, uint32 role_changes_before);
static void after_statement(Node *node);
static void hold_database(Oid oid);
static bool has_left(void *oid);
static void let_go(int level);
static void end_transaction(XactEvent event, void *arg);
static void end_subtransaction(SubXactEvent event, SubTransactionId id,
							   SubTransactionId parent, void *arg);

void
evsched_hook_init(void)
{
	prev_object_access_hook = object_access_hook;
	object_access_hook = see_object_access;
	prev_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = see_utility;
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
	CacheRegisterSyscacheCallback(AUTHOID, hear_of_role, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, hear_of_role, (Datum) 0);
}

static void
see_object_access(ObjectAccessType access, Oid class_id, Oid object_id,
				  int sub_id, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class_id, object_id, sub_id, arg);
	if (class_id == ExtensionRelationId && access == OAT_POST_CREATE)
		extension_created = true;
	else if (class_id == ExtensionRelationId && access == OAT_DROP)
		extension_dropped = true;
	else if (class_id == ExtensionRelationId && access == OAT_POST_ALTER)
	{
		/* Perhaps it has another version now. */
		evsched_store_invalidate();
		extension_altered = true;
	}
	else if (class_id == DatabaseRelationId && access == OAT_POST_CREATE)
		database_created = object_id;
	else if (class_id == DatabaseRelationId && access == OAT_DROP)
		hold_database(object_id);
}

static void
see_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *completion)
{
	/* The tree may be gone after the statement. */
	NodeTag		tag = nodeTag(statement->utilityStmt);
	Node	   *node = tag == T_DiscardStmt || tag == T_UnlistenStmt ?
		copyObject(statement->utilityStmt) : NULL;
	bool		prepared = finishes_prepared(statement->utilityStmt);
	uint32		role_changes_before = role_changes;
	EvschedStore store = {0};

	if (prepared && evsched_store_exists())
	{
		store = evsched_store_here();
		evsched_effect_due_anywhere(store);
	}
	before_statement(statement->utilityStmt);
	if (prev_process_utility_hook)
		prev_process_utility_hook(statement, query, read_only_tree, context, params,
								  environment, dest, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params,
								environment, dest, completion);
	if (prepared)
		after_prepared(store, role_changes_before);
	if (node != NULL)
		after_statement(node);
}

/* Some change roles, or need a lock before all others, or a database for themselves. */
static void
before_statement(Node *node)
{
	if (changes_roles(node))
		roles_changed = true;
	else if (IsA(node, GrantStmt) && ((GrantStmt *) node)->objtype == OBJECT_SCHEMA)
	{
		/* Who is let in to the schema again is served again. */
		if (evsched_store_exists())
			evsched_effect_recheck(evsched_store_here());
	}
	else if (IsA(node, AlterRoleSetStmt) || IsA(node, AlterDatabaseSetStmt))
		sessions_changed = true;
	else if (may_change_extension(node))
		lock_event_first(node);
	else
		hold_database(needed_database(node));
}

static bool
changes_roles(Node *node)
{
	return IsA(node, CreateRoleStmt) || IsA(node, GrantRoleStmt) ||
		IsA(node, DropRoleStmt) || IsA(node, AlterRoleStmt) ||
		(IsA(node, RenameStmt) && ((RenameStmt *) node)->renameType == OBJECT_ROLE) ||
	/* Who is let in to a database, perhaps another one, is served again. */
		(IsA(node, GrantStmt) && ((GrantStmt *) node)->objtype == OBJECT_DATABASE) ||
		(IsA(node, AlterOwnerStmt) && ((AlterOwnerStmt *) node)->objectType == OBJECT_DATABASE);
}

static bool
may_change_extension(Node *node)
{
	if (IsA(node, DropStmt))
		return ((DropStmt *) node)->removeType == OBJECT_EXTENSION ||
			((DropStmt *) node)->removeType == OBJECT_SCHEMA;
	return IsA(node, DropOwnedStmt) || IsA(node, AlterExtensionStmt);
}

/* The database that nobody else may be in meanwhile; InvalidOid: none. */
static Oid
needed_database(Node *node)
{
	const char *name = NULL;
	ListCell   *cell;

	if (IsA(node, CreatedbStmt))
	{
		name = "template1";
		foreach(cell, ((CreatedbStmt *) node)->options)
		{
			DefElem    *option = lfirst_node(DefElem, cell);

			if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
				name = defGetString(option);
		}
	}
	else if (IsA(node, RenameStmt) && ((RenameStmt *) node)->renameType == OBJECT_DATABASE)
		name = ((RenameStmt *) node)->subname;
	else if (IsA(node, AlterDatabaseStmt))
	{
		foreach(cell, ((AlterDatabaseStmt *) node)->options)
		{
			if (changes_use(lfirst_node(DefElem, cell)->defname))
				name = ((AlterDatabaseStmt *) node)->dbname;
		}
	}
	return name != NULL ? get_database_oid(name, true) : InvalidOid;
}

/*
 * Whoever works with events locks evsched.event before the other objects of the
 * extension, and so must DROP and ALTER EXTENSION, which would begin with another, or
 * the two would wait for each other.
 */
static void
lock_event_first(Node *node)
{
	Oid			table = evsched_store_exists() ? evsched_store_here().table : InvalidOid;
	Oid			owner = owner_of(table);
	bool		drops = false;
	ListCell   *cell;

	if (!OidIsValid(owner) || !has_privs_of_role(GetUserId(), owner))
		return;
	if (IsA(node, DropOwnedStmt))
	{
		foreach(cell, ((DropOwnedStmt *) node)->roles)
			drops |= get_rolespec_oid(lfirst_node(RoleSpec, cell), true) == owner;
	}
	else if (IsA(node, AlterExtensionStmt))
		drops = strcmp(((AlterExtensionStmt *) node)->extname, EVSCHED_NAME) == 0;
	else
	{
		foreach(cell, ((DropStmt *) node)->objects)
			drops |= strcmp(strVal(lfirst(cell)), EVSCHED_NAME) == 0;
	}
	if (drops)
		LockRelationOid(table, AccessExclusiveLock);
}

/* InvalidOid when there is no such relation. */
static Oid
owner_of(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Must no scheduler be there while this option of a database is changed, or may
 * it have to go, or to come, because of it?
 */
static bool
changes_use(const char *option)
{
	return strcmp(option, "tablespace") == 0 || strcmp(option, "is_template") == 0 ||
		strcmp(option, "allow_connections") == 0;
}

/* COMMIT PREPARED or ROLLBACK PREPARED? */
static bool
finishes_prepared(Node *node)
{
	TransactionStmtKind kind;

	if (!IsA(node, TransactionStmt))
		return false;
	kind = ((TransactionStmt *) node)->kind;
	return kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED;
}

static void
hear_of_role(Datum arg, int cache, uint32 hash)
{
	role_changes++;
}

/* It is finished: does what it could not do itself, having no process. */
static void
after_prepared(EvschedStore before, uint32 role_changes_before)
{
	EvschedStore now = {0};

	if (OidIsValid(before.table))
		evsched_lease_settle_prepared(before);
	/* What it has changed is told to this process, too. */
	AcceptInvalidationMessages();
	roles_changed |= role_changes != role_changes_before;
	if (evsched_store_exists())
		now = evsched_store_here();
	if (!evsched_store_equal(before, now))
		extension_created = extension_dropped = true;
}

/* A session that no longer listens is no longer a listener. */
static void
after_statement(Node *node)
{
	if (IsA(node, DiscardStmt) && ((DiscardStmt *) node)->target == DISCARD_ALL)
		evsched_effect_exit();
	else if (IsA(node, UnlistenStmt))
	{
		const char *name = ((UnlistenStmt *) node)->conditionname;

		if (name == NULL || evsched_join_is_channel(name))
			evsched_effect_exit();
	}
}

/*
 * Sends the scheduler of a database away until this (sub)transaction ends.  The
 * statement will check more; who is not the owner has no business here.
 */
static void
hold_database(Oid oid)
{
	if (!OidIsValid(oid) || num_held == MAX_HELD ||
		!evsched_owns_database(oid, GetUserId()))
		return;
	held[num_held].oid = oid;
	held[num_held].level = GetCurrentTransactionNestLevel();
	num_held++;
	evsched_database_hold(oid);
	evsched_staff_send_away(oid, InvalidOid);
	(void) evsched_wait_until(has_left, &oid, LEAVE_PAUSE_MS, LEAVE_TIMEOUT_MS * INT64CONST(1000));
}

/* Has the database no scheduler any more, and no worker that waits for a job? */
static bool
has_left(void *oid)
{
	return evsched_database_scheduler_pid(*(Oid *) oid) == 0 &&
		evsched_staff_count_waiting(*(Oid *) oid) == 0;
}

/* Lets go what was held from this nesting level on. */
static void
let_go(int level)
{
	while (num_held > 0 && held[num_held - 1].level >= level)
		evsched_database_unhold(held[--num_held].oid);
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId id,
				   SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		let_go(level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = num_held - 1; i >= 0 && held[i].level >= level; i--)
			held[i].level = level - 1;
	}
}

static void
end_transaction(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		if (extension_dropped || extension_altered)
			evsched_database_recheck(MyDatabaseId);
		if (roles_changed)
			evsched_database_recheck_all();
		if (sessions_changed && evsched_shared_ready())
			evsched_staff_renew();
		if (extension_created || extension_dropped)
			evsched_database_probe(MyDatabaseId);
		if (OidIsValid(database_created))
			evsched_database_probe(database_created);
	}
	extension_created = extension_dropped = extension_altered = false;
	roles_changed = sessions_changed = false;
	database_created = InvalidOid;
	let_go(0);
}

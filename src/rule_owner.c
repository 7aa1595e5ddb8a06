/*
 * rule_owner.c
 *		What is run as the owner of a set of rules: filters, commands, slot
 *		functions.
 *
 * Runs in the session that calls run_rules, whoever that is.  Neither may get what is
 * the other's: the caller's settings and objects do not change what the owner's text
 * means, and the owner leaves nothing that is run with the caller's rights.
 */
#include "postgres.h"

#include "rule_owner.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/varlena.h"

#include "role.h"
#include "rule_session.h"
#include "statement.h"

/* In a security context, beside those of the server: subtransactions put it back, too. */
#define RUNS_RULE		0x10000

/* What is put back afterwards. */
typedef struct Caller
{
	Oid			user;
	int			context;
	int			guc_level;
} Caller;

static ProcessUtility_hook_type prev_process_utility_hook;

static void become_owner(int32 owner, const char *search_path, Caller *caller);
static void become_caller(const Caller *caller);
static void close_cursors(void);
static void see_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment *environment, DestReceiver *dest,
						QueryCompletion *completion);

void
evsched_rule_owner_init(void)
{
	prev_process_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = see_utility;
}

/*
 * The search_path that is set now, for what is run later: temporary objects, which may be
 * anybody's, come last.
 */
const char *
evsched_rule_owner_path(void)
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
 * Does some work, connected to SPI, with the rights of a set's owner, a number, and his
 * search_path, in a subtransaction: it cannot become another role, nor leave anything for
 * the caller to run.  Returns its error, when it has been rolled back, or NULL.
 */
ErrorData *
evsched_rule_owner_run(int32 owner, const char *search_path, void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	Caller		caller;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		become_owner(owner, search_path, &caller);
		SPI_connect();
		work(arg);
		SPI_finish();
		close_cursors();
		become_caller(&caller);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = resources;
	return error;
}

static void
become_owner(int32 owner, const char *search_path, Caller *caller)
{
	const char *settings[][2] = {
		{"search_path", search_path},
		/* How the owner's text is to be read. */
		{"standard_conforming_strings", "on"},
		{"transform_null_equals", "off"},
		{"row_security", "on"}
	};
	Oid			role = evsched_role_of(owner);

	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the owner of the rules is not there any more")));
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(role, caller->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION | RUNS_RULE);
	caller->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
become_caller(const Caller *caller)
{
	/* Also what was set there without SET LOCAL. */
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/* Who fetches from a cursor runs its query: those of this subtransaction must not be there. */
static void
close_cursors(void)
{
	EvschedCaller caller;
	Portal	   *left;
	uint64		n;
	int			num_left = 0;

	evsched_statement_begin(&caller);
	n = evsched_statement_read(EVSCHED_STMT_CURSORS, NULL);
	left = SPI_palloc(sizeof(Portal) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Portal		portal = GetPortalByName(TextDatumGetCString(evsched_statement_value(i, 1,
																						  &isnull)));

		if (PortalIsValid(portal) && portal->createSubid == GetCurrentSubTransactionId())
			left[num_left++] = portal;
	}
	evsched_statement_end(&caller);
	for (int i = 0; i < num_left; i++)
		PortalDrop(left[i], false);
	pfree(left);
}

static void
see_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *completion)
{
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	/* What is deferred is the caller's, and would be run as the owner, or be put off for good. */
	if ((security & RUNS_RULE) && IsA(statement->utilityStmt, ConstraintsSetStmt))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot set constraints within a rule")));
	if (IsA(statement->utilityStmt, DiscardStmt) &&
		((DiscardStmt *) statement->utilityStmt)->target == DISCARD_ALL)
		evsched_rule_session_forget();
	if (prev_process_utility_hook)
		prev_process_utility_hook(statement, query, read_only_tree, context, params,
								  environment, dest, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params,
								environment, dest, completion);
}

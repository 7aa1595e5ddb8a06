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

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

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
 * What follows is done with the rights of the set's owner and its settings: it cannot become
 * another role, nor leave anything for the caller to run.
 */
void
evsched_rule_owner_become(Oid owner, const char *search_path, EvschedRuleCaller *caller)
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
evsched_rule_owner_leave(const EvschedRuleCaller *caller)
{
	/* Also what was set there without SET LOCAL. */
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/*
 * init.c
 *		The library's entry point.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "database.h"
#include "effect.h"
#include "guc.h"
#include "hook.h"
#include "launcher.h"
#include "role.h"
#include "rule_list.h"
#include "rule_owner.h"
#include "rule_session.h"
#include "setting.h"
#include "shared.h"
#include "store.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
	{
		/* Sizes of shared memory can no longer be set. */
		evsched_store_init();
		evsched_role_init();
		evsched_setting_init();
		evsched_rule_list_init();
		evsched_rule_session_init();
		evsched_rule_owner_init();
		return;
	}
	evsched_guc_init();
	evsched_shared_init();
	evsched_store_init();
	evsched_role_init();
	evsched_setting_init();
	evsched_database_init();
	evsched_effect_init();
	evsched_rule_list_init();
	evsched_rule_session_init();
	evsched_rule_owner_init();
	evsched_hook_init();
	evsched_launcher_init();
}

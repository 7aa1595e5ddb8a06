/*
 * statement.c
 *		The SQL that evsched runs on its own tables, and the one place that
 *		calls SPI.
 *
 * Called inside a transaction, between begin and end.  The statements run as
 * the owner of the extension under a pinned search_path, are prepared once for
 * each session and kept.  An error leaves begin's changes to the abort of the
 * (sub)transaction, as everywhere.
 */
#include "postgres.h"

#include "statement.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "table.h"

#define MAX_ARGS	12

typedef struct Text
{
	int			expected;		/* what SPI must answer */
	int			num_args;
	Oid			args[MAX_ARGS];
	const char *sql;
} Text;

#define EVENT_KEY_CONFLICT \
	" ON CONFLICT (queue, key) WHERE key IS NOT NULL DO NOTHING"

/*
 * Dead events that are gone live again, with their keys where these are free, else
 * without: whoever else posts such a key is waited for.
 */
#define REDRIVEN_COLUMNS \
	" (id, due_at, owner, max_retries, queue, payload, retry_delay, recurring, command, key)"
#define REDRIVEN_VALUES \
	" g.id, pg_catalog.clock_timestamp(), g.owner, g.max_retries, g.queue, g.payload," \
	" g.retry_delay, g.recurring, g.command"
#define REDRIVE_GONE \
	", with_key AS (INSERT INTO evsched.event" REDRIVEN_COLUMNS \
	" SELECT" REDRIVEN_VALUES ", g.key FROM gone g ORDER BY g.died_at, g.id" \
	EVENT_KEY_CONFLICT " RETURNING id)," \
	" without AS (INSERT INTO evsched.event" REDRIVEN_COLUMNS \
	" SELECT" REDRIVEN_VALUES ", NULL FROM gone g" \
	" WHERE NOT EXISTS (SELECT FROM with_key k WHERE k.id OPERATOR(pg_catalog.=) g.id)" \
	" ORDER BY g.died_at, g.id)" \
	" SELECT pg_catalog.count(*) FROM gone"

static const Text texts[EVSCHED_NUM_STATEMENTS] = {
	[EVSCHED_STMT_ROLE_FIND] = {
		SPI_OK_SELECT, 1, {OIDOID},
		"SELECT n FROM evsched.role_binding"
		" WHERE role OPERATOR(pg_catalog.=) $1"
		" ORDER BY n LIMIT 1"
	},
	[EVSCHED_STMT_ROLE_ADD] = {
		SPI_OK_INSERT, 3, {INT4OID, NAMEOID, TEXTOID},
		"INSERT INTO evsched.role (n, name, origin) VALUES ($1, $2, $3)"
		" ON CONFLICT (n) DO NOTHING"
	},
	[EVSCHED_STMT_ROLE_BIND] = {
		SPI_OK_INSERT, 2, {INT4OID, OIDOID},
		"INSERT INTO evsched.role_binding (n, role) VALUES ($1, $2)"
	},
	[EVSCHED_STMT_KEY_LOCK] = {
		SPI_OK_SELECT, 2, {TEXTOID, TEXTOID},
		"SELECT id, owner, due_at FROM evsched.event"
		" WHERE queue OPERATOR(pg_catalog.=) $1 AND key OPERATOR(pg_catalog.=) $2"
		" FOR UPDATE"
	},
	[EVSCHED_STMT_KEY_INSERT] = {
		SPI_OK_INSERT, 8,
		{INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID, INTERVALOID},
		"INSERT INTO evsched.event"
		" (id, due_at, owner, max_retries, queue, payload, key, retry_delay)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		EVENT_KEY_CONFLICT
	},
	[EVSCHED_STMT_KEY_REPLACE] = {
		SPI_OK_UPDATE, 6,
		{INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, JSONBOID, INTERVALOID},
		"UPDATE evsched.event"
		" SET due_at = $2, owner = $3, max_retries = $4, payload = $5, retry_delay = $6,"
		" num_retries = 0, last_error = NULL"
		" WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_KEY_DROP] = {
		SPI_OK_UPDATE, 1, {INT8OID},
		"UPDATE evsched.event SET key = NULL WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_KEY_ID] = {
		SPI_OK_SELECT, 2, {TEXTOID, TEXTOID},
		"SELECT id FROM evsched.event"
		" WHERE queue OPERATOR(pg_catalog.=) $1 AND key OPERATOR(pg_catalog.=) $2"
	},
	[EVSCHED_STMT_DEAD_ADD] = {
		SPI_OK_INSERT, 12,
		{INT8OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, INT4OID, INT8OID, INT4OID, INT4OID,
		INTERVALOID, TEXTOID, TEXTOID},
		"INSERT INTO evsched.dead"
		" (id, queue, key, payload, command, owner, recurring, max_retries,"
		" num_retries, retry_delay, died_at, why, sqlstate)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,"
		" pg_catalog.clock_timestamp(), $11, $12)"
		/* An id of somebody's own choice may have died before. */
		" ON CONFLICT (id) DO UPDATE SET"
		" queue = excluded.queue, key = excluded.key, payload = excluded.payload,"
		" command = excluded.command, owner = excluded.owner,"
		" recurring = excluded.recurring, max_retries = excluded.max_retries,"
		" num_retries = excluded.num_retries, retry_delay = excluded.retry_delay,"
		" died_at = excluded.died_at, why = excluded.why, sqlstate = excluded.sqlstate"
	},
	[EVSCHED_STMT_DEAD_PRUNE] = {
		SPI_OK_DELETE, 1, {INTERVALOID},
		"DELETE FROM evsched.dead WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		" SELECT ctid FROM evsched.dead"
		" WHERE died_at OPERATOR(pg_catalog.<)"
		" (pg_catalog.now() OPERATOR(pg_catalog.-) $1)"
		" ORDER BY died_at LIMIT 100 FOR UPDATE SKIP LOCKED))"
	},
	[EVSCHED_STMT_DEAD_REDRIVE_QUEUE] = {
		SPI_OK_SELECT, 3, {TEXTOID, INT8OID, INT4ARRAYOID},
		"WITH chosen AS (SELECT id FROM evsched.dead"
		" WHERE queue OPERATOR(pg_catalog.=) $1"
		" AND ($3 IS NULL OR owner OPERATOR(pg_catalog.=) ANY ($3))"
		" ORDER BY died_at, id LIMIT $2 FOR UPDATE SKIP LOCKED),"
		" gone AS (DELETE FROM evsched.dead d USING chosen c"
		" WHERE d.id OPERATOR(pg_catalog.=) c.id RETURNING d.*)"
		REDRIVE_GONE
	},
	[EVSCHED_STMT_DEAD_REDRIVE_IDS] = {
		SPI_OK_SELECT, 2, {INT8ARRAYOID, INT4ARRAYOID},
		"WITH gone AS (DELETE FROM evsched.dead"
		" WHERE id OPERATOR(pg_catalog.=) ANY ($1)"
		" AND ($2 IS NULL OR owner OPERATOR(pg_catalog.=) ANY ($2)) RETURNING *)"
		REDRIVE_GONE
	},
	[EVSCHED_STMT_DEAD_DISCARD] = {
		SPI_OK_SELECT, 2, {INT8ARRAYOID, INT4ARRAYOID},
		"WITH gone AS (DELETE FROM evsched.dead WHERE id OPERATOR(pg_catalog.=) ANY ($1)"
		" AND ($2 IS NULL OR owner OPERATOR(pg_catalog.=) ANY ($2)) RETURNING id)"
		" SELECT pg_catalog.count(*) FROM gone"
	},
};

static SPIPlanPtr plans[EVSCHED_NUM_STATEMENTS];

static Oid	extension_owner(void);

/* Connects to SPI as the owner of the extension. */
void
evsched_statement_begin(EvschedCaller *caller)
{
	/* A plan made while the tables are empty must serve when they are not. */
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"jit", "off"},
		{"plan_cache_mode", "force_generic_plan"}
	};

	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(extension_owner(),
						   caller->context | SECURITY_LOCAL_USERID_CHANGE);
	caller->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
}

void
evsched_statement_end(const EvschedCaller *caller)
{
	SPI_finish();
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/* Runs a statement; returns how many rows it found or changed. */
uint64
evsched_statement_run(EvschedStatement statement, Datum *values, const char *nulls)
{
	const Text *text = &texts[statement];
	int			result;

	if (plans[statement] == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(text->sql, text->num_args, (Oid *) text->args);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "cannot prepare \"%s\": %s", text->sql,
				 SPI_result_code_string(SPI_result));
		plans[statement] = plan;
	}
	result = SPI_execute_plan(plans[statement], values, nulls, false, 0);
	if (result != text->expected)
		elog(ERROR, "unexpected result of \"%s\": %s", text->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* A value that the statement run last has returned. */
Datum
evsched_statement_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* Who created the extension owns its tables. */
static Oid
extension_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(evsched_table_store().table));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for evsched.event");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

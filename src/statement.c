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
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "event.h"
#include "store.h"

/* A statement with more has the columns of an event as arguments. */
#define MAX_ARGS	EVSCHED_EVENT_COLUMNS

typedef struct Text
{
	int			expected;		/* what SPI must answer */
	int			num_args;
	Oid			args[MAX_ARGS];
	const char *sql;
} Text;

#define EVENT_KEY_CONFLICT \
	" ON CONFLICT (queue, key) WHERE key IS NOT NULL DO NOTHING"

/* Of the columns of evsched.event. */
#define EVENT_TYPES \
	{INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID, TEXTOID, JSONBOID, TEXTOID, INTERVALOID, \
	INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INTERVALOID, TEXTOID, INT8OID, INT4OID, BOOLOID, BOOLOID}

#define SERIES_PLAN \
	"SELECT start_at, period, schedule, time_zone, missed, overlap FROM evsched.recurrence" \
	" WHERE id OPERATOR(pg_catalog.=) $1"

/* In the order of sql/run_record.sql. */
#define RUN_TYPES \
	{INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, FLOAT8OID, \
	INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID}
#define RUN_INSERT \
	"INSERT INTO evsched.run_record AS r VALUES" \
	" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"

/*
 * Dead events that are gone live again, with their keys where these are free, else
 * without: whoever else posts such a key is waited for.
 */
#define REDRIVEN_COLUMNS \
	" (id, due_at, owner, max_retries, queue, payload, retry_delay, recurring, command," \
	" run_timeout, body, handles, key)"
#define REDRIVEN_VALUES \
	" g.id, pg_catalog.clock_timestamp(), g.owner, g.max_retries, g.queue, g.payload," \
	" g.retry_delay, g.recurring, g.command, g.run_timeout, g.body, g.handles"
#define REDRIVE_GONE \
	", with_key AS (INSERT INTO evsched.event" REDRIVEN_COLUMNS \
	" SELECT" REDRIVEN_VALUES ", g.key FROM gone g ORDER BY g.died_at, g.id" \
	EVENT_KEY_CONFLICT " RETURNING id)," \
	" without AS (INSERT INTO evsched.event" REDRIVEN_COLUMNS \
	" SELECT" REDRIVEN_VALUES ", NULL FROM gone g" \
	" WHERE NOT EXISTS (SELECT FROM with_key k WHERE k.id OPERATOR(pg_catalog.=) g.id)" \
	" ORDER BY g.died_at, g.id)" \
	" SELECT pg_catalog.count(*) FROM gone"

/* A rule that is to be: which one of its identifier, and where it stands in its set. */
#define RULE_TYPES \
	{TEXTOID, TEXTOID, INT4OID, INTERVALOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
#define RULE_SLOT_TYPES \
	{TEXTOID, TEXTOID, INT4OID, INT4OID, INT8OID, TIMESTAMPTZOID}
#define RULE_NTH \
	"(SELECT pg_catalog.count(*)::pg_catalog.int4 FROM evsched.rule n" \
	" WHERE n.rule_set OPERATOR(pg_catalog.=) $1 AND n.position OPERATOR(pg_catalog.>) 0" \
	" AND n.identifier OPERATOR(pg_catalog.=) $2)"
#define RULE_POSITION \
	"(SELECT coalesce(pg_catalog.max(p.position), 0) OPERATOR(pg_catalog.+) 1" \
	" FROM evsched.rule p WHERE p.rule_set OPERATOR(pg_catalog.=) $1" \
	" AND p.position OPERATOR(pg_catalog.>) 0)"

static const Text texts[EVSCHED_NUM_STATEMENTS] = {
	[EVSCHED_STMT_ROLE_FIND] = {
		SPI_OK_SELECT, 2, {OIDOID, TEXTOID},
		"SELECT b.n FROM evsched.role_binding b"
		" JOIN evsched.role r ON r.n OPERATOR(pg_catalog.=) b.n"
		" WHERE b.role OPERATOR(pg_catalog.=) $1 AND r.origin OPERATOR(pg_catalog.=) $2"
		" ORDER BY b.n LIMIT 1"
	},
	[EVSCHED_STMT_ROLE_KNOWN] = {
		SPI_OK_SELECT, 1, {INT4OID},
		"SELECT name, origin FROM evsched.role WHERE n OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_ROLE_OF] = {
		SPI_OK_SELECT, 2, {INT4OID, TEXTOID},
		"SELECT b.role FROM evsched.role_binding b"
		" JOIN evsched.role r ON r.n OPERATOR(pg_catalog.=) b.n"
		" WHERE b.n OPERATOR(pg_catalog.=) $1 AND r.origin OPERATOR(pg_catalog.=) $2"
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
	/*
	 * Owners that came from elsewhere: whoever has the name here.  A copy of a database
	 * of this system has brought its bindings with it, and they are better than names.
	 */
	[EVSCHED_STMT_ROLE_BIND_ALL] = {
		SPI_OK_UPDATE, 1, {TEXTOID},
		"WITH found AS (SELECT r.n, a.oid AS role, a.rolname AS name FROM evsched.role r"
		" LEFT JOIN evsched.role_binding b ON b.n OPERATOR(pg_catalog.=) r.n"
		" JOIN pg_catalog.pg_authid a ON CASE WHEN b.n IS NOT NULL"
		" AND pg_catalog.split_part(r.origin, '/', 1)"
		" OPERATOR(pg_catalog.=) pg_catalog.split_part($1, '/', 1)"
		" THEN a.oid OPERATOR(pg_catalog.=) b.role"
		" ELSE a.rolname OPERATOR(pg_catalog.=) r.name END"
		" WHERE (r.origin OPERATOR(pg_catalog.<>) $1 OR b.n IS NULL)"
		" AND r.origin OPERATOR(pg_catalog.<>) 'dropped'),"
		" bound AS (INSERT INTO evsched.role_binding (n, role) SELECT n, role FROM found"
		" ON CONFLICT (n) DO UPDATE SET role = excluded.role)"
		" UPDATE evsched.role r SET origin = $1, name = f.name FROM found f"
		" WHERE r.n OPERATOR(pg_catalog.=) f.n"
	},
	/* A dump carries names only: a new role of an old name shall inherit nothing there. */
	[EVSCHED_STMT_ROLE_DROP_ALL] = {
		SPI_OK_UPDATE, 1, {TEXTOID},
		"UPDATE evsched.role r SET origin = 'dropped' FROM evsched.role_binding b"
		" WHERE b.n OPERATOR(pg_catalog.=) r.n AND r.origin OPERATOR(pg_catalog.=) $1"
		" AND NOT EXISTS (SELECT FROM pg_catalog.pg_authid a"
		" WHERE a.oid OPERATOR(pg_catalog.=) b.role)"
	},
	[EVSCHED_STMT_ROLE_ELSEWHERE] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT FROM evsched.role r WHERE r.origin OPERATOR(pg_catalog.<>) 'dropped'"
		" AND (r.origin OPERATOR(pg_catalog.<>) $1 OR NOT EXISTS ("
		" SELECT FROM evsched.role_binding b WHERE b.n OPERATOR(pg_catalog.=) r.n)) LIMIT 1"
	},
	[EVSCHED_STMT_ROLE_RENAME_ALL] = {
		SPI_OK_UPDATE, 1, {TEXTOID},
		"UPDATE evsched.role r SET name = a.rolname"
		" FROM evsched.role_binding b"
		" JOIN pg_catalog.pg_authid a ON a.oid OPERATOR(pg_catalog.=) b.role"
		" WHERE b.n OPERATOR(pg_catalog.=) r.n AND r.origin OPERATOR(pg_catalog.=) $1"
		" AND r.name OPERATOR(pg_catalog.<>) a.rolname"
	},
	[EVSCHED_STMT_QUEUE_FIND] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT owner, max_retries, retry_delay, paused FROM evsched.queue"
		" WHERE name OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_QUEUE_ADD] = {
		SPI_OK_INSERT, 1, {TEXTOID},
		"INSERT INTO evsched.queue (name) VALUES ($1) ON CONFLICT (name) DO NOTHING"
	},
	[EVSCHED_STMT_QUEUE_LOCK] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT owner FROM evsched.queue WHERE name OPERATOR(pg_catalog.=) $1 FOR UPDATE"
	},
	[EVSCHED_STMT_QUEUE_SET] = {
		SPI_OK_UPDATE, 4, {TEXTOID, INT4OID, INT4OID, INTERVALOID},
		"UPDATE evsched.queue SET owner = $2, max_retries = $3, retry_delay = $4"
		" WHERE name OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_QUEUE_PAUSE] = {
		SPI_OK_UPDATE, 2, {TEXTOID, BOOLOID},
		"UPDATE evsched.queue SET paused = $2"
		" WHERE name OPERATOR(pg_catalog.=) $1 AND paused OPERATOR(pg_catalog.<>) $2"
	},
	[EVSCHED_STMT_QUEUE_OWNERS] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT owner FROM evsched.event WHERE queue OPERATOR(pg_catalog.=) $1"
		" UNION SELECT owner FROM evsched.dead WHERE queue OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_GRANT_FIND] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT role, may FROM evsched.queue_grant WHERE queue OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_GRANT_KNOWN] = {
		SPI_OK_SELECT, 3, {TEXTOID, INT4OID, TEXTOID},
		"SELECT FROM evsched.queue_grant WHERE queue OPERATOR(pg_catalog.=) $1"
		" AND role OPERATOR(pg_catalog.=) $2 AND may OPERATOR(pg_catalog.=) $3"
	},
	[EVSCHED_STMT_GRANT_ADD] = {
		SPI_OK_INSERT, 3, {TEXTOID, INT4OID, TEXTOID},
		"INSERT INTO evsched.queue_grant (queue, role, may) VALUES ($1, $2, $3)"
		" ON CONFLICT DO NOTHING"
	},
	[EVSCHED_STMT_GRANT_REMOVE] = {
		SPI_OK_DELETE, 3, {TEXTOID, OIDOID, TEXTOID},
		"DELETE FROM evsched.queue_grant g USING evsched.role_binding b"
		" WHERE g.queue OPERATOR(pg_catalog.=) $1 AND g.may OPERATOR(pg_catalog.=) $3"
		" AND b.n OPERATOR(pg_catalog.=) g.role AND b.role OPERATOR(pg_catalog.=) $2"
	},
	[EVSCHED_STMT_STOPPED] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT stopped FROM evsched.control"
	},
	[EVSCHED_STMT_STOP] = {
		SPI_OK_INSERT, 1, {BOOLOID},
		"INSERT INTO evsched.control (stopped) VALUES ($1)"
		" ON CONFLICT (here) DO UPDATE SET stopped = excluded.stopped"
	},
	/* A restore of data alone sets the sequence to where its source was: behind these. */
	[EVSCHED_STMT_NEXT_ID] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT pg_catalog.setval('evsched.event_id_seq', m.id)"
		" FROM (SELECT greatest((SELECT pg_catalog.max(e.id) FROM evsched.event e),"
		" (SELECT pg_catalog.max(d.id) FROM evsched.dead d),"
		" (SELECT pg_catalog.max(r.id) FROM evsched.rule r)) AS id) m"
		" WHERE m.id OPERATOR(pg_catalog.>)"
		" (SELECT s.last_value FROM evsched.event_id_seq s)"
	},
	/* ... or behind ids that were given away here: sets it back to the last of them. */
	[EVSCHED_STMT_LAST_ID] = {
		SPI_OK_SELECT, 1, {INT8OID},
		"SELECT CASE WHEN last_value OPERATOR(pg_catalog.<) $1"
		" THEN pg_catalog.setval('evsched.event_id_seq', $1) ELSE last_value END"
		" FROM evsched.event_id_seq"
	},
	/* What sets our triggers back to firing always. */
	[EVSCHED_STMT_TRIGGERS] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT pg_catalog.string_agg(pg_catalog.format("
		"'ALTER TABLE evsched.%I ENABLE ALWAYS TRIGGER %I', c.relname, t.tgname), '; '"
		" ORDER BY c.relname OPERATOR(pg_catalog.<>) 'event')"
		" FROM pg_catalog.pg_trigger t"
		" JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid"
		" JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid"
		" JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace"
		" WHERE s.nspname OPERATOR(pg_catalog.=) 'evsched'"
		" AND p.pronamespace OPERATOR(pg_catalog.=) s.oid"
		" AND t.tgenabled OPERATOR(pg_catalog.<>) 'A'"
	},
	/*
	 * The commands that let a role use the extension.  Functions whose names begin
	 * with _ are among them, for the views call them: they show nobody what is not
	 * his to see.
	 */
	[EVSCHED_STMT_USAGE] = {
		SPI_OK_SELECT, 2, {TEXTOID, BOOLOID},
		"WITH it AS (SELECT oid FROM pg_catalog.pg_namespace"
		" WHERE nspname OPERATOR(pg_catalog.=) 'evsched')"
		" SELECT pg_catalog.format('GRANT USAGE ON SCHEMA evsched TO %1$s;"
		" GRANT USAGE ON TYPE evsched.delivery TO %1$s;"
		" GRANT EXECUTE ON FUNCTION %2$s TO %1$s; GRANT SELECT ON %3$s TO %1$s%4$s', $1,"
		" (SELECT pg_catalog.string_agg(p.oid::pg_catalog.regprocedure::pg_catalog.text, ', ')"
		" FROM pg_catalog.pg_proc p, it WHERE p.pronamespace OPERATOR(pg_catalog.=) it.oid"
		" AND p.prorettype OPERATOR(pg_catalog.<>)"
		" 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid),"
		" (SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::pg_catalog.text, ', ')"
		" FROM pg_catalog.pg_class c, it WHERE c.relnamespace OPERATOR(pg_catalog.=) it.oid"
		" AND c.relkind OPERATOR(pg_catalog.=) 'v'"
		" AND c.relname OPERATOR(pg_catalog.!~) '^_'),"
		" CASE WHEN $2 THEN pg_catalog.format('; GRANT INSERT"
		" (queue, due_at, key, payload, max_retries) ON evsched.event TO %s', $1) END)"
	},
	/* The commands that grant one function to whom another is granted. */
	[EVSCHED_STMT_TAKE_OVER] = {
		SPI_OK_SELECT, 2, {OIDOID, OIDOID},
		"SELECT pg_catalog.string_agg(pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %I',"
		" $2::pg_catalog.regprocedure, a.rolname), '; ')"
		" FROM pg_catalog.pg_proc p, LATERAL pg_catalog.aclexplode(p.proacl) x"
		" JOIN pg_catalog.pg_authid a ON a.oid OPERATOR(pg_catalog.=) x.grantee"
		" WHERE p.oid OPERATOR(pg_catalog.=) $1"
		" AND x.grantee OPERATOR(pg_catalog.<>) p.proowner"
	},
	[EVSCHED_STMT_CHECK] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT item, ok, detail, CASE WHEN NOT ok THEN fix END FROM evsched._check ORDER BY n"
	},
	[EVSCHED_STMT_KEY_LOCK] = {
		SPI_OK_SELECT, 2, {TEXTOID, TEXTOID},
		"SELECT id, owner, due_at, recurring OPERATOR(pg_catalog.=) id, command IS NOT NULL"
		" FROM evsched.event"
		" WHERE queue OPERATOR(pg_catalog.=) $1 AND key OPERATOR(pg_catalog.=) $2"
		" FOR UPDATE"
	},
	[EVSCHED_STMT_KEY_INSERT] = {
		SPI_OK_INSERT, EVSCHED_EVENT_COLUMNS, EVENT_TYPES,
		"INSERT INTO evsched.event VALUES"
		" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"
		EVENT_KEY_CONFLICT
	},
	[EVSCHED_STMT_KEY_REPLACE] = {
		SPI_OK_UPDATE, EVSCHED_EVENT_COLUMNS, EVENT_TYPES,
		"UPDATE evsched.event"
		" SET due_at = $2, num_retries = $3, owner = $4, max_retries = $5, payload = $7,"
		" retry_delay = $9, command = $11, last_error = $12, run_timeout = $14, body = $15,"
		" handles = $16, num_lost = $17, for_all = $19,"
		/* Who has paused a series has paused what stands in its place, too. */
		" paused = CASE WHEN recurring OPERATOR(pg_catalog.=) id THEN paused END"
		" WHERE id OPERATOR(pg_catalog.=) $1"
	},
	/* The same before the update of the extension, which has brought the other columns. */
	[EVSCHED_STMT_KEY_INSERT_OLD] = {
		SPI_OK_INSERT, EVSCHED_EVENT_LAST_ERROR, EVENT_TYPES,
		"INSERT INTO evsched.event VALUES"
		" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
		EVENT_KEY_CONFLICT
	},
	[EVSCHED_STMT_KEY_REPLACE_OLD] = {
		SPI_OK_UPDATE, EVSCHED_EVENT_LAST_ERROR, EVENT_TYPES,
		"UPDATE evsched.event"
		" SET due_at = $2, num_retries = $3, owner = $4, max_retries = $5, payload = $7,"
		" retry_delay = $9, last_error = $12"
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
	[EVSCHED_STMT_RUN_ADD] = {
		SPI_OK_INSERT, 17, RUN_TYPES,
		RUN_INSERT
	},
	/* The same of a run that may have been written down when it began. */
	[EVSCHED_STMT_RUN_END] = {
		SPI_OK_INSERT, 17, RUN_TYPES,
		RUN_INSERT
		" ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, cpu_ms = excluded.cpu_ms,"
		" rows = excluded.rows, wal_bytes = excluded.wal_bytes,"
		" shared_blks = excluded.shared_blks, state = excluded.state,"
		" result = excluded.result, sqlstate = excluded.sqlstate, message = excluded.message"
		" WHERE r.state OPERATOR(pg_catalog.=) 'running'"
	},
	/* What is beyond those that are kept, at most so many. */
	[EVSCHED_STMT_RUN_PRUNE_SERIES] = {
		SPI_OK_DELETE, 3, {INT8OID, INT8OID, INT8OID},
		"DELETE FROM evsched.run_record WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		" SELECT ctid FROM evsched.run_record WHERE recurring OPERATOR(pg_catalog.=) $1"
		" ORDER BY id DESC OFFSET $2 LIMIT $3 FOR UPDATE SKIP LOCKED))"
	},
	/* Of the oldest after $1, so many as are too old or too many; there are none before. */
	[EVSCHED_STMT_RUN_PRUNE] = {
		SPI_OK_SELECT, 4, {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID},
		"WITH oldest AS MATERIALIZED (SELECT ctid, id, started_at FROM evsched.run_record"
		" WHERE id OPERATOR(pg_catalog.>) $1 ORDER BY id LIMIT $4),"
		" gone AS (DELETE FROM evsched.run_record WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		" SELECT r.ctid FROM evsched.run_record r"
		" WHERE r.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT o.ctid FROM oldest o"
		" WHERE o.id OPERATOR(pg_catalog.<=) $2 OR o.started_at OPERATOR(pg_catalog.<) $3))"
		" FOR UPDATE SKIP LOCKED)) RETURNING id)"
		" SELECT pg_catalog.max(id) FROM gone"
	},
	[EVSCHED_STMT_RUN_LAST] = {
		SPI_OK_SELECT, 1, {INT8OID},
		"(SELECT id, state, result, message, owner FROM evsched.run_record"
		" WHERE event_id OPERATOR(pg_catalog.=) $1 ORDER BY id DESC LIMIT 1)"
		" UNION ALL (SELECT id, state, result, message, owner FROM evsched.run_record"
		" WHERE recurring OPERATOR(pg_catalog.=) $1 ORDER BY id DESC LIMIT 1)"
	},
	[EVSCHED_STMT_HANDLER_FIND] = {
		SPI_OK_SELECT, 1, {INT4OID},
		/* A role may have several numbers. */
		"SELECT h.command FROM evsched.error_handler h"
		" WHERE h.owner OPERATOR(pg_catalog.=) $1 OR h.owner OPERATOR(pg_catalog.=) ANY (ARRAY("
		" SELECT o.n FROM evsched.role_binding b JOIN evsched.role_binding o"
		" ON o.role OPERATOR(pg_catalog.=) b.role WHERE b.n OPERATOR(pg_catalog.=) $1)) LIMIT 1"
	},
	[EVSCHED_STMT_HANDLER_KNOWN] = {
		SPI_OK_SELECT, 1, {INT4OID},
		"SELECT FROM evsched.error_handler WHERE owner OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_HANDLER_SET] = {
		SPI_OK_INSERT, 2, {INT4OID, TEXTOID},
		"INSERT INTO evsched.error_handler (owner, command) VALUES ($1, $2)"
		" ON CONFLICT (owner) DO UPDATE SET command = excluded.command"
	},
	[EVSCHED_STMT_HANDLER_REMOVE] = {
		SPI_OK_DELETE, 1, {OIDOID},
		"DELETE FROM evsched.error_handler h USING evsched.role_binding b"
		" WHERE b.n OPERATOR(pg_catalog.=) h.owner AND b.role OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_FOR_ALL_QUEUES] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT DISTINCT queue FROM evsched.event WHERE for_all"
	},
	/* What is due by $2, and the first after it. */
	[EVSCHED_STMT_FOR_ALL_FIRST] = {
		SPI_OK_SELECT, 2, {TEXTOID, TIMESTAMPTZOID},
		"(SELECT id FROM evsched.event"
		" WHERE for_all AND queue OPERATOR(pg_catalog.=) $1"
		" AND due_at OPERATOR(pg_catalog.<=) $2"
		" AND paused IS NOT TRUE AND recurring IS DISTINCT FROM id"
		" ORDER BY due_at, id LIMIT 999)"
		" UNION ALL (SELECT id FROM evsched.event"
		" WHERE for_all AND queue OPERATOR(pg_catalog.=) $1"
		" AND due_at OPERATOR(pg_catalog.>) $2"
		" AND paused IS NOT TRUE AND recurring IS DISTINCT FROM id"
		" ORDER BY due_at, id LIMIT 1)"
	},
	[EVSCHED_STMT_SERIES_CHANGE] = {
		SPI_OK_UPDATE, 7,
		{INT8OID, TIMESTAMPTZOID, INTERVALOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
		"UPDATE evsched.recurrence"
		" SET start_at = $2, period = $3, schedule = $4, time_zone = $5,"
		" missed = $6, overlap = $7"
		" WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_SERIES_ADD] = {
		SPI_OK_INSERT, 7,
		{INT8OID, TIMESTAMPTZOID, INTERVALOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID},
		"INSERT INTO evsched.recurrence"
		" (id, start_at, period, schedule, time_zone, missed, overlap)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)"
	},
	[EVSCHED_STMT_SERIES_SHARE] = {
		SPI_OK_SELECT, 1, {INT8OID},
		SERIES_PLAN " FOR SHARE SKIP LOCKED"
	},
	[EVSCHED_STMT_SERIES_HOLD] = {
		SPI_OK_SELECT, 1, {INT8OID},
		SERIES_PLAN " FOR SHARE"
	},
	[EVSCHED_STMT_SERIES_LOCK] = {
		SPI_OK_SELECT, 1, {INT8OID},
		SERIES_PLAN " FOR UPDATE"
	},
	[EVSCHED_STMT_SERIES_KNOWN] = {
		SPI_OK_SELECT, 1, {INT8OID},
		"SELECT FROM evsched.recurrence WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_SERIES_MOVE] = {
		SPI_OK_UPDATE, 2, {INT8OID, TIMESTAMPTZOID},
		"UPDATE evsched.recurrence SET start_at = $2"
		" WHERE id OPERATOR(pg_catalog.=) $1 AND period IS NOT NULL"
	},
	[EVSCHED_STMT_SERIES_END] = {
		SPI_OK_DELETE_RETURNING, 1, {INT8OID},
		"DELETE FROM evsched.recurrence WHERE id OPERATOR(pg_catalog.=) $1"
		" RETURNING channel IS NOT NULL OR path IS NOT NULL"
	},
	/* The one that waits has the last place; the others have been handed out. */
	[EVSCHED_STMT_SERIES_WAITING] = {
		SPI_OK_SELECT, 1, {INT8OID},
		"SELECT id, due_at, planned_at FROM evsched.event"
		" WHERE recurring OPERATOR(pg_catalog.=) $1 AND planned_at IS NOT NULL"
		" ORDER BY planned_at DESC LIMIT 1"
	},
	[EVSCHED_STMT_SERIES_LIVE] = {
		SPI_OK_SELECT, 1, {INT8OID},
		"SELECT id, due_at, paused FROM evsched.event"
		" WHERE recurring OPERATOR(pg_catalog.=) $1 AND id OPERATOR(pg_catalog.<>) $1"
	},
	/* Those that somebody holds are about to end. */
	[EVSCHED_STMT_SERIES_PAUSE] = {
		SPI_OK_UPDATE, 2, {INT8OID, BOOLOID},
		"UPDATE evsched.event SET paused = $2 WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		" SELECT ctid FROM evsched.event WHERE recurring OPERATOR(pg_catalog.=) $1"
		" AND id OPERATOR(pg_catalog.<>) $1 AND paused IS DISTINCT FROM $2"
		" FOR UPDATE SKIP LOCKED))"
	},
	/* Here nobody's is passed over: it would stay paused. */
	[EVSCHED_STMT_SERIES_RESUME] = {
		SPI_OK_UPDATE, 1, {INT8OID},
		"UPDATE evsched.event SET paused = NULL WHERE recurring OPERATOR(pg_catalog.=) $1"
		" AND id OPERATOR(pg_catalog.<>) $1 AND paused"
	},
	/* None may stand behind the one that waits. */
	[EVSCHED_STMT_SERIES_UNPLAN] = {
		SPI_OK_UPDATE, 3, {INT8OID, INT8OID, TIMESTAMPTZOID},
		"UPDATE evsched.event SET planned_at = NULL"
		" WHERE recurring OPERATOR(pg_catalog.=) $1 AND planned_at OPERATOR(pg_catalog.>=) $3"
		" AND id OPERATOR(pg_catalog.<>) $2"
	},
	/* An extra one, which has no place in the schedule, runs though the series is paused. */
	[EVSCHED_STMT_OCCURRENCE_ADD] = {
		SPI_OK_INSERT, 3, {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
		"INSERT INTO evsched.event (due_at, owner, max_retries, queue, payload, retry_delay,"
		" recurring, command, planned_at, run_timeout, body, handles, paused, for_all)"
		" SELECT $2, owner, max_retries, queue, payload, retry_delay,"
		" id, command, $3, run_timeout, body, handles,"
		" CASE WHEN $3 IS NOT NULL THEN paused END, for_all"
		" FROM evsched.event WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_OCCURRENCE_PLAN] = {
		SPI_OK_UPDATE, 3, {INT8OID, INT8OID, TIMESTAMPTZOID},
		"UPDATE evsched.event o SET due_at = $3, planned_at = $3, num_retries = 0,"
		" owner = s.owner, max_retries = s.max_retries, payload = s.payload,"
		" retry_delay = s.retry_delay, command = s.command, last_error = NULL,"
		" run_timeout = s.run_timeout, body = s.body, handles = s.handles,"
		" num_lost = NULL, paused = s.paused, for_all = s.for_all"
		" FROM evsched.event s WHERE s.id OPERATOR(pg_catalog.=) $1"
		" AND o.id OPERATOR(pg_catalog.=) $2"
	},
	[EVSCHED_STMT_OCCURRENCE_PAUSE] = {
		SPI_OK_UPDATE, 2, {INT8OID, BOOLOID},
		"UPDATE evsched.event SET paused = $2 WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_OCCURRENCE_REMOVE] = {
		SPI_OK_DELETE, 1, {INT8OID},
		"DELETE FROM evsched.event WHERE id OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_CURSORS] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT name FROM pg_catalog.pg_cursors"
	},
	[EVSCHED_STMT_RULE_SET_ADD] = {
		SPI_OK_INSERT, 2, {TEXTOID, INT4OID},
		"INSERT INTO evsched.rule_set (name, owner) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
	},
	[EVSCHED_STMT_RULE_SET_LOCK] = {
		/* With an older snapshot than who has changed it one fails. */
		SPI_OK_UPDATE_RETURNING, 1, {TEXTOID},
		"UPDATE evsched.rule_set SET owner = owner WHERE name OPERATOR(pg_catalog.=) $1"
		" RETURNING owner, slot_function IS NOT NULL"
	},
	[EVSCHED_STMT_RULE_SET_FIND] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT owner, slot_function, slot_path FROM evsched.rule_set"
		" WHERE name OPERATOR(pg_catalog.=) $1"
	},
	/* What the one before has said of it holds no longer. */
	[EVSCHED_STMT_RULE_SET_OWN] = {
		SPI_OK_UPDATE, 2, {TEXTOID, INT4OID},
		"UPDATE evsched.rule_set SET owner = $2, slot_function = NULL, slot_path = NULL"
		" WHERE name OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (SELECT FROM evsched.rule r"
		" WHERE r.rule_set OPERATOR(pg_catalog.=) $1)"
	},
	/* Is it another function than before? */
	[EVSCHED_STMT_RULE_SET_SLOTS] = {
		SPI_OK_UPDATE_RETURNING, 3, {TEXTOID, TEXTOID, TEXTOID},
		"WITH before AS (SELECT slot_function FROM evsched.rule_set"
		" WHERE name OPERATOR(pg_catalog.=) $1)"
		" UPDATE evsched.rule_set SET slot_function = $2,"
		" slot_path = CASE WHEN $2 IS NOT NULL THEN $3 END"
		" WHERE name OPERATOR(pg_catalog.=) $1"
		" RETURNING (SELECT b.slot_function IS DISTINCT FROM $2 FROM before b)"
	},
	/* Those of an owner: a restore may bring others. */
	[EVSCHED_STMT_RULE_GRANT_ADD] = {
		SPI_OK_INSERT, 3, {TEXTOID, INT4OID, INT4OID},
		"INSERT INTO evsched.rule_grant (rule_set, owner, role) VALUES ($1, $2, $3)"
		" ON CONFLICT DO NOTHING"
	},
	[EVSCHED_STMT_RULE_GRANT_REMOVE] = {
		SPI_OK_DELETE, 3, {TEXTOID, INT4OID, OIDOID},
		"DELETE FROM evsched.rule_grant g USING evsched.role_binding b"
		" WHERE g.rule_set OPERATOR(pg_catalog.=) $1 AND g.owner OPERATOR(pg_catalog.=) $2"
		" AND b.n OPERATOR(pg_catalog.=) g.role AND b.role OPERATOR(pg_catalog.=) $3"
	},
	[EVSCHED_STMT_RULE_GRANT_FIND] = {
		SPI_OK_SELECT, 2, {TEXTOID, INT4OID},
		"SELECT role FROM evsched.rule_grant WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND owner OPERATOR(pg_catalog.=) $2"
	},
	[EVSCHED_STMT_RULE_GRANT_KNOWN] = {
		SPI_OK_SELECT, 3, {TEXTOID, INT4OID, INT4OID},
		"SELECT FROM evsched.rule_grant WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND owner OPERATOR(pg_catalog.=) $2 AND role OPERATOR(pg_catalog.=) $3"
	},
	/* Last of its set. */
	[EVSCHED_STMT_RULE_ADD] = {
		SPI_OK_INSERT_RETURNING, 8, RULE_TYPES,
		"INSERT INTO evsched.rule"
		" (rule_set, identifier, nth, position, owner, period, mode, filter, command, search_path)"
		" VALUES ($1, $2, " RULE_NTH ", " RULE_POSITION ", $3, $4, $5, $6, $7, $8) RETURNING id, position"
	},
	/*
	 * The same in the place of the one of that name that the set had before it is loaded; has
	 * it another period?
	 */
	[EVSCHED_STMT_RULE_REPLACE] = {
		SPI_OK_UPDATE_RETURNING, 8, RULE_TYPES,
		"WITH before AS (SELECT id, period FROM evsched.rule"
		" WHERE rule_set OPERATOR(pg_catalog.=) $1 AND identifier OPERATOR(pg_catalog.=) $2"
		" AND nth OPERATOR(pg_catalog.=) " RULE_NTH ")"
		" UPDATE evsched.rule r SET position = " RULE_POSITION ", owner = $3, period = $4,"
		" mode = $5, filter = $6, command = $7, search_path = $8"
		" FROM before b WHERE r.id OPERATOR(pg_catalog.=) b.id"
		" RETURNING r.id, r.position, r.nth, b.period OPERATOR(pg_catalog.<>) $4"
	},
	[EVSCHED_STMT_RULE_REMOVE] = {
		SPI_OK_DELETE_RETURNING, 2, {TEXTOID, TEXTOID},
		"DELETE FROM evsched.rule WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND identifier OPERATOR(pg_catalog.=) $2 RETURNING identifier, nth"
	},
	[EVSCHED_STMT_RULE_SHELVE] = {
		SPI_OK_UPDATE, 1, {TEXTOID},
		"UPDATE evsched.rule SET position = OPERATOR(pg_catalog.-) position"
		" WHERE rule_set OPERATOR(pg_catalog.=) $1"
	},
	[EVSCHED_STMT_RULE_REMOVE_SHELVED] = {
		SPI_OK_DELETE_RETURNING, 1, {TEXTOID},
		"DELETE FROM evsched.rule WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND position OPERATOR(pg_catalog.<) 0 RETURNING identifier, nth"
	},
	[EVSCHED_STMT_RULE_LIST] = {
		SPI_OK_SELECT, 2, {TEXTOID, INT4OID},
		"SELECT r.id, r.identifier, r.nth, r.period, r.mode OPERATOR(pg_catalog.=) 'each',"
		" r.filter, r.command, r.search_path,"
		" l.slot"
		" FROM evsched.rule r LEFT JOIN evsched.rule_slot l"
		" ON l.rule_set OPERATOR(pg_catalog.=) r.rule_set"
		" AND l.owner OPERATOR(pg_catalog.=) r.owner AND l.name OPERATOR(pg_catalog.=) r.identifier AND l.nth OPERATOR(pg_catalog.=) r.nth"
		" WHERE r.rule_set OPERATOR(pg_catalog.=) $1 AND r.owner OPERATOR(pg_catalog.=) $2"
		" ORDER BY r.position"
	},
	[EVSCHED_STMT_RULE_KNOWN] = {
		SPI_OK_SELECT, 3, {TEXTOID, TEXTOID, INT4OID},
		"SELECT FROM evsched.rule WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND identifier OPERATOR(pg_catalog.=) $2 AND nth OPERATOR(pg_catalog.=) $3"
	},
	/* Is it still the rule that it was, and its slots counted as they were? */
	[EVSCHED_STMT_RULE_SAME] = {
		SPI_OK_SELECT, 4, {INT8OID, INT4OID, TEXTOID, INTERVALOID},
		"SELECT FROM evsched.rule r JOIN evsched.rule_set s"
		" ON s.name OPERATOR(pg_catalog.=) r.rule_set AND s.owner OPERATOR(pg_catalog.=) r.owner"
		" WHERE r.id OPERATOR(pg_catalog.=) $1 AND r.owner OPERATOR(pg_catalog.=) $2"
		" AND s.slot_function IS NOT DISTINCT FROM $3 AND r.period OPERATOR(pg_catalog.=) $4"
	},
	[EVSCHED_STMT_RULE_SLOT_FIND] = {
		SPI_OK_SELECT, 4, {TEXTOID, TEXTOID, INT4OID, INT4OID},
		"SELECT slot FROM evsched.rule_slot WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND name OPERATOR(pg_catalog.=) $2 AND nth OPERATOR(pg_catalog.=) $3"
		" AND owner OPERATOR(pg_catalog.=) $4"
	},
	[EVSCHED_STMT_RULE_SLOT_ADD] = {
		SPI_OK_INSERT, 6, RULE_SLOT_TYPES,
		"INSERT INTO evsched.rule_slot (rule_set, name, nth, owner, slot, ran_at)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
	},
	[EVSCHED_STMT_RULE_SLOT_SET] = {
		SPI_OK_UPDATE, 6, RULE_SLOT_TYPES,
		"UPDATE evsched.rule_slot SET owner = $4, slot = $5, ran_at = $6"
		" WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND name OPERATOR(pg_catalog.=) $2 AND nth OPERATOR(pg_catalog.=) $3"
	},
	/* Also of rules that are just being run for the first time. */
	[EVSCHED_STMT_RULE_SLOT_LIST] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT name, nth FROM evsched.rule_slot WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" UNION SELECT identifier, nth FROM evsched.rule"
		" WHERE rule_set OPERATOR(pg_catalog.=) $1 ORDER BY 1, 2"
	},
	[EVSCHED_STMT_RULE_SLOT_REMOVE] = {
		SPI_OK_DELETE, 3, {TEXTOID, TEXTOID, INT4OID},
		"DELETE FROM evsched.rule_slot WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND name OPERATOR(pg_catalog.=) $2 AND nth OPERATOR(pg_catalog.=) $3"
	},
	[EVSCHED_STMT_RULE_SLOT_KNOWN] = {
		SPI_OK_SELECT, 3, {TEXTOID, TEXTOID, INT4OID},
		"SELECT FROM evsched.rule_slot WHERE rule_set OPERATOR(pg_catalog.=) $1"
		" AND name OPERATOR(pg_catalog.=) $2 AND nth OPERATOR(pg_catalog.=) $3"
	},
	/* They wait for who gives it up. */
	[EVSCHED_STMT_WATCH_HOLD_CHANNEL] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT FROM evsched.recurrence WHERE channel OPERATOR(pg_catalog.=) $1 FOR KEY SHARE"
	},
	[EVSCHED_STMT_WATCH_HOLD_PATH] = {
		SPI_OK_SELECT, 1, {TEXTOID},
		"SELECT FROM evsched.recurrence WHERE path OPERATOR(pg_catalog.=) $1 FOR KEY SHARE"
	},
	/* By the two indexes: there may be many series beside them. */
	[EVSCHED_STMT_WATCH_COUNT] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT FROM evsched.recurrence WHERE channel IS NOT NULL"
		" UNION ALL SELECT FROM evsched.recurrence WHERE path IS NOT NULL"
	},
	[EVSCHED_STMT_WATCH_LIST] = {
		SPI_OK_SELECT, 0, {0},
		"SELECT c.id, c.channel, c.path, e.queue, e.owner, coalesce(e.paused, false),"
		" coalesce(pg_catalog.octet_length(e.command), 0)"
		" FROM (SELECT id, channel, NULL AS path FROM evsched.recurrence WHERE channel IS NOT NULL"
		" UNION ALL SELECT id, NULL, path FROM evsched.recurrence WHERE path IS NOT NULL) c"
		" JOIN evsched.event e ON e.id OPERATOR(pg_catalog.=) c.id"
		" AND e.recurring OPERATOR(pg_catalog.=) e.id ORDER BY c.id"
	},
	/* What a plain DELETE of the row that stands for it has left. */
	[EVSCHED_STMT_WATCH_FORGET] = {
		SPI_OK_DELETE, 2, {TEXTOID, TEXTOID},
		"DELETE FROM evsched.recurrence c"
		" WHERE (c.channel OPERATOR(pg_catalog.=) $1 OR c.path OPERATOR(pg_catalog.=) $2)"
		" AND NOT EXISTS (SELECT FROM evsched.event e WHERE e.id OPERATOR(pg_catalog.=) c.id)"
	},
	[EVSCHED_STMT_WATCH_ADD] = {
		SPI_OK_INSERT, 3, {INT8OID, TEXTOID, TEXTOID},
		"INSERT INTO evsched.recurrence (id, missed, overlap, channel, path)"
		" VALUES ($1, 'once', 'parallel', $2, $3) ON CONFLICT DO NOTHING"
	},
	/* Paused just now, it waits like what came before. */
	[EVSCHED_STMT_WATCH_FEED] = {
		SPI_OK_INSERT, 3, {INT8OID, TIMESTAMPTZOID, JSONBOID},
		"INSERT INTO evsched.event (due_at, owner, max_retries, queue, payload,"
		" recurring, command, paused)"
		" SELECT $2, owner, max_retries, queue, $3, id, command, paused"
		" FROM evsched.event WHERE id OPERATOR(pg_catalog.=) $1"
		" AND recurring OPERATOR(pg_catalog.=) id"
	},
	[EVSCHED_STMT_DEAD_ADD] = {
		SPI_OK_INSERT, 15,
		{INT8OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, INT4OID, INT8OID, INT4OID, INT4OID,
		INTERVALOID, INTERVALOID, TEXTOID, INT8OID, TEXTOID, TEXTOID},
		"INSERT INTO evsched.dead"
		" (id, queue, key, payload, command, owner, recurring, max_retries,"
		" num_retries, retry_delay, run_timeout, body, handles, died_at, why, sqlstate)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		" pg_catalog.clock_timestamp(), $14, $15)"
		/* An id of somebody's own choice may have died before. */
		" ON CONFLICT (id) DO UPDATE SET"
		" queue = excluded.queue, key = excluded.key, payload = excluded.payload,"
		" command = excluded.command, owner = excluded.owner,"
		" recurring = excluded.recurring, max_retries = excluded.max_retries,"
		" num_retries = excluded.num_retries, retry_delay = excluded.retry_delay,"
		" run_timeout = excluded.run_timeout, body = excluded.body, handles = excluded.handles,"
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
	[EVSCHED_STMT_DEAD_FIND] = {
		SPI_OK_SELECT, 1, {INT8ARRAYOID},
		"SELECT id, queue, owner FROM evsched.dead WHERE id OPERATOR(pg_catalog.=) ANY ($1)"
	},
	[EVSCHED_STMT_DEAD_REDRIVE_QUEUE] = {
		SPI_OK_SELECT, 2, {TEXTOID, INT8OID},
		"WITH chosen AS (SELECT id FROM evsched.dead"
		" WHERE queue OPERATOR(pg_catalog.=) $1"
		" ORDER BY died_at, id LIMIT $2 FOR UPDATE SKIP LOCKED),"
		" gone AS (DELETE FROM evsched.dead d USING chosen c"
		" WHERE d.id OPERATOR(pg_catalog.=) c.id RETURNING d.*)"
		REDRIVE_GONE
	},
	[EVSCHED_STMT_DEAD_REDRIVE_IDS] = {
		SPI_OK_SELECT, 1, {INT8ARRAYOID},
		"WITH gone AS (DELETE FROM evsched.dead"
		" WHERE id OPERATOR(pg_catalog.=) ANY ($1) RETURNING *)"
		REDRIVE_GONE
	},
	[EVSCHED_STMT_DEAD_DISCARD] = {
		SPI_OK_SELECT, 1, {INT8ARRAYOID},
		"WITH gone AS (DELETE FROM evsched.dead WHERE id OPERATOR(pg_catalog.=) ANY ($1)"
		" RETURNING id)"
		" SELECT pg_catalog.count(*) FROM gone"
	},
};

static SPIPlanPtr plans[EVSCHED_NUM_STATEMENTS];

static uint64 run(EvschedStatement statement, Datum *values, const char *nulls,
				  Snapshot snapshot, bool read_only);
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

	/*
	 * Whoever uses several of the extension's tables locks this one first, and so
	 * does who drops or updates it (hook.c): none waits for the other in a ring.
	 */
	(void) evsched_store_lock(AccessShareLock);
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(extension_owner(),
						   caller->context | SECURITY_LOCAL_USERID_CHANGE);
	caller->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* Background processes have none of their own. */
	caller->pushed_snapshot = !ActiveSnapshotSet();
	if (caller->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

void
evsched_statement_end(const EvschedCaller *caller)
{
	SPI_finish();
	if (caller->pushed_snapshot)
		PopActiveSnapshot();
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->context);
}

/* Runs a statement; returns how many rows it found or changed. */
uint64
evsched_statement_run(EvschedStatement statement, Datum *values, const char *nulls)
{
	return run(statement, values, nulls, InvalidSnapshot, false);
}

/*
 * The same on what is committed now, however old the transaction's snapshot is: of rows that
 * nobody else changes meanwhile.
 */
uint64
evsched_statement_run_now(EvschedStatement statement, Datum *values, const char *nulls)
{
	return run(statement, values, nulls, GetLatestSnapshot(), false);
}

/*
 * Runs one that only reads, on what is committed now or done by this transaction,
 * however old its snapshot is.
 */
uint64
evsched_statement_read(EvschedStatement statement, Datum *values)
{
	uint64		n;

	PushActiveSnapshot(GetLatestSnapshot());
	n = run(statement, values, NULL, InvalidSnapshot, true);
	PopActiveSnapshot();
	return n;
}

/* Runs a command that is not one of the list: all names in it are quoted. */
void
evsched_statement_execute(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "cannot run \"%s\": %s", sql, SPI_result_code_string(result));
}

/* A value that the statement run last has returned. */
Datum
evsched_statement_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static uint64
run(EvschedStatement statement, Datum *values, const char *nulls, Snapshot snapshot,
	bool read_only)
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
	result = SPI_execute_snapshot(plans[statement], values, nulls, snapshot, InvalidSnapshot,
								  read_only, true, 0);
	if (result != text->expected)
		elog(ERROR, "unexpected result of \"%s\": %s", text->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* Who created the extension owns its tables. */
static Oid
extension_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(evsched_store_here().table));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for evsched.event");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

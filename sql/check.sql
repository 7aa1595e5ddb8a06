-- Is everything as it should be?  The view is read by check() as the extension's owner;
-- nobody else is given it.

CREATE FUNCTION evsched._server(OUT preloaded boolean, OUT enabled boolean, OUT standby boolean,
        OUT version text, OUT short_of_workers boolean, OUT scheduler_pid int, OUT stopped boolean,
        OUT origin text, OUT fence boolean, OUT leases int, OUT max_leases int,
        OUT oldest_lease interval)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_server';
COMMENT ON FUNCTION evsched._server() IS 'internal: what check() asks of the server''s memory';

CREATE FUNCTION evsched._may_post(owner int, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_may_post';
COMMENT ON FUNCTION evsched._may_post(int, text)
    IS 'internal: may that owner of events post to the queue? Who is not bound here is another item''s affair';

CREATE FUNCTION evsched._may_work(owner int) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_may_work';
COMMENT ON FUNCTION evsched._may_work(int)
    IS 'internal: may a worker log in as that owner of jobs? Who is not bound here is another item''s affair';

CREATE FUNCTION evsched._staffing(OUT max_workers int, OUT workers int, OUT workers_here int,
        OUT free_processes int)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_staffing';
COMMENT ON FUNCTION evsched._staffing() IS 'internal: how many workers there are, in the server and in this database, and may be';

CREATE FUNCTION evsched._pools(OUT name text, OUT size int) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_pools';
COMMENT ON FUNCTION evsched._pools() IS 'internal: what stands in evsched.pools';

CREATE FUNCTION evsched._stalled() RETURNS SETOF oid
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_stalled';
COMMENT ON FUNCTION evsched._stalled() IS 'internal: the roles that have jobs and whose workers do not come up';

CREATE VIEW evsched._check AS
WITH RECURSIVE server AS (
    SELECT * FROM evsched._server()
), pool AS (
    SELECT * FROM evsched._pools()
), room AS (
    -- for workers of this database
    SELECT t.*, least(t.max_workers - t.workers, t.free_processes) + t.workers_here AS workers_in_all,
           (SELECT pg_catalog.sum(p.size) FROM pool p) AS jobs,
           EXISTS (SELECT FROM evsched.run_record)
           OR EXISTS (SELECT FROM pool p JOIN evsched.event e ON e.queue = p.name) AS used
    FROM evsched._staffing() t
), used_queue AS (
    -- from one to the next in the index
    SELECT pg_catalog.min(e.queue) AS name FROM evsched.event e
    UNION ALL
    SELECT (SELECT pg_catalog.min(e.queue) FROM evsched.event e WHERE e.queue > q.name)
    FROM used_queue q WHERE q.name IS NOT NULL
), misplaced AS (
    -- what nobody is handed stands before the rest
    SELECT pg_catalog.string_agg(q.name, ', ' ORDER BY q.name) FILTER (WHERE NOT f.is_pool) AS jobs,
           pg_catalog.string_agg(q.name, ', ' ORDER BY q.name) FILTER (WHERE f.is_pool) AS messages
    FROM used_queue q,
         LATERAL (SELECT EXISTS (SELECT FROM pool p WHERE p.name = q.name) AS is_pool) f
    WHERE EXISTS (SELECT FROM (SELECT e.command, e.recurring FROM evsched.event e
                               WHERE e.queue = q.name ORDER BY e.due_at, e.id LIMIT 100) first
                  WHERE CASE WHEN f.is_pool THEN first.command IS NULL AND first.recurring IS NULL
                             ELSE first.command IS NOT NULL END)
), unfit AS (
    SELECT pg_catalog.string_agg(DISTINCT r.name, ', ') AS owners
    FROM pool p,
         LATERAL (SELECT e.owner FROM evsched.event e
                  WHERE e.queue = p.name AND e.due_at <= pg_catalog.clock_timestamp()
                  ORDER BY e.due_at, e.id LIMIT 1000) first
    JOIN evsched.role r ON r.n = first.owner
    WHERE NOT evsched._may_work(first.owner)
), stalled AS (
    SELECT pg_catalog.string_agg(DISTINCT pg_catalog.pg_get_userbyid(s.role), ', ') AS roles
    FROM evsched._stalled() s(role)
), longest_run AS (
    SELECT w.run_id, w.event_id, w.pool, pg_catalog.pg_get_userbyid(w.role) AS role,
           pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - w.started_at) AS age
    FROM evsched._workers() w
    WHERE w.run_id IS NOT NULL ORDER BY w.started_at LIMIT 1
), lost_path AS (
    SELECT pg_catalog.string_agg(p.path, ', ' ORDER BY p.path) AS paths FROM evsched._lost_paths() p
), unbound AS (
    -- owners of what came from elsewhere, or whose role was dropped
    SELECT r.name, r.origin <> 'dropped' AND (r.origin <> s.origin OR b.n IS NULL) AS restored,
           EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.rolname = r.name) AS has_role
    FROM evsched.role r
    CROSS JOIN server s
    LEFT JOIN evsched.role_binding b ON b.n = r.n
    WHERE (r.origin <> s.origin
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.oid = b.role))
      AND (EXISTS (SELECT FROM evsched.event e WHERE e.owner = r.n)
           OR EXISTS (SELECT FROM evsched.queue q WHERE q.owner = r.n)
           OR EXISTS (SELECT FROM evsched.rule l WHERE l.owner = r.n))
), waiting AS (
    SELECT pg_catalog.string_agg(DISTINCT u.name, ', ') FILTER (WHERE u.restored AND u.has_role) AS to_start,
           pg_catalog.string_agg(DISTINCT u.name, ', ') FILTER (WHERE NOT (u.restored AND u.has_role)) AS missing
    FROM unbound u
), shut_in AS (
    -- what waits for a right stands before the rest
    SELECT pg_catalog.string_agg(DISTINCT q.name, ', ') AS queues
    FROM evsched.queue q,
         LATERAL (SELECT e.owner FROM evsched.event e
                  WHERE e.queue = q.name AND e.due_at <= pg_catalog.clock_timestamp()
                  ORDER BY e.due_at, e.id LIMIT 1000) first
    WHERE q.owner IS NOT NULL AND NOT evsched._may_post(first.owner, q.name)
), snapshot AS (
    -- who keeps dead rows from being removed
    SELECT 'session ' || a.pid AS who, a.backend_xmin AS xmin, a.xact_start AS since
    FROM pg_catalog.pg_stat_activity a
    WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
    UNION ALL
    SELECT 'replication slot ' || l.slot_name, coalesce(l.xmin, l.catalog_xmin), NULL
    FROM pg_catalog.pg_replication_slots l
    WHERE l.xmin IS NOT NULL
    UNION ALL
    SELECT 'prepared transaction ' || p.gid, p.transaction, p.prepared
    FROM pg_catalog.pg_prepared_xacts p
), oldest_snapshot AS (
    SELECT s.who, pg_catalog.age(s.xmin) AS xids,
           pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - s.since) AS age
    FROM snapshot s ORDER BY pg_catalog.age(s.xmin) DESC LIMIT 1
), dead AS (
    SELECT pg_catalog.count(*) AS n, pg_catalog.max(d.died_at) AS last
    FROM (SELECT died_at FROM evsched.dead ORDER BY died_at DESC LIMIT 1000) d
), paused AS (
    SELECT pg_catalog.string_agg(q.name, ', ' ORDER BY q.name) AS names
    FROM evsched.queue q WHERE q.paused
), disabled AS (
    SELECT pg_catalog.string_agg(c.relname || '.' || t.tgname, ', ' ORDER BY 1) AS names
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'evsched' AND NOT t.tgisinternal AND t.tgenabled <> 'A'
)
SELECT 1 AS n, 'preload' AS item, s.preloaded AS ok,
       CASE WHEN s.preloaded THEN 'evsched is loaded at server start'
            ELSE 'shared_preload_libraries = ' || pg_catalog.quote_literal(pg_catalog.current_setting('shared_preload_libraries')) END AS detail,
       'Add evsched to shared_preload_libraries and restart the server.' AS fix
FROM server s
UNION ALL
SELECT 2, 'version', e.extversion = s.version,
       'the extension has version ' || e.extversion || ', the library ' || s.version,
       'Run ALTER EXTENSION evsched UPDATE; if that was done, restart the server.'
FROM server s, pg_catalog.pg_extension e WHERE e.extname = 'evsched'
UNION ALL
SELECT 3, 'worker slots', NOT s.short_of_workers,
       'max_worker_processes = ' || pg_catalog.current_setting('max_worker_processes')
       || CASE WHEN s.short_of_workers THEN ', and none is left for a scheduler' ELSE '' END,
       'Raise max_worker_processes and restart the server.'
FROM server s
UNION ALL
SELECT 4, 'scheduler', s.scheduler_pid IS NOT NULL OR s.standby,
       CASE WHEN s.standby THEN 'this is a standby: nothing runs here until it is promoted'
            WHEN s.scheduler_pid IS NOT NULL THEN 'process ' || s.scheduler_pid
            WHEN NOT s.enabled THEN 'evsched.enabled is off'
            ELSE 'no scheduler is running in this database' END,
       CASE WHEN s.enabled THEN 'See the items above and the server''s log.'
            ELSE 'Set evsched.enabled to on and restart the server.' END
FROM server s
UNION ALL
SELECT 5, 'started', NOT s.stopped,
       CASE WHEN s.stopped THEN 'this database was stopped' ELSE 'events are handed out' END,
       'SELECT evsched.start();'
FROM server s
UNION ALL
SELECT 6, 'clock', coalesce(t.last_clock_step_at < pg_catalog.clock_timestamp() - '1 hour'::interval, true),
       coalesce('set ' || t.clock_steps || ' times since ' || pg_catalog.date_trunc('second', t.stats_since)
                || ', the last time at ' || pg_catalog.date_trunc('second', t.last_clock_step_at),
                'nobody has set it'),
       'Let a time service slew the clock: what is due follows the clock when it is set.'
FROM (SELECT) AS always LEFT JOIN evsched._stat_scheduler() t ON t.last_clock_step_at IS NOT NULL
UNION ALL
SELECT 7, 'origin', w.to_start IS NULL,
       coalesce('what belongs to these owners was restored or copied from elsewhere and waits: ' || w.to_start,
                'the owners of all events and rules are bound here'),
       'SELECT evsched.start();'
FROM waiting w
UNION ALL
SELECT 8, 'missing roles', w.missing IS NULL,
       coalesce('what belongs to these owners waits, for there is no such role any more: ' || w.missing,
                'the owners of all events and rules are there'),
       'Cancel the events, remove the rules; or, if they were restored from elsewhere, create the roles and run SELECT evsched.start().'
FROM waiting w
UNION ALL
SELECT 9, 'rights', r.queues IS NULL,
       coalesce('events wait whose owners may not post to these queues (any more): ' || r.queues,
                'all owners may post where their events are'),
       'Grant it with evsched.grant_queue(), or cancel the events.'
FROM shut_in r
UNION ALL
SELECT 10, 'fence', NOT s.fence OR pg_catalog.current_setting('synchronous_standby_names') <> '',
       CASE WHEN NOT s.fence THEN 'evsched.fence is off'
            ELSE 'synchronous_standby_names = ' || pg_catalog.quote_literal(pg_catalog.current_setting('synchronous_standby_names')) END,
       'Set synchronous_standby_names: without it evsched.fence does nothing.'
FROM server s
UNION ALL
SELECT 11, 'dead events', d.n = 0,
       CASE WHEN d.n = 0 THEN 'none' WHEN d.n = 1000 THEN '1000 or more' ELSE d.n::text END
       || coalesce(', the last at ' || d.last, ''),
       'Look at evsched.dead_event; then redrive or discard them.'
FROM dead d
UNION ALL
SELECT 12, 'oldest lease', coalesce(s.oldest_lease < '1 hour', true),
       s.leases || ' of ' || s.max_leases || ' leases in use'
       || coalesce(', the oldest for ' || pg_catalog.date_trunc('second', s.oldest_lease), ''),
       'Look at evsched.events for who does not confirm.'
FROM server s
UNION ALL
SELECT 13, 'lease table', coalesce(s.leases < s.max_leases * 0.9, true),
       s.leases || ' of ' || s.max_leases || ' leases in use',
       'Raise evsched.max_leases and restart the server; beyond it events wait.'
FROM server s
UNION ALL
SELECT 14, 'vacuum', coalesce(o.age < '1 hour', true),
       coalesce(o.who || ' holds back vacuum: ' || o.xids || ' transactions' || coalesce(', for ' || o.age, ''),
                'nothing holds back vacuum'),
       'End that transaction, or drop that slot.'
FROM (SELECT) AS always LEFT JOIN oldest_snapshot o ON true
UNION ALL
SELECT 15, 'triggers', d.names IS NULL,
       coalesce('not enabled always: ' || d.names, 'all are enabled always'),
       'ALTER TABLE ... ENABLE ALWAYS TRIGGER ...: without them plain writes wake nobody.'
FROM disabled d
UNION ALL
SELECT 16, 'paused queues', true, coalesce(p.names, 'none'), NULL
FROM paused p
UNION ALL
SELECT 17, 'workers', coalesce(m.workers_in_all >= m.jobs, true) OR NOT m.used,
       coalesce('evsched.pools: ' || m.jobs || ' jobs at once; room for ' || m.workers_in_all
                || ' workers here: evsched.max_workers = ' || m.max_workers
                || ', other databases have ' || m.workers - m.workers_here
                || '; max_worker_processes = ' || pg_catalog.current_setting('max_worker_processes')
                || ', not in use or workers here: ' || m.free_processes + m.workers_here,
                'evsched is not loaded at server start: there are no workers'),
       'Raise max_worker_processes or evsched.max_workers, or make evsched.pools smaller; beyond it jobs wait.'
FROM room m
UNION ALL
SELECT 18, 'pools', NOT s.preloaded OR (m.jobs IS NULL AND m.messages IS NULL),
       CASE WHEN NOT s.preloaded THEN 'evsched is not loaded at server start: there are no pools'
            WHEN m.jobs IS NULL AND m.messages IS NULL THEN 'jobs wait in pools only, messages in other queues only'
            ELSE pg_catalog.concat_ws('; ', 'jobs wait in queues that are no pools: ' || m.jobs,
                                      'messages wait in pools: ' || m.messages) END,
       'Change evsched.pools back; or cancel them, and post them elsewhere.'
FROM server s, misplaced m
UNION ALL
SELECT 19, 'jobs', u.owners IS NULL AND t.roles IS NULL,
       CASE WHEN u.owners IS NULL AND t.roles IS NULL THEN 'the owners of all jobs have workers when they need them'
            ELSE pg_catalog.concat_ws('; ', 'jobs wait whose owners may not log in here, or not use schema evsched: ' || u.owners,
                                      'workers of these roles do not come up: ' || t.roles) END,
       'Give the roles LOGIN, CONNECT on the database and evsched.grant_usage(); else see the server''s log.'
FROM unfit u, stalled t
UNION ALL
SELECT 20, 'runs', coalesce(l.age < '1 day', true),
       coalesce('run ' || l.run_id || ' of event ' || l.event_id || ' in pool ' || l.pool || ', of ' || l.role
                || ', for ' || l.age || ', the longest of those under way',
                'none is under way'),
       'SELECT evsched.stop_run(...); and post such jobs with a run_timeout.'
FROM (SELECT) AS always LEFT JOIN longest_run l ON true
UNION ALL
SELECT 21, 'watches', l.paths IS NULL,
       coalesce('watched, and not (any more) a FIFO or unix socket: ' || l.paths,
                'what is watched is there'),
       'Make them again; or cancel the watches.'
FROM lost_path l;
COMMENT ON VIEW evsched._check IS 'internal: what check() returns';

CREATE FUNCTION evsched.check(OUT item text, OUT ok boolean, OUT detail text, OUT fix text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_check';
COMMENT ON FUNCTION evsched.check() IS 'is everything as it should be, and if not, what is to be done';


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

CREATE VIEW evsched._check AS
WITH server AS (
    SELECT * FROM evsched._server()
), unbound AS (
    -- owners of events that came from elsewhere, or whose role was dropped
    SELECT r.name, r.origin <> 'dropped' AND (r.origin <> s.origin OR b.n IS NULL) AS restored,
           EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.rolname = r.name) AS has_role
    FROM evsched.role r
    CROSS JOIN server s
    LEFT JOIN evsched.role_binding b ON b.n = r.n
    WHERE (r.origin <> s.origin
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.oid = b.role))
      AND (EXISTS (SELECT FROM evsched.event e WHERE e.owner = r.n)
           OR EXISTS (SELECT FROM evsched.queue q WHERE q.owner = r.n))
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
       coalesce('events of these owners were restored or copied from elsewhere and wait: ' || w.to_start,
                'the owners of all events are bound here'),
       'SELECT evsched.start();'
FROM waiting w
UNION ALL
SELECT 8, 'missing roles', w.missing IS NULL,
       coalesce('events of these owners wait, for there is no such role any more: ' || w.missing,
                'the owners of all events are there'),
       'Cancel the events; or, if they were restored from elsewhere, create the roles and run SELECT evsched.start().'
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
FROM paused p;
COMMENT ON VIEW evsched._check IS 'internal: what check() returns';

CREATE FUNCTION evsched.check(OUT item text, OUT ok boolean, OUT detail text, OUT fix text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_check';
COMMENT ON FUNCTION evsched.check() IS 'is everything as it should be, and if not, what is to be done';


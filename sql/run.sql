-- The runs of jobs.

CREATE FUNCTION evsched.result(id bigint, OUT state text, OUT result jsonb, OUT error text)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_result';
COMMENT ON FUNCTION evsched.result(bigint) IS 'what became of the last run of an event or a series';

CREATE FUNCTION evsched.stop_run(run_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_stop_run';
COMMENT ON FUNCTION evsched.stop_run(bigint) IS 'ends a run that is under way; false when there is none';

CREATE FUNCTION evsched._workers(OUT worker int, OUT pid int, OUT role oid, OUT state text,
        OUT pool text, OUT event_id bigint, OUT recurring bigint, OUT run_id bigint,
        OUT owner int, OUT started_at timestamptz, OUT hired_at timestamptz,
        OUT runs bigint, OUT failed bigint, OUT busy_ms double precision,
        OUT lateness_p50 interval, OUT lateness_p99 interval, OUT lateness_max interval,
        OUT lateness_counts bigint[], OUT lateness_bounds interval[]) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_workers';
COMMENT ON FUNCTION evsched._workers() IS 'internal: the workers of this database that the caller may see';

CREATE VIEW evsched.run WITH (security_barrier) AS
    SELECT r.id AS run_id, r.event_id, r.recurring, r.command, r.worker, r.started_at, r.ended_at,
           r.state, r.result, r.sqlstate, r.message, r.rows, r.cpu_ms, r.wal_bytes, r.shared_blks,
           r.queue AS pool, n.name AS owner
    FROM evsched.run_record r
    LEFT JOIN evsched.role n ON n.n = r.owner
    WHERE evsched._sees(r.owner, NULL)
    UNION ALL
    SELECT w.run_id, w.event_id, w.recurring, e.command, w.worker, w.started_at, NULL,
           'running', NULL, NULL, NULL, NULL, NULL, NULL, NULL, w.pool, n.name
    FROM evsched._workers() w
    LEFT JOIN evsched.event e ON e.id = w.event_id
    LEFT JOIN evsched.role n ON n.n = w.owner
    WHERE w.run_id IS NOT NULL AND evsched._sees(w.owner, NULL)
      AND NOT EXISTS (SELECT FROM evsched.run_record r WHERE r.id = w.run_id);
COMMENT ON VIEW evsched.run IS 'the runs of jobs: those under way, and those that are kept as history';


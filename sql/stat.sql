-- Counters, from shared memory.

CREATE FUNCTION evsched._stat_queue(OUT queue text, OUT posted bigint, OUT delivered bigint,
        OUT taken bigint, OUT received bigint, OUT confirmed bigint, OUT failed bigint,
        OUT dead bigint, OUT cancelled bigint, OUT listeners int, OUT unconfirmed int,
        OUT lateness_p50 interval, OUT lateness_p99 interval, OUT lateness_max interval,
        OUT lateness_counts bigint[], OUT lateness_bounds interval[],
        OUT stats_since timestamptz, OUT succeeded bigint, OUT lost bigint) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_stat_queue';
COMMENT ON FUNCTION evsched._stat_queue() IS 'internal: counters of the queues that the caller may see';

CREATE FUNCTION evsched._stat_scheduler(OUT pid int, OUT started_at timestamptz,
        OUT starts bigint, OUT turns bigint, OUT busy_turns bigint, OUT wakeups bigint,
        OUT delivered bigint, OUT notifications bigint, OUT clock_steps bigint,
        OUT last_clock_step_at timestamptz,
        OUT lateness_p50 interval, OUT lateness_p99 interval, OUT lateness_max interval,
        OUT lateness_counts bigint[], OUT lateness_bounds interval[],
        OUT stats_since timestamptz) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_stat_scheduler';
COMMENT ON FUNCTION evsched._stat_scheduler() IS 'internal: counters of the scheduler';

CREATE VIEW evsched.stat_queue WITH (security_barrier) AS
    SELECT q.queue, q.posted, q.delivered, q.taken, q.received, q.confirmed, q.failed, q.dead,
           q.cancelled, q.listeners, q.unconfirmed, q.lateness_p50, q.lateness_p99,
           q.lateness_max, q.lateness_counts, q.lateness_bounds, q.stats_since, q.succeeded, q.lost
    FROM evsched._stat_queue() q;
COMMENT ON VIEW evsched.stat_queue IS 'what was counted for each queue, and how late its events were handed to listeners, or run';

CREATE VIEW evsched.stat_scheduler WITH (security_barrier) AS
    SELECT s.pid, s.started_at, s.starts, s.turns, s.busy_turns, s.wakeups, s.delivered,
           s.notifications, s.clock_steps, s.last_clock_step_at, s.lateness_p50,
           s.lateness_p99, s.lateness_max, s.lateness_counts, s.lateness_bounds, s.stats_since
    FROM evsched._stat_scheduler() s;
COMMENT ON VIEW evsched.stat_scheduler IS 'what was counted for the scheduler of this database';

CREATE VIEW evsched.stat_worker WITH (security_barrier) AS
    SELECT w.worker, w.pid, pg_catalog.pg_get_userbyid(w.role) AS role, w.state, w.pool, w.event_id,
           w.recurring, w.run_id, w.started_at AS run_started_at, w.hired_at AS started_at, w.runs,
           w.failed, w.busy_ms, w.lateness_p50, w.lateness_p99, w.lateness_max, w.lateness_counts,
           w.lateness_bounds
    FROM evsched._workers() w;
COMMENT ON VIEW evsched.stat_worker IS 'the worker processes of this database: what each has run and runs now, and how late its runs began';

CREATE FUNCTION evsched.metrics() RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_metrics';
COMMENT ON FUNCTION evsched.metrics() IS 'the counters as text in the exposition format of Prometheus';


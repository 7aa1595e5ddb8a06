-- Counters, from shared memory.

CREATE FUNCTION evsched._stat_queue(OUT queue text, OUT posted bigint, OUT delivered bigint,
        OUT taken bigint, OUT received bigint, OUT confirmed bigint, OUT failed bigint,
        OUT dead bigint, OUT cancelled bigint, OUT listeners int, OUT unconfirmed int,
        OUT lateness_p50 interval, OUT lateness_p99 interval, OUT lateness_max interval,
        OUT lateness_counts bigint[], OUT lateness_bounds interval[],
        OUT stats_since timestamptz) RETURNS SETOF record
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
           q.lateness_max, q.lateness_counts, q.lateness_bounds, q.stats_since
    FROM evsched._stat_queue() q;
COMMENT ON VIEW evsched.stat_queue IS 'what was counted for each queue, and how late its events were handed to listeners';

CREATE VIEW evsched.stat_scheduler WITH (security_barrier) AS
    SELECT s.pid, s.started_at, s.starts, s.turns, s.busy_turns, s.wakeups, s.delivered,
           s.notifications, s.clock_steps, s.last_clock_step_at, s.lateness_p50,
           s.lateness_p99, s.lateness_max, s.lateness_counts, s.lateness_bounds, s.stats_since
    FROM evsched._stat_scheduler() s;
COMMENT ON VIEW evsched.stat_scheduler IS 'what was counted for the scheduler of this database';

CREATE FUNCTION evsched.metrics() RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_metrics';
COMMENT ON FUNCTION evsched.metrics() IS 'the counters as text in the exposition format of Prometheus';


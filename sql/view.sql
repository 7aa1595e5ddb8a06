-- Looking at it.  Each role sees what it owns or whose owner it is a member of, and what
-- is in queues that it may consume; superusers see everything.

CREATE FUNCTION evsched._sees(owner int, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_sees';
COMMENT ON FUNCTION evsched._sees(int, text) IS 'internal: may current_user know of an event of that owner in that queue, or (null) of a job of his?';

CREATE FUNCTION evsched._leases(OUT id bigint, OUT kind text, OUT node text, OUT pid int,
        OUT deadline timestamptz) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_leases';
COMMENT ON FUNCTION evsched._leases() IS 'internal: who holds which event';

CREATE FUNCTION evsched._listeners(OUT node text, OUT queue text, OUT pid int,
        OUT max_events int, OUT unconfirmed int, OUT joined_at timestamptz,
        OUT last_confirmed_at timestamptz, OUT role oid) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_listeners';
COMMENT ON FUNCTION evsched._listeners() IS 'internal: who has joined';

CREATE FUNCTION evsched._queues(OUT queue text, OUT listeners int, OUT unconfirmed int,
        OUT starving boolean) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_queues';
COMMENT ON FUNCTION evsched._queues() IS 'internal: the queues in shared memory';

CREATE VIEW evsched.events WITH (security_barrier) AS
    SELECT e.id, e.queue, e.key,
           CASE WHEN l.id IS NOT NULL THEN 'delivered'
                WHEN e.paused THEN 'paused'
                WHEN e.due_at <= pg_catalog.clock_timestamp() THEN 'ready'
                ELSE 'scheduled' END AS state,
           e.due_at, e.payload, e.command, e.recurring,
           e.max_retries, e.num_retries, e.retry_delay, e.last_error,
           r.name AS owner, l.node, l.pid, l.deadline
    FROM evsched.event e
    LEFT JOIN evsched._leases() l ON l.id = e.id
    LEFT JOIN evsched.role r ON r.n = e.owner
    WHERE e.recurring IS DISTINCT FROM e.id AND evsched._sees(e.owner, CASE WHEN e.command IS NULL THEN e.queue END);
COMMENT ON VIEW evsched.events IS 'every live event with its state and who holds it until when';

CREATE VIEW evsched.series WITH (security_barrier) AS
    SELECT e.id, e.queue, e.key, c.schedule, c.period, c.time_zone, c.start_at, w.next_at,
           coalesce(e.paused, false) AS paused, c.missed, c.overlap, e.payload, e.command,
           e.max_retries, e.retry_delay, e.run_timeout, r.name AS owner,
           c.channel, c.path
    FROM evsched.recurrence c
    JOIN evsched.event e ON e.id = c.id
    LEFT JOIN LATERAL (SELECT o.due_at AS next_at FROM evsched.event o
                       WHERE o.recurring = c.id AND o.planned_at IS NOT NULL
                       ORDER BY o.planned_at DESC LIMIT 1) w ON true
    LEFT JOIN evsched.role r ON r.n = e.owner
    WHERE evsched._sees(e.owner, CASE WHEN e.command IS NULL THEN e.queue END);
COMMENT ON VIEW evsched.series IS 'what recurs: its schedule or period, and when it comes next; what is watched';

CREATE VIEW evsched.dead_event WITH (security_barrier) AS
    SELECT d.id, d.queue, d.key, d.payload, d.command, r.name AS owner, d.recurring,
           d.num_retries, d.died_at, d.why, d.sqlstate
    FROM evsched.dead d
    LEFT JOIN evsched.role r ON r.n = d.owner
    WHERE evsched._sees(d.owner, CASE WHEN d.command IS NULL THEN d.queue END);
COMMENT ON VIEW evsched.dead_event IS 'events that were given up';

CREATE VIEW evsched.listeners WITH (security_barrier) AS
    SELECT l.node, l.queue, l.pid, l.max_events, l.unconfirmed, l.joined_at, l.last_confirmed_at
    FROM evsched._listeners() l;
COMMENT ON VIEW evsched.listeners IS 'the sessions that have joined a queue';

CREATE VIEW evsched.queues WITH (security_barrier) AS
    SELECT coalesce(q.queue, s.name) COLLATE "default" AS queue, coalesce(q.listeners, 0) AS listeners,
           coalesce(q.unconfirmed, 0) AS unconfirmed, coalesce(q.starving, false) AS starving,
           r.name AS owner, s.max_retries, s.retry_delay, coalesce(s.paused, false) AS paused
    FROM evsched._queues() q
    FULL JOIN evsched.queue s ON s.name = q.queue
    LEFT JOIN evsched.role r ON r.n = s.owner
    WHERE evsched._sees(s.owner, coalesce(q.queue, s.name));
COMMENT ON VIEW evsched.queues IS 'the queues in use or with settings: listeners, events delivered and unconfirmed, whether due events wait for a credit, owner';

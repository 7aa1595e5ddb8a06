"""What the jobs and the series of the fault run do, as the server has it.

Each job writes one row into torture.effect: its effect.  The payload of a job says what it
is to go through before:

    version   who posted it, and as the how manieth
    pool      in pool active it must be alone
    fails     how many tries fail, after the effect has been written
    again     how many times it reschedules itself, with an effect each time
    sleep     seconds
    lock      a row that others want, too
    slow      it is sure to exceed its run_timeout

The kind of an effect is job; before a COMMIT that stands in the job: first; of the second
job of next and work: body; of a step of a coroutine (stepper.py): step, with its number; of an
error handler: handler, and its version is the event that has failed.
"""

SETUP = """
CREATE TABLE torture.effect (
    event bigint, run bigint, series bigint, version text, kind text, who name, login name,
    due timestamptz, planned timestamptz, tries int, began timestamptz, clean boolean,
    alone boolean, step int);
CREATE INDEX ON torture.effect (event);
CREATE TABLE torture.beat (
    series bigint, event bigint, version text, planned timestamptz, at timestamptz);
CREATE TABLE torture.wanted AS SELECT n FROM generate_series(0, 2) n;
CREATE TABLE torture.dusty AS SELECT 1 AS n;

CREATE FUNCTION torture.planned(number bigint) RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
    'SELECT planned_at FROM evsched.event WHERE id = number';

CREATE FUNCTION torture.effect(kind text, version text, pool text, step int DEFAULT NULL)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO torture.effect
    SELECT e.id, e.run_id, e.recurring, version, kind, current_user, session_user, e.due_at,
           torture.planned(e.id), e.num_retries, clock_timestamp(),
           coalesce(current_setting('torture.worn', true), '') = '' AND NOT EXISTS
           (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
           pool <> 'active' OR pg_try_advisory_xact_lock(1), step
    FROM evsched.current_event() e
$$;

CREATE FUNCTION torture.toil(spec jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- What stays in the session: the next job must not find it.
    PERFORM pg_advisory_lock_shared(2), set_config('torture.worn', 'yes', false);
    IF spec ? 'lock' THEN
        PERFORM FROM torture.wanted WHERE n = (spec->>'lock')::int FOR UPDATE;
    END IF;
    PERFORM pg_sleep((spec->>'sleep')::float8);
    IF spec ? 'slow' THEN
        PERFORM pg_sleep(3600);
    END IF;
    IF (SELECT num_retries FROM evsched.current_event()) < (spec->>'fails')::int THEN
        RAISE EXCEPTION 'torture: as it was told to' USING ERRCODE = 'TT001';
    END IF;
END
$$;

CREATE FUNCTION torture.job(spec jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    number bigint := (SELECT id FROM evsched.current_event());
BEGIN
    PERFORM torture.effect('job', spec->>'version', spec->>'pool');
    PERFORM torture.toil(spec);
    IF (SELECT count(*) <= (spec->>'again')::int FROM torture.effect WHERE event = number) THEN
        PERFORM evsched.reschedule(number, '20 ms');
    END IF;
    RETURN spec->>'version';
END
$$;

CREATE PROCEDURE torture.in_two(spec jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM torture.effect('first', spec->>'version', spec->>'pool');
    COMMIT;
    PERFORM torture.effect('job', spec->>'version', spec->>'pool');
    PERFORM torture.toil(spec);
END
$$;

CREATE FUNCTION torture.body(version jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM torture.effect('body', version #>> '{}', 'active');
    PERFORM pg_sleep(random() * 0.02);
END
$$;

CREATE FUNCTION torture.handler(error jsonb) RETURNS void
LANGUAGE sql AS $$
    SELECT torture.effect('handler', error->>'event_id', 'active')
$$;
"""

GRANTS = """
CREATE ROLE {role} LOGIN;
SELECT evsched.grant_usage('{role}');
GRANT USAGE ON SCHEMA torture TO {role};
GRANT ALL ON ALL TABLES IN SCHEMA torture TO {role};
"""

HANDLER = "SELECT evsched.on_error('SELECT torture.handler($1)')"

# The commands of jobs.  What stands before a VACUUM is committed without it.
PLAIN = "SELECT torture.job($1)"
SPLIT = "SELECT 1; UPDATE torture.dusty SET n = n + 1 WHERE n < 0; SELECT torture.job($1)"
IN_TWO = "CALL torture.in_two($1)"
SWEEP = "SELECT torture.effect('first', $1->>'version', $1->>'pool');" \
    " VACUUM torture.dusty; SELECT torture.job($1)"
BODY = "SELECT torture.body($1)"

# What the judge reads of it; times in seconds, those of plans in microseconds.
EFFECTS = """
SELECT event, run, series, version, kind, who, login, extract(epoch FROM due)::float8 AS due,
       (extract(epoch FROM planned) * 1000000)::bigint AS planned, tries,
       extract(epoch FROM began)::float8 AS began, clean, alone, step
FROM torture.effect ORDER BY began"""
BEATS = """
SELECT series, event, version, (extract(epoch FROM planned) * 1000000)::bigint AS planned,
       extract(epoch FROM at)::float8 AS at
FROM torture.beat ORDER BY at"""
RUNS = """
SELECT run_id AS id, event_id AS event, recurring AS series, pool, owner, worker, state,
       sqlstate, message, extract(epoch FROM started_at)::float8 AS began,
       extract(epoch FROM ended_at)::float8 AS ended
FROM evsched.run WHERE pool IS NOT NULL ORDER BY started_at, run_id"""
DEAD = """
SELECT d.id, d.queue AS pool, d.max_retries AS max, d.num_retries AS tries, d.why, d.sqlstate,
       d.recurring AS series, d.payload, d.body IS NOT NULL AS op, d.handles,
       v.owner, extract(epoch FROM d.died_at)::float8 AS at
FROM evsched.dead d LEFT JOIN evsched.dead_event v USING (id) WHERE d.command IS NOT NULL"""

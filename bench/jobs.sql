-- The yardstick for jobs: a queue of commands in plain SQL. The jobs are rows of
-- bench.event; the history has the columns and indexes of evsched's. The psql variable
-- `role` is who posts and works. It is drained in three ways: by statements of a client
-- (part/jobs.pgbench), by a function that the client calls once a job, and by a procedure
-- that commits after each.
CREATE TABLE bench.run (LIKE evsched.run_record);
CREATE SEQUENCE bench.run_id AS bigint CACHE 32 OWNED BY bench.run.id;
ALTER TABLE bench.run ALTER id SET DEFAULT nextval('bench.run_id');
ALTER TABLE bench.run ADD PRIMARY KEY (id);
CREATE INDEX ON bench.run (event_id, id);
CREATE INDEX ON bench.run (recurring, id) WHERE recurring IS NOT NULL;

-- Events that were posted, and when they were to start.
CREATE TABLE bench.posted (id bigint, at timestamptz);

CREATE FUNCTION bench.work_off_one() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz := clock_timestamp();
    job record;
    result jsonb;
BEGIN
    DELETE FROM bench.event
    WHERE ctid = (SELECT ctid FROM bench.event WHERE queue = 'passive' AND due_at <= now()
                  ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, command, owner INTO job;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT to_jsonb(row) FROM (' || job.command || ') AS row' INTO result;
    INSERT INTO bench.run (event_id, owner, worker, started_at, ended_at, rows, queue, state,
                           command, result)
    VALUES (job.id, job.owner, 1, begun, clock_timestamp(), 1, 'passive', 'succeeded',
            job.command, result);
    RETURN true;
END
$$;

CREATE PROCEDURE bench.work_off_all() LANGUAGE plpgsql AS $$
BEGIN
    WHILE bench.work_off_one() LOOP
        COMMIT;
    END LOOP;
END
$$;

GRANT SELECT, INSERT, DELETE ON bench.run, bench.posted TO :"role";
GRANT USAGE ON SEQUENCE bench.run_id TO :"role";

-- As much history as is kept: each run that is added then has an old one to remove.
INSERT INTO evsched.run_record (event_id, worker, started_at, ended_at, queue, state, command)
SELECT 0, 1, now(), now(), 'passive', 'succeeded', 'select 1'
FROM generate_series(1, current_setting('evsched.history_rows')::int);

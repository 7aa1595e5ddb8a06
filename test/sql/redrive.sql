-- Dead events: kept until redriven or discarded.

-- whatever another script has left
DELETE FROM evsched.event;

-- What a command comes to: ok, or its SQLSTATE and hint.
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;

-- An event that was given up.
CREATE FUNCTION pg_temp.bury(payload jsonb, queue text DEFAULT 'redrive', key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE id bigint := evsched.post(payload, '-1 h', queue, key, 1, 'error', '7 s');
BEGIN
    IF NOT (evsched.reject(id, '-1 h') AND evsched.reject(id, error => 'no luck')) THEN
        RAISE 'not dead';
    END IF;
    RETURN id;
END $$;

CREATE TEMP VIEW live AS
    SELECT id, queue, key, payload, state, num_retries AS failed, max_retries AS retries, retry_delay
    FROM evsched.events ORDER BY id;
CREATE TEMP VIEW dead AS
    SELECT id, queue, key, payload, num_retries AS failed, why, sqlstate
    FROM evsched.dead_event ORDER BY died_at, id;

--
-- redrive(ids): same id, due now, num_retries 0, everything else as it was
--
SELECT pg_temp.bury('{"n": 1}', key => 'k') AS a \gset
SELECT pg_temp.bury('{"n": 2}') AS b \gset
SELECT pg_temp.bury('{"n": 3}', 'redrive2') AS c \gset
SELECT queue, key, payload, why, sqlstate FROM dead;
SELECT count(*) FROM evsched.event;
SELECT evsched.redrive(ARRAY[:a]::bigint[]);
SELECT id = :a AS same, queue, key, payload, state, failed, retries, retry_delay FROM live;
SELECT due_at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp() AS due_now, owner = current_user AS mine
FROM evsched.events;
SELECT queue, key, payload FROM dead;
-- it lives again: with all its retries
SELECT payload, num_retries, max_retries FROM evsched.receive('redrive', 5, '1 h');
SELECT evsched.reject(:a, '-1 s');
SELECT payload, num_retries FROM evsched.receive('redrive', 5, '1 h');
SELECT evsched.reject(:a);
SELECT id = :a AS same, payload FROM dead;
-- those that are not dead do not count, nor does one twice
SELECT evsched.redrive(ARRAY[:a, :a, NULL, :b, 0, -1]::bigint[]);
SELECT payload, state FROM live;
SELECT evsched.redrive(ARRAY[:a, :b]::bigint[]) AS again, evsched.redrive('{}'::bigint[]) AS none,
       evsched.redrive('{NULL}'::bigint[]) AS nulls;
SELECT payload FROM evsched.take('redrive', 5) ORDER BY id;
SELECT evsched.redrive(ARRAY[:a, :b]::bigint[]) AS taken;
SELECT payload FROM dead;
SELECT evsched.discard(ARRAY[:c]::bigint[]);

--
-- redrive(queue): all of a queue, or the oldest ones
--
SELECT pg_temp.bury('1') AS a \gset
SELECT pg_temp.bury('2') AS b \gset
SELECT pg_temp.bury('3') AS c \gset
SELECT pg_temp.bury('4') AS d \gset
SELECT pg_temp.bury('5', 'redrive2') AS e \gset
SELECT evsched.redrive('redrive', 1);
SELECT payload FROM evsched.take('redrive', 5);
SELECT evsched.redrive(max_events => 2, queue => 'redrive');
SELECT queue, payload FROM dead;
SELECT payload FROM evsched.take('redrive', 5) ORDER BY id;
SELECT evsched.redrive('redrive');
SELECT evsched.redrive('redrive') AS again, evsched.redrive('unknown') AS unknown;
SELECT queue, payload FROM dead;
SELECT payload FROM evsched.take('redrive', 5);
SELECT evsched.redrive('redrive2', NULL);
SELECT payload FROM evsched.take('redrive2', 5);
SELECT pg_temp.bury('6') IS NOT NULL AS dead, pg_temp.bury('7') IS NOT NULL AS dead;
SELECT evsched.redrive('redrive', 1000);
SELECT payload FROM evsched.take('redrive', 5) ORDER BY id;

--
-- its key, if free
--
SELECT pg_temp.bury('"dead"', key => 'k') AS a \gset
SELECT evsched.post('"alive"', '1 h', 'redrive', 'k') AS b \gset
SELECT evsched.post('"elsewhere"', '1 h', 'redrive2', 'k') AS c \gset
SELECT evsched.redrive(ARRAY[:a]::bigint[]);
SELECT id = :a AS redriven, queue, key, payload, state FROM live;
DELETE FROM evsched.event;
SELECT pg_temp.bury('"dead"', key => 'k') AS a \gset
SELECT evsched.post('"elsewhere"', '1 h', 'redrive2', 'k') AS c \gset
SELECT evsched.redrive('redrive');
SELECT id = :a AS redriven, queue, key, payload, state FROM live;
SELECT evsched.cancel('k', 'redrive');
DELETE FROM evsched.event;
-- of several dead ones with the same key, one gets it
SELECT pg_temp.bury('1', key => 'k') AS a \gset
SELECT pg_temp.bury('2', key => 'k') AS b \gset
SELECT pg_temp.bury('3', key => 'k') AS c \gset
\set VERBOSITY sqlstate
SELECT evsched.redrive(ARRAY[:c, :b, :a]::bigint[]);
SELECT count(*), count(key) FROM live;
SELECT count(*) FROM evsched.take('redrive', 5);
SELECT payload FROM dead;
SELECT evsched.discard(coalesce(array_agg(id), '{}')) AS left FROM dead;
SELECT pg_temp.bury('1', key => 'k') AS a \gset
SELECT pg_temp.bury('2', key => 'k') AS b \gset
SELECT evsched.redrive('redrive');
SELECT count(*), count(key) FROM live;
SELECT count(*) FROM evsched.take('redrive', 5);
SELECT payload FROM dead;
SELECT evsched.discard(coalesce(array_agg(id), '{}')) AS left FROM dead;
\set VERBOSITY default

--
-- discard: for good
--
SELECT pg_temp.bury('1') AS a \gset
SELECT pg_temp.bury('2') AS b \gset
SELECT pg_temp.bury('3') AS c \gset
SELECT evsched.post('"alive"', '1 h') AS d \gset
SELECT evsched.discard(ARRAY[:a, :a, NULL, 0, :d]::bigint[]);
SELECT evsched.discard(ARRAY[:a]::bigint[]) AS again, evsched.discard('{}') AS none;
SELECT payload FROM dead;
SELECT payload, state FROM live;
SELECT evsched.discard(ARRAY[:b, :c]::bigint[]);
SELECT count(*) FROM dead;
SELECT evsched.redrive(ARRAY[:a, :b, :c]::bigint[]);
SELECT evsched.cancel(:d);

--
-- in the caller's transaction
--
SELECT pg_temp.bury('1') AS a \gset
BEGIN;
SELECT evsched.redrive(ARRAY[:a]::bigint[]);
SELECT payload FROM evsched.take('redrive');
ROLLBACK;
SELECT payload FROM dead;
SELECT count(*) FROM evsched.take('redrive');
BEGIN;
SAVEPOINT s;
SELECT evsched.redrive('redrive');
ROLLBACK TO s;
SELECT evsched.discard(ARRAY[:a]::bigint[]);
ROLLBACK;
SELECT payload FROM dead;
BEGIN;
SELECT evsched.redrive('redrive');
SELECT evsched.reject(:a, '-1 s'), evsched.reject(:a);
SELECT payload FROM dead;
SELECT evsched.discard(ARRAY[:a]::bigint[]);
COMMIT;
SELECT count(*) FROM dead;
SELECT count(*) FROM evsched.event;

--
-- wrong input: 22023, a hint, and nothing changed
--
SELECT pg_temp.bury('"untouched"') AS a \gset
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$redrive(NULL::text)$$),
    ($$redrive('')$$),
    ($$redrive(repeat('q', 64))$$),
    ($$redrive('redrive', 0)$$),
    ($$redrive('redrive', -1)$$),
    ($$redrive(NULL::bigint[])$$),
    ($$discard(NULL)$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT payload FROM dead;
SELECT evsched.discard(ARRAY[:a]::bigint[]);

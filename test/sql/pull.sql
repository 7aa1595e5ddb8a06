-- Consuming without joining: take, receive, fetch.

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

CREATE TEMP VIEW live AS
    SELECT id, queue, payload, state, num_retries AS failed FROM evsched.events ORDER BY id;

-- An event of each number, due as many minutes ago.
CREATE FUNCTION pg_temp.post(queue text, minutes int[], max_retries int DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(evsched.post(to_jsonb(m), make_interval(mins => -m), queue, max_retries => max_retries))
    FROM unnest(minutes) m
$$;

--
-- take
--
-- by (due_at, id), as many as asked for; one, of the default queue, unless told otherwise
SELECT pg_temp.post('take', '{3,9,1,-60,7,5}');
INSERT INTO evsched.event (queue, due_at, payload)
    VALUES ('take', '2001-01-01', '"equal 1"'), ('take', '2001-01-01', '"equal 2"'), ('take', '2000-01-01', '"older"'),
           ('take', '-infinity', '"since ever"'), ('take', 'infinity', '"never"');
SELECT evsched.post('"of default"') AS a \gset
SELECT payload FROM evsched.take('take', 4);
SELECT payload FROM evsched.take('take');
SELECT payload FROM evsched.take(queue => 'take', max_events => 2);
SELECT payload FROM evsched.take();
SELECT payload FROM evsched.take('take', 2147483647);
SELECT payload FROM evsched.take('take', 10);
SELECT queue, payload, state FROM live;
SELECT count(*) FROM evsched.dead_event;
DELETE FROM evsched.event;

-- what is told of each; NULL arguments are defaults
SELECT evsched.post_at('{"a": 1}', '2001-02-03 04:05:06.789012+00', 'default', 'k', 5, retry_delay => '0') AS a \gset
SELECT evsched.reject(:a, '-1 s');
UPDATE evsched.event SET due_at = '2001-02-03 04:05:06.789012+00';
SELECT evsched.post_at('{"a": 2}', '2001-02-04 04:05:06+00') AS b \gset
CREATE TEMP TABLE taken AS SELECT * FROM evsched.take(NULL, NULL);
INSERT INTO taken SELECT * FROM evsched.take(max_events => NULL);
SELECT id = :a AS a, id = :b AS b, recurring, key, queue, payload, due_at AT TIME ZONE 'UTC' AS due_at, max_retries,
       num_retries FROM taken;

-- a rollback puts them back at once, uncounted, and in their places
SELECT pg_temp.post('take', '{4,3,2,1}', 1);
BEGIN;
SELECT payload FROM evsched.take('take', 3);
SELECT payload, state FROM live;
ROLLBACK;
SELECT payload, state, failed FROM live;
SELECT payload, num_retries FROM evsched.take('take', 2);

-- as does that of a savepoint, within the same transaction
BEGIN;
SAVEPOINT s;
SELECT payload FROM evsched.take('take');
SELECT payload FROM evsched.take('take');
SELECT payload FROM evsched.take('take');
ROLLBACK TO s;
SELECT payload FROM evsched.take('take');
SAVEPOINT t;
SELECT payload FROM evsched.take('take');
RELEASE t;
COMMIT;
SELECT payload FROM evsched.take('take');
SELECT count(*) FROM evsched.event;

-- an error within a function is a rollback, too
SELECT pg_temp.post('take', '{1}');
DO $$
BEGIN
    PERFORM * FROM evsched.take('take');
    RAISE 'no luck';
EXCEPTION WHEN raise_exception THEN
    RAISE NOTICE '% after all', (SELECT payload FROM evsched.take('take'));
END $$;
SELECT count(*) FROM evsched.event;

-- in the transaction that posts, postpones, advances, cancels
BEGIN;
SELECT evsched.post('"own"', NULL, 'take') AS a \gset
SELECT evsched.post('"own, future"', '1 h', 'take') AS b \gset
SELECT payload FROM evsched.take('take', 10);
SELECT evsched.change_delay(:b, '-1 s');
SELECT payload FROM evsched.take('take', 10);
SELECT evsched.post('"cancelled"', NULL, 'take') AS c \gset
SELECT evsched.cancel(:c);
SELECT payload FROM evsched.take('take', 10);
ROLLBACK;
SELECT count(*) FROM evsched.take('take', 10);

-- ... and within savepoints of it
BEGIN;
SAVEPOINT a;
SELECT evsched.post('"of a"', '-1 h', 'take') > 0 AS posted;
SAVEPOINT b;
SELECT payload FROM evsched.take('take', 10);
ROLLBACK TO b;
SELECT payload FROM evsched.take('take', 10);
ROLLBACK TO a;
SELECT payload FROM evsched.take('take', 10);
SELECT evsched.post('"of a, again"', '-1 h', 'take') > 0 AS posted;
SAVEPOINT c;
SELECT payload FROM evsched.take('take', 10);
RELEASE c;
ROLLBACK TO a;
SELECT evsched.post('"kept"', '-1 h', 'take') > 0 AS posted;
COMMIT;
SELECT payload FROM evsched.take('take', 10);

-- what becomes due before the place where the last call stopped is found
SELECT pg_temp.post('take', '{5,4,3}');
SELECT payload FROM evsched.take('take', 1);
SELECT pg_temp.post('take', '{6}');
SELECT payload FROM evsched.take('take', 1);
SELECT payload FROM evsched.take('take', 10);
SELECT pg_temp.post('take', '{9,8}');
SELECT payload FROM evsched.take('take', 10);

-- a whole queue in order, each once, some of them twice for a rollback
SELECT count(*) FROM evsched.post_many((SELECT array_agg(to_jsonb(i) ORDER BY i) FROM generate_series(1, 1000) i),
                                       (SELECT array_agg(make_interval(secs => i - 2000) ORDER BY i) FROM generate_series(1, 1000) i),
                                       'take');
CREATE TEMP TABLE seen (n serial, payload int);
DO $$
BEGIN
    FOR i IN 1..1000 / 8 LOOP
        BEGIN
            INSERT INTO seen (payload) SELECT t.payload::int FROM evsched.take('take', 8) t;
            IF i % 3 = 0 THEN
                RAISE 'no luck';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            INSERT INTO seen (payload) SELECT t.payload::int FROM evsched.take('take', 8) t;
        END;
        COMMIT;
    END LOOP;
END $$;
SELECT count(*), count(DISTINCT payload), bool_and(payload > coalesce(before, 0)) AS in_order
FROM (SELECT payload, lag(payload) OVER (ORDER BY n) AS before FROM seen) s;
SELECT count(*) FROM evsched.event;

-- take in the transaction that works: both or none
SELECT pg_temp.post('take', '{1}');
CREATE TEMP TABLE work AS SELECT payload FROM evsched.take('take') WITH NO DATA;
SELECT count(*) FROM evsched.event;
BEGIN;
INSERT INTO work SELECT payload FROM evsched.take('take');
ROLLBACK;
INSERT INTO work SELECT payload FROM evsched.take('take');
SELECT * FROM work;
SELECT count(*) FROM evsched.event;

-- not in a read only transaction
SELECT pg_temp.post('take', '{1}', 1);
\set VERBOSITY sqlstate
BEGIN READ ONLY;
SELECT evsched.take('take');
ROLLBACK;
BEGIN READ ONLY;
SELECT evsched.receive('take');
ROLLBACK;
\set VERBOSITY default
SELECT payload, state FROM live;
DELETE FROM evsched.event;

--
-- receive
--
-- by (due_at, id), leased: not handed out again until the lease is over
SELECT pg_temp.post('receive', '{3,9,1,-60,7,5}', 2);
SELECT payload, max_retries, num_retries FROM evsched.receive('receive', 3, '1 h');
SELECT payload, state FROM live;
SELECT payload FROM evsched.receive('receive', 1, '1 h');
SELECT payload FROM evsched.take('receive', 10);
SELECT payload FROM evsched.receive(conf_timeout => '1 h', max_events => 10, queue => 'receive');
SELECT evsched.confirm(array_agg(id)) FROM evsched.event;
SELECT payload, state FROM live;
SELECT payload FROM evsched.receive('receive', 10, '1 h');
DELETE FROM evsched.event;

-- who holds them until when; 10 s unless told otherwise
SELECT pg_temp.post('receive', '{4,3}', 2);
SELECT pg_temp.post('default', '{2,1}', 2);
SELECT payload, recurring, key, queue, due_at < clock_timestamp() AS due FROM evsched.receive();
SELECT payload FROM evsched.receive(NULL, NULL, NULL);
SELECT payload FROM evsched.receive('receive', 2, '1 day');
SELECT payload, queue, state,
       deadline > clock_timestamp() + '1 min' AND deadline < clock_timestamp() + '1 day' AS a_day,
       deadline < clock_timestamp() + '10 s' AS ten_seconds
FROM evsched.events ORDER BY due_at;
SELECT evsched.confirm(array_agg(id)) FROM evsched.event;

-- the lease of no session: it does not end with this one
SELECT pg_temp.post('receive', '{1}', 2);
SELECT payload FROM evsched.receive('receive', 1, '1 h');
\c
SELECT payload, state FROM evsched.events;
SELECT payload FROM evsched.receive('receive', 1, '1 h');
SELECT evsched.confirm(id) FROM evsched.event;
SELECT count(*) FROM evsched.event;
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;
CREATE TEMP VIEW live AS
    SELECT id, queue, payload, state, num_retries AS failed FROM evsched.events ORDER BY id;
CREATE FUNCTION pg_temp.post(queue text, minutes int[], max_retries int DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(evsched.post(to_jsonb(m), make_interval(mins => -m), queue, max_retries => max_retries))
    FROM unnest(minutes) m
$$;

-- rejected, postponed, cancelled: the lease is over
SELECT evsched.post('"rejected"', '-3 s', 'receive', NULL, 5) AS a \gset
SELECT evsched.post('"postponed"', '-2 s', 'receive', NULL, 5) AS b \gset
SELECT evsched.post('"cancelled"', '-1 s', 'receive', NULL, 5) AS c \gset
SELECT payload, num_retries FROM evsched.receive('receive', 5, '1 h');
SELECT evsched.reject(:a, '-1 h'), evsched.change_delay(:b, '-1 h'), evsched.cancel(:c);
SELECT payload, num_retries FROM evsched.receive('receive', 5, '1 h') ORDER BY id;
DELETE FROM evsched.event;

-- rolled back: given back at once, uncounted
SELECT pg_temp.post('receive', '{3,2,1}', 1);
BEGIN;
SELECT payload FROM evsched.receive('receive', 2, '1 h');
SELECT payload FROM evsched.receive('receive', 2, '1 h');
SELECT payload FROM evsched.receive('receive', 2, '1 h');
ROLLBACK;
SELECT payload, state, failed FROM live;
BEGIN;
SAVEPOINT s;
SELECT payload FROM evsched.receive('receive', 2, '1 h');
ROLLBACK TO s;
SELECT payload, state, failed FROM live;
SELECT payload, num_retries FROM evsched.receive('receive', 1, '1 h');
SAVEPOINT t;
SELECT payload, num_retries FROM evsched.receive('receive', 1, '1 h');
RELEASE t;
COMMIT;
SELECT payload, state, failed FROM live;
SELECT payload, num_retries FROM evsched.take('receive', 5);
SELECT evsched.confirm(array_agg(id)) FROM evsched.event;

-- what was done to it in that transaction is undone with it
SELECT pg_temp.post('receive', '{5,4,3,2,1}', 3);
BEGIN;
SELECT count(*) FROM evsched.receive('receive', 5, '1 h');
SELECT evsched.confirm(id), evsched.extend(id, '2 h') FROM evsched.event WHERE payload = '5';
SELECT evsched.reject(id) FROM evsched.event WHERE payload = '4';
SELECT evsched.cancel(id) FROM evsched.event WHERE payload = '3';
SELECT evsched.change_delay(id, '1 h') FROM evsched.event WHERE payload = '2';
ROLLBACK;
SELECT payload, state, failed FROM live;
SELECT payload, num_retries FROM evsched.receive('receive', 5, '1 h');
-- and in a savepoint, with the savepoint only
BEGIN;
SAVEPOINT s;
SELECT evsched.confirm(id), evsched.extend(id, '2 h') FROM evsched.event WHERE payload = '5';
SELECT evsched.reject(id) FROM evsched.event WHERE payload = '4';
SELECT evsched.cancel(id) FROM evsched.event WHERE payload = '3';
SELECT evsched.change_delay(id, '1 h') FROM evsched.event WHERE payload = '2';
ROLLBACK TO s;
COMMIT;
SELECT payload, state, failed FROM live;
SELECT payload FROM evsched.receive('receive', 5, '1 h');
DELETE FROM evsched.event;

-- received and confirmed at once; received, confirmed in a savepoint that is rolled back
SELECT pg_temp.post('receive', '{1}', 3);
BEGIN;
SELECT payload FROM evsched.receive('receive', 1, '1 h');
SAVEPOINT s;
SELECT evsched.confirm(id) FROM evsched.event;
ROLLBACK TO s;
COMMIT;
SELECT payload, state FROM live;
SELECT evsched.reject(id, '-1 h') FROM evsched.event;
BEGIN;
SELECT payload, num_retries FROM evsched.receive('receive', 1, '1 h');
SELECT evsched.confirm(id) FROM evsched.event;
COMMIT;
SELECT count(*) FROM evsched.event;

-- of the same transaction
BEGIN;
SELECT evsched.post('"own"', NULL, 'receive', NULL, 2) AS a \gset
SELECT payload FROM evsched.receive('receive', 5, '1 h');
SELECT payload FROM evsched.receive('receive', 5, '1 h');
COMMIT;
SELECT payload, state FROM live;
SELECT evsched.confirm(:a);

-- max_retries 0: removed in the caller's transaction, like take
SELECT pg_temp.post('receive', '{3,2}');
SELECT pg_temp.post('receive', '{1}', 0);
BEGIN;
SELECT payload, max_retries, num_retries FROM evsched.receive('receive', 2, '1 h');
SELECT payload, state FROM live;
ROLLBACK;
SELECT payload, state FROM live;
SELECT payload FROM evsched.receive('receive', 2, '1 h');
SELECT payload, state FROM live;
SELECT payload FROM evsched.receive('receive', 2, '1 h');
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.dead_event;

-- -1 and others are leased
SELECT pg_temp.post('receive', '{1}', -1);
SELECT payload, max_retries, num_retries FROM evsched.receive('receive', 1, '1 h');
SELECT payload, state FROM live;
SELECT evsched.confirm(id) FROM evsched.event;

-- nothing due
SELECT pg_temp.post('receive', '{-60}', 1);
SELECT payload FROM evsched.receive('receive', 5);
SELECT payload FROM evsched.receive('unknown', 5);
SELECT payload, state FROM live;
DELETE FROM evsched.event;

--
-- fetch: delivered events only
--
SELECT evsched.post('{"big": true}', '-3 s', 'fetch', 'k', 3) AS a \gset
SELECT evsched.post('"due"', '-2 s', 'fetch', NULL, 3) AS b \gset
SELECT evsched.post('"future"', '1 h', 'fetch', NULL, 3) AS c \gset
SELECT id = :a AS a FROM evsched.receive('fetch', 1, '1 h');
SELECT id = :a AS a, recurring, key, queue, payload, due_at < clock_timestamp() AS due, max_retries, num_retries
FROM evsched.fetch(ARRAY[:a, :b, :c, NULL, 0, -1]::bigint[]);
SELECT payload FROM evsched.fetch(ids => ARRAY[:a]);
SELECT payload, state, failed FROM live;
SELECT count(*) FROM evsched.fetch('{}');
SELECT evsched.confirm(:a);
SELECT count(*) FROM evsched.fetch(ARRAY[:a]::bigint[]);
DELETE FROM evsched.event;

--
-- wrong input: 22023, a hint, and nothing changed
--
SELECT pg_temp.post('default', '{1}', 2);
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$take('')$$),
    ($$take(repeat('q', 64))$$),
    ($$take(max_events => 0)$$),
    ($$take(max_events => -1)$$),
    ($$receive('')$$),
    ($$receive(repeat('q', 64))$$),
    ($$receive(max_events => 0)$$),
    ($$receive(max_events => -2147483648)$$),
    ($$receive(conf_timeout => '0')$$),
    ($$receive(conf_timeout => '-1 us')$$),
    ($$receive(conf_timeout => '-1 mon')$$),
    ($$fetch(NULL)$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT payload, state FROM live;
-- the longest lease
SELECT payload FROM evsched.receive(conf_timeout => '178000000 years');
SELECT payload, state FROM live;
SELECT evsched.confirm(id) FROM evsched.event;

-- Posting: post, post_at, post_many, plain INSERT and COPY.

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

-- Whole minutes from now.
CREATE FUNCTION pg_temp.minutes(due_at timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN isfinite(due_at)
                THEN round(extract(epoch FROM due_at - clock_timestamp()) / 60)::text
                ELSE due_at::text END
$$;

CREATE TEMP VIEW posted AS
    SELECT id, queue, key, payload, pg_temp.minutes(due_at) AS minutes,
           max_retries AS retries, retry_delay, num_retries AS failed
    FROM evsched.event ORDER BY id;

--
-- post
--
SELECT evsched.post('{"n": 1}') AS a \gset
SELECT evsched.post('{"n": 2}', '5 min', 'post', 'k', 3, 'error', '7 s') AS b \gset
SELECT evsched.post(payload => '{"n": 3}', retry_delay => '1 min', on_conflict => 'keep',
                    max_retries => -1, key => 'l', queue => 'post', delay => '1 h') AS c \gset
SELECT evsched.post('{"n": 4}', NULL, NULL, NULL, NULL, NULL, NULL) AS d \gset
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM posted;
SELECT :a < :b AND :b < :c AND :c < :d AS growing,
       array_agg(id ORDER BY id) = ARRAY[:a, :b, :c, :d]::bigint[] AS told_true FROM posted;

-- whose it is, and that it is a message
SELECT count(*) FROM evsched.events
WHERE owner = current_user AND command IS NULL AND recurring IS NULL AND node IS NULL AND pid IS NULL
  AND deadline IS NULL;

-- from now is the time of the call, not of the transaction; never earlier than asked
BEGIN;
SELECT clock_timestamp() AS before \gset
SELECT evsched.post('"at once"') AS a \gset
SELECT evsched.post('"in an hour"', '1 h') AS b \gset
SELECT evsched.post('"in a month, a day and an hour"', '1 mon 1 day 1 h') AS c \gset
SELECT clock_timestamp() AS after \gset
SELECT payload,
       due_at BETWEEN :'before'::timestamptz + delay AND :'after'::timestamptz + delay AS as_asked
FROM evsched.event JOIN (VALUES (:a, '0'::interval), (:b, '1 h'), (:c, '1 mon 1 day 1 h')) v (id, delay)
     USING (id) ORDER BY id;
ROLLBACK;

-- a negative delay is due at once, as is a very negative one
SELECT evsched.post('"late"', '-1 h') AS a \gset
SELECT evsched.post('"very late"', '-4000 years') AS b \gset
SELECT payload, state FROM evsched.events WHERE id IN (:a, :b) ORDER BY id;
DELETE FROM evsched.event;

--
-- post_at
--
SELECT evsched.post_at('1', '2001-02-03 04:05:06.789012+00') AS a \gset
SELECT evsched.post_at('2', 'infinity', 'post', 'k', 2, 'error', '3 s') AS b \gset
SELECT evsched.post_at(payload => '3', due_at => '-infinity', queue => NULL, key => NULL,
                       max_retries => NULL, on_conflict => NULL, retry_delay => NULL) AS c \gset
SELECT evsched.post_at('4', '294276-12-31 23:59:59.999999+00') AS d \gset
SELECT e.payload, e.queue, e.key, e.due_at AT TIME ZONE 'UTC' AS due_at, e.max_retries,
       e.retry_delay, s.state
FROM evsched.event e JOIN evsched.events s USING (id) ORDER BY id;
SELECT :a < :b AND :b < :c AND :c < :d AS growing;
DELETE FROM evsched.event;

--
-- post_many
--
-- ids in the order of the array, growing
SELECT array_agg(id ORDER BY n) AS ids,
       bool_and(id > coalesce(before, 0)) AS growing, count(*)
FROM (SELECT id, n, lag(id) OVER (ORDER BY n) AS before
      FROM evsched.post_many('{1,2,3}', '{1 h,-1 h,0}', 'post', '{a,NULL,c}', 4, 'error', '9 s')
           WITH ORDINALITY AS p (id, n)) p \gset many_
SELECT :'many_growing' AS growing, :many_count AS count;
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM posted WHERE minutes <> '0'
UNION ALL SELECT queue, key, payload, 'now', retries, retry_delay, failed FROM posted WHERE minutes = '0'
ORDER BY payload;
SELECT payload, id = (:'many_ids'::bigint[])[payload::int] AS told_true FROM posted ORDER BY payload;
DELETE FROM evsched.event;

-- defaults, one delay for all, none, null ones
SELECT count(*) FROM evsched.post_many(ARRAY['{"n": 1}', '{"n": 2}']::jsonb[]);
SELECT count(*) FROM evsched.post_many('{3,4}', '{10 min}');
SELECT count(*) FROM evsched.post_many('{5,6}', NULL, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM evsched.post_many('{7,8}', '{NULL,20 min}');
SELECT count(*) FROM evsched.post_many('{9,10}', '{NULL}');
SELECT count(*) FROM evsched.post_many('{}');
SELECT count(*) FROM evsched.post_many('{}', '{}', keys => '{}');
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM posted;

-- JSON null is a payload, SQL NULL is none
SELECT count(*) FROM evsched.post_many('{"null"}', '{0}', 'null');
SELECT count(*) FROM evsched.post_many(ARRAY['null']::jsonb[], '{0}', 'null');
SELECT payload FROM posted WHERE queue = 'null';
DELETE FROM evsched.event;

-- more than a page of them, and more than a batch
SELECT count(DISTINCT id), bool_and(id > coalesce(before, 0)) AS growing
FROM (SELECT id, lag(id) OVER (ORDER BY n) AS before
      FROM evsched.post_many((SELECT array_agg(to_jsonb(i) ORDER BY i) FROM generate_series(1, 2500) i), '{1 h}')
           WITH ORDINALITY AS p (id, n)) p;
SELECT count(*), count(DISTINCT due_at) AS due_times, min(payload::int), max(payload::int),
       bool_and(payload::int = n) AS in_order
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM evsched.event) e;
DELETE FROM evsched.event;

-- whatever the bounds of the arrays
SELECT count(*) FROM evsched.post_many('[5:6]={1,2}', '[0:1]={1 h,2 h}', 'post', '[-1:0]={a,b}');
SELECT key, payload, minutes FROM posted;
DELETE FROM evsched.event;

-- as many keys as events; the same key twice in one call is the same event
SELECT id AS a FROM evsched.post('"first"', '1 h', 'post', 'x') id \gset
SELECT n, id = :a AS same, id = first_value(id) OVER (ORDER BY n) AS as_before
FROM evsched.post_many('{1,2,3}', '{1 min,2 min,3 min}', 'post', '{x,x,y}') WITH ORDINALITY AS p (id, n);
SELECT n, id = :a AS same
FROM evsched.post_many('{4,5}', '{4 min}', 'post', '{x,z}', on_conflict => 'keep') WITH ORDINALITY AS p (id, n);
SELECT key, payload, minutes FROM posted;
SELECT left(pg_temp.outcome($$SELECT evsched.post_many('{6,7}', '{0}', 'post', '{v,z}', on_conflict => 'error')$$), 5) AS error;
SELECT left(pg_temp.outcome($$SELECT evsched.post_many('{6,7}', '{0}', 'post', '{v,v}', on_conflict => 'error')$$), 5) AS error;
SELECT key, payload FROM posted;
DELETE FROM evsched.event;

--
-- keys
--
SELECT evsched.post('{"old": true}', '1 h', 'post', 'k', 3, retry_delay => '5 s') AS a \gset
UPDATE evsched.event SET num_retries = 2 WHERE id = :a;

-- replace: payload, due time and options; same id, num_retries 0
SELECT evsched.post('{"new": true}', '2 h', 'post', 'k', 1) = :a AS same;
SELECT key, payload, minutes, retries, retry_delay, failed FROM posted;
SELECT evsched.post_at('{"newer": true}', 'infinity', 'post', 'k', on_conflict => 'replace') = :a AS same;
SELECT key, payload, minutes, retries, retry_delay, failed FROM posted;
SELECT evsched.post('{"newest": true}', '3 h', 'post', 'k', -1, NULL, '1 s') = :a AS same;
SELECT key, payload, minutes, retries, retry_delay, failed FROM posted;

-- keep: the existing id, and nothing is changed
SELECT evsched.post('"kept"', '9 h', 'post', 'k', 9, 'keep', '9 s') = :a AS same;
SELECT evsched.post_at('"kept"', '-infinity', 'post', 'k', 9, 'keep', '9 s') = :a AS same;
SELECT key, payload, minutes, retries, retry_delay, failed FROM posted;

-- error
SELECT left(pg_temp.outcome($$SELECT evsched.post('"no"', '9 h', 'post', 'k', 9, 'error')$$), 5) AS error;
SELECT left(pg_temp.outcome($$SELECT evsched.post_at('"no"', 'infinity', 'post', 'k', 9, 'error')$$), 5) AS error;
SELECT key, payload, minutes, retries, retry_delay, failed FROM posted;

-- unique per queue; by bytes; of the future and of the past alike
SELECT evsched.post('"other queue"', '1 h', 'post2', 'k', on_conflict => 'error') <> :a AS another;
SELECT evsched.post('"other key"', '1 h', 'post', 'K', on_conflict => 'error') <> :a AS another;
SELECT evsched.post('"overdue"', '-1 h', 'post', 'o') AS o \gset
SELECT evsched.post('"again"', '1 h', 'post', 'o') = :o AS same;
SELECT queue, key, payload, minutes FROM posted;

-- free when its event is gone; ids are not used again
SELECT evsched.cancel('k', 'post');
SELECT evsched.post('"after cancel"', '1 h', 'post', 'k', on_conflict => 'error') AS b \gset
SELECT :b > :a AS another;
SELECT evsched.post('"due"', NULL, 'post', 'k') = :b AS same;
SELECT key, payload FROM evsched.take('post');
SELECT evsched.post('"after take"', '1 h', 'post', 'k', on_conflict => 'error') > :b AS another;
SELECT evsched.post('"due"', NULL, 'post', 'k') > :b AS same;
SELECT evsched.confirm('k', 'post');
SELECT evsched.post('"after confirm"', '1 h', 'post', 'k', on_conflict => 'error') > :b AS another;
DELETE FROM evsched.event;

-- a delivered event loses the key to a new one; keep and error see it holding the key
SELECT evsched.post('"delivered"', NULL, 'post', 'd', 5) AS a \gset
SELECT id = :a AS same, key FROM evsched.receive('post', 1, '1 h');
SELECT evsched.post('"kept"', '1 h', 'post', 'd', on_conflict => 'keep') = :a AS same;
SELECT left(pg_temp.outcome($$SELECT evsched.post('"no"', '1 h', 'post', 'd', on_conflict => 'error')$$), 5) AS error;
BEGIN;
SELECT evsched.post('"rolled back"', '1 h', 'post', 'd') <> :a AS another;
ROLLBACK;
SELECT key, payload FROM posted;
SELECT evsched.post('"new"', '1 h', 'post', 'd') AS b \gset
SELECT :b > :a AS another;
SELECT id = :a AS delivered, key, payload, minutes FROM posted;
SELECT evsched.confirm(:a);
SELECT id = :b AS new, key, payload, minutes FROM posted;
DELETE FROM evsched.event;

--
-- payload fidelity: jsonb in, the same jsonb out
--
CREATE TEMP TABLE payload (n int, payload jsonb);
INSERT INTO payload VALUES
    (1, '[]'), (2, '{}'), (3, 'null'), (4, 'true'), (5, '""'), (6, '0'), (7, '12345678901234567'),
    (8, '-123456789012345678901234567890.123456789012345678901234567890'), (9, '1.50'), (10, '1e300'),
    (11, '{"b": [1, {"a": null}], "a": {"": "quote \" backslash \\ newline \n tab \t del \u007f"}}'),
    (12, '"\u017c\u00f3\u0142w \ud83d\udc22"'), (13, '{"\u00e9": "\u20ac"}'),
    (14, (SELECT to_jsonb(string_agg(md5(i::text), '')) FROM generate_series(1, 640) i)),
    (15, (SELECT jsonb_agg(i) FROM generate_series(1, 5000) i)),
    (16, jsonb_build_object('x', repeat('0123456789', 100000))),
    (17, (repeat('[', 500) || repeat(']', 500))::jsonb),
    (18, '[{"id": 1}, "]", "''", "%s $1 $$"]');
SELECT count(evsched.post(payload, NULL, 'one' || n)), count(*) FILTER (WHERE length(payload::text) > 20000) AS long
FROM payload;
SELECT n, p.payload = t.payload AND p.payload::text = t.payload::text AS same
FROM payload p, evsched.take('one' || n) t ORDER BY n;
-- all at once, from a table and through a variable
SELECT count(*) FROM evsched.post_many((SELECT array_agg(payload ORDER BY n) FROM payload), '{0}', 'many');
SELECT count(*), bool_and(p.payload = t.payload AND p.payload::text = t.payload::text) AS same
FROM payload p JOIN evsched.take('many', 100) WITH ORDINALITY AS
     t (id, recurring, key, queue, payload, due_at, max_retries, num_retries, n) USING (n);
-- with a key
SELECT count(evsched.post(payload, NULL, 'keys', 'key ' || n)) FROM payload;
SELECT count(*), bool_and(p.payload = t.payload AND p.payload::text = t.payload::text) AS same
FROM payload p JOIN evsched.take('keys', 100) t ON t.key = 'key ' || n;
SELECT count(*) FROM evsched.event;

--
-- wrong input: 22023, a hint, and no row
--
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$post(NULL)$$),
    ($$post_at(NULL, 'now')$$),
    ($$post_at('1', NULL)$$),
    ($$post_many(NULL)$$),
    ($$post_many(ARRAY['1', NULL]::jsonb[])$$),
    ($$post_many(ARRAY['1', NULL]::jsonb[], keys => '{a,b}')$$),
    ($$post('1', queue => '')$$),
    ($$post('1', queue => repeat('q', 64))$$),
    ($$post('1', queue => repeat(U&'\00fc', 32))$$),
    ($$post_at('1', 'now', queue => '')$$),
    ($$post_at('1', 'now', queue => repeat('q', 64))$$),
    ($$post_many('{1}', queue => '')$$),
    ($$post_many('{1}', queue => repeat('q', 64))$$),
    ($$post('1', key => '')$$),
    ($$post('1', key => repeat('k', 256))$$),
    ($$post('1', key => repeat(U&'\00fc', 128))$$),
    ($$post_at('1', 'now', key => '')$$),
    ($$post_at('1', 'now', key => repeat('k', 256))$$),
    ($$post_many('{1,2}', keys => '{"a",""}')$$),
    ($$post_many('{1,2}', keys => ARRAY['a', repeat('k', 256)])$$),
    ($$post('1', max_retries => -2)$$),
    ($$post_at('1', 'now', max_retries => -2147483648)$$),
    ($$post_many('{1}', max_retries => -2)$$),
    ($$post('1', on_conflict => 'ignore')$$),
    ($$post('1', on_conflict => '', key => 'k')$$),
    ($$post_at('1', 'now', on_conflict => 'ignore')$$),
    ($$post_many('{1}', on_conflict => 'ignore')$$),
    ($$post_many('{1,2,3}', '{1 s,2 s}')$$),
    ($$post_many('{1}', '{1 s,2 s}')$$),
    ($$post_many('{1,2}', '{}')$$),
    ($$post_many('{1,2}', keys => '{a}')$$),
    ($$post_many('{1,2}', keys => '{a,b,c}')$$),
    ($$post_many('{1,2}', keys => '{}')$$),
    ($$post('1', '300000 years')$$),
    ($$post('1', '-300000 years')$$),
    ($$post('1', '178000000 years', key => 'k')$$),
    ($$post('1', '110000000 days')$$),
    ($$post_many('{1,2}', '{300000 years}')$$),
    ($$post_many('{1,2}', '{1 s,300000 years}')$$),
    ($$post_many('{1,2}', '{1 s,300000 years}', keys => '{a,b}')$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT count(*) FROM evsched.event;
-- outside of any block, too
\set VERBOSITY sqlstate
SELECT evsched.post(NULL);
SELECT evsched.post_many('{1,2}', '{1 s,300000 years}');
\set VERBOSITY default
SELECT count(*) FROM evsched.event;

-- the longest names
SELECT evsched.post('1', '1 h', repeat('q', 63), repeat('k', 255)) > 0 AS posted;
SELECT evsched.post('1', '1 h', repeat(U&'\00fc', 31) || 'q', repeat(U&'\00fc', 127) || 'k') > 0 AS posted;
SELECT octet_length(queue), octet_length(key), retries FROM posted;
-- and the most retries
SELECT evsched.post('1', '1 h', max_retries => 2147483647) > 0 AS posted;
SELECT retries FROM posted WHERE queue = 'default';
DELETE FROM evsched.event;

--
-- what is rolled back never happened
--
BEGIN;
SELECT evsched.post('"rolled back"') > 0 AS posted;
SELECT evsched.post('"rolled back"', key => 'k') > 0 AS posted;
SELECT count(*) FROM evsched.post_many('{1,2}');
ROLLBACK;
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.take('default', 10);

BEGIN;
SELECT evsched.post('"before"', '1 h') > 0 AS posted;
SELECT evsched.post('"before"', '1 h', key => 'k') AS a \gset
SAVEPOINT s;
SELECT evsched.post('"within"', '1 h') > 0 AS posted;
SELECT evsched.post('"within"', '2 h', key => 'k') = :a AS same;
SELECT payload, minutes FROM posted;
ROLLBACK TO s;
SELECT payload, minutes FROM posted;
SELECT evsched.post('"after"', '3 h') > 0 AS posted;
SELECT evsched.post('"after"', '3 h', key => 'k', on_conflict => 'keep') = :a AS same;
SAVEPOINT t;
SELECT evsched.post('"released"', '4 h') > 0 AS posted;
RELEASE t;
COMMIT;
SELECT payload, minutes FROM posted;
DELETE FROM evsched.event;

-- an error takes the posts of its transaction with it
BEGIN;
SELECT evsched.post('"lost"') > 0 AS posted;
\set VERBOSITY sqlstate
SELECT evsched.post('1', max_retries => -2);
\set VERBOSITY default
COMMIT;
SELECT count(*) FROM evsched.event;

-- of many with an error, none stays
SELECT count(*) FROM evsched.post('"held"', '1 h', 'post', 'b');
SELECT left(pg_temp.outcome($$SELECT evsched.post_many('{1,2}', '{0}', 'post', '{a,b}', on_conflict => 'error')$$), 5) AS error;
SELECT key, payload FROM posted;
DELETE FROM evsched.event;

-- in a trigger; not in a read only transaction
CREATE TABLE orders (id int);
CREATE FUNCTION remind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evsched.post(to_jsonb(new), '1 h', 'orders', 'order ' || new.id);
    RETURN new;
END $$;
CREATE TRIGGER remind AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION remind();
INSERT INTO orders SELECT generate_series(1, 3);
SELECT queue, key, payload, minutes FROM posted;
BEGIN READ ONLY;
\set VERBOSITY sqlstate
SELECT evsched.post('1');
\set VERBOSITY default
ROLLBACK;
SELECT count(*) FROM evsched.event;
DROP TABLE orders;
DROP FUNCTION remind;
DELETE FROM evsched.event;

--
-- plain INSERT and COPY
--
INSERT INTO evsched.event (payload) VALUES ('"defaults"');
INSERT INTO evsched.event (queue, due_at, key, payload, max_retries)
    VALUES ('post', clock_timestamp() + '1 h', 'i', '"all"', 2), ('post', 'infinity', NULL, '"never"', -1);
COPY evsched.event (queue, due_at, key, payload, max_retries) FROM STDIN;
post	2001-01-01 00:00:00+00	c	"copied"	1
post	infinity	\N	["a", "b"]	\N
\.
COPY evsched.event (payload) FROM STDIN;
"copied, with defaults"
\.
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM posted WHERE minutes !~ '^-';
SELECT queue, key, payload, minutes::int < 0 AS overdue, retries FROM posted WHERE minutes ~ '^-';
SELECT count(*), count(DISTINCT id) AS ids FROM evsched.events WHERE owner = current_user;
-- they are events like any other
SELECT evsched.post('"replaced"', '1 h', 'post', 'i') = id AS same FROM evsched.event WHERE key = 'i';
SELECT key, payload, max_retries, num_retries FROM evsched.take('post', 10);
SELECT payload FROM evsched.take('default', 10);
SELECT evsched.post('"next"') > max(id) AS growing FROM evsched.event;
DELETE FROM evsched.event;

CREATE TEMP TABLE bad (n serial, change text);
INSERT INTO bad (change) VALUES
    ($$(queue, payload) VALUES ('', '1')$$),
    ($$(queue, payload) VALUES (repeat('q', 64), '1')$$),
    ($$(queue, payload) VALUES (repeat(U&'\00fc', 32), '1')$$),
    ($$(queue, payload) VALUES (NULL, '1')$$),
    ($$(key, payload) VALUES ('', '1')$$),
    ($$(key, payload) VALUES (repeat('k', 256), '1')$$),
    ($$(due_at, payload) VALUES (NULL, '1')$$),
    ($$(max_retries, payload) VALUES (-2, '1')$$),
    ($$(payload) VALUES (NULL)$$),
    ($$(queue) VALUES ('post')$$),
    ($$(key, payload) VALUES ('twice', '1'), ('twice', '2')$$);
SELECT change, pg_temp.outcome('INSERT INTO evsched.event ' || change) FROM bad ORDER BY n;
SELECT count(*) FROM evsched.event;
\set VERBOSITY sqlstate
COPY evsched.event (queue, payload) FROM STDIN;
post	"fine"
	"no queue"
\.
\set VERBOSITY default
SELECT count(*) FROM evsched.event;
INSERT INTO evsched.event (queue, key, payload) VALUES (repeat('q', 63), repeat('k', 255), '1');
SELECT count(*) FROM evsched.event;
DELETE FROM evsched.event;

-- plain writes are noticed, under session_replication_role = replica as well: take, which
-- has found the queue empty, finds what stands before the place where it stopped
SELECT count(*) FROM evsched.post('1', NULL, 'noticed');
SELECT count(*) FROM evsched.take('noticed', 10);
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('noticed', '2001-01-01', '"inserted"');
SELECT payload FROM evsched.take('noticed', 10);
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('noticed', 'infinity', '"updated"');
SELECT payload FROM evsched.take('noticed', 10);
UPDATE evsched.event SET due_at = '2001-01-01' WHERE queue = 'noticed';
SELECT payload FROM evsched.take('noticed', 10);
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('elsewhere', '2001-01-01', '"moved"');
UPDATE evsched.event SET queue = 'noticed' WHERE queue = 'elsewhere';
SELECT payload FROM evsched.take('noticed', 10);
COPY evsched.event (queue, due_at, payload) FROM STDIN;
noticed	2001-01-01	"copied"
\.
SELECT payload FROM evsched.take('noticed', 10);
SET session_replication_role = replica;
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('noticed', '2001-01-01', '"replica"');
RESET session_replication_role;
SELECT payload FROM evsched.take('noticed', 10);
BEGIN;
SAVEPOINT s;
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('noticed', '2000-01-01', '"rolled back"');
ROLLBACK TO s;
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('noticed', '2001-01-01', '"kept"');
COMMIT;
SELECT payload FROM evsched.take('noticed', 10);
SELECT count(*) FROM evsched.event;

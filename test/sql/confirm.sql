-- What becomes of an event that is due: confirm, reject, extend.

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

-- As if the time had come.
CREATE FUNCTION pg_temp.make_due(id bigint) RETURNS void LANGUAGE sql AS $$
    UPDATE evsched.event e SET due_at = clock_timestamp() WHERE e.id = make_due.id
$$;

CREATE TEMP VIEW waiting AS
    SELECT id, queue, key, payload, pg_temp.minutes(due_at) AS minutes, num_retries AS failed
    FROM evsched.event ORDER BY id;

--
-- confirm, by id
--
-- false before the event is due; true once it is, delivered or not; false afterwards
SELECT evsched.post('"future"', '1 h') AS future \gset
SELECT evsched.post_at('"infinite"', 'infinity') AS infinite \gset
SELECT evsched.post('"due, undelivered"') AS due \gset
SELECT evsched.post_at('"since ever"', '-infinity') AS ever \gset
SELECT evsched.post('"delivered"', NULL, 'confirm', NULL, 3) AS delivered \gset
SELECT payload FROM evsched.receive('confirm', 1, '1 h');
SELECT evsched.confirm(:future) AS future, evsched.confirm(:infinite) AS infinite, evsched.confirm(:due) AS due,
       evsched.confirm(:ever) AS ever, evsched.confirm(id => :delivered) AS delivered;
SELECT evsched.confirm(:due) AS due, evsched.confirm(:ever) AS ever, evsched.confirm(:delivered) AS delivered;
SELECT payload FROM waiting;
SELECT count(*) FROM evsched.dead_event;
SELECT evsched.change_delay(:future, '0');
SELECT evsched.confirm(:future);
SELECT evsched.cancel(:infinite);

-- late or not: the lease may be over by now
SELECT evsched.post('"late"', NULL, 'confirm', NULL, -1) AS a \gset
SELECT payload FROM evsched.receive('confirm', 1, '1 us');
SELECT evsched.confirm(:a), evsched.confirm(:a) AS again;

-- waiting for a retry: work that is done is not done again
SELECT evsched.post('"to be retried"', NULL, 'confirm', NULL, 3) AS a \gset
SELECT payload FROM evsched.receive('confirm', 1, '1 h');
SELECT evsched.reject(:a, '1 h');
SELECT payload, minutes, failed FROM waiting;
SELECT evsched.confirm(:a), evsched.confirm(:a) AS again;
SELECT count(*) FROM evsched.event;

-- cancelled, taken, dead, unknown, none
SELECT evsched.post('"cancelled"') AS a \gset
SELECT evsched.cancel(:a);
SELECT evsched.post('"taken"') AS b \gset
SELECT payload FROM evsched.take();
SELECT evsched.post('"dead"', max_retries => 0) AS c \gset
SELECT evsched.reject(:c);
SELECT evsched.confirm(:a), evsched.confirm(:b), evsched.confirm(:c), evsched.confirm(0),
       evsched.confirm(-1), evsched.confirm(9223372036854775807), evsched.confirm(NULL::bigint);
SELECT evsched.discard(ARRAY[:c]::bigint[]);

-- in the caller's transaction
SELECT evsched.post('"work"', NULL, 'confirm', NULL, 3) AS a \gset
SELECT payload FROM evsched.receive('confirm', 1, '1 h');
CREATE TEMP TABLE work (done text);
BEGIN;
INSERT INTO work VALUES ('rolled back');
SELECT evsched.confirm(:a), evsched.confirm(:a) AS again;
ROLLBACK;
SELECT state FROM evsched.events WHERE id = :a;
BEGIN;
SAVEPOINT s;
INSERT INTO work VALUES ('rolled back');
SELECT evsched.confirm(:a);
ROLLBACK TO s;
SELECT state FROM evsched.events WHERE id = :a;
SAVEPOINT t;
INSERT INTO work VALUES ('done');
SELECT evsched.confirm(:a);
RELEASE t;
COMMIT;
SELECT * FROM work;
SELECT count(*) FROM evsched.event;

-- posted and confirmed at once
BEGIN;
SELECT evsched.post('"at once"') AS a \gset
SELECT evsched.post('"future"', '1 h') AS b \gset
SELECT evsched.confirm(:a), evsched.confirm(:b);
ROLLBACK;

--
-- confirm, by ids: how many there were
--
SELECT array_agg(id) AS ids FROM evsched.post_many('{1,2,3,4,5}', '{0,-1 h,0,1 h,0}', 'confirm', max_retries => 2) id \gset
SELECT payload FROM evsched.receive('confirm', 2, '1 h');
SELECT evsched.confirm((:'ids'::bigint[])[1:1] || (:'ids'::bigint[])[1:1] || NULL || (:'ids'::bigint[])[2:4] || 0::bigint || -1::bigint);
SELECT payload FROM waiting;
SELECT evsched.confirm(:'ids'::bigint[]);
SELECT evsched.confirm(:'ids'::bigint[]) AS again;
SELECT evsched.confirm('{}'::bigint[]) AS none, evsched.confirm('{NULL}'::bigint[]) AS nulls;
SELECT payload FROM waiting;
DELETE FROM evsched.event;

-- a thousand at once, in any order, and rolled back
SELECT array_agg(id ORDER BY id DESC) AS ids
FROM evsched.post_many((SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 1000) i), '{0}', 'confirm', max_retries => 1) id \gset
SELECT count(*) FROM evsched.receive('confirm', 600, '1 h');
BEGIN;
SELECT evsched.confirm(:'ids'::bigint[]);
ROLLBACK;
SELECT state, count(*) FROM evsched.events GROUP BY state ORDER BY state;
SELECT evsched.confirm(:'ids'::bigint[]);
SELECT count(*) FROM evsched.event;

--
-- confirm, by key
--
SELECT evsched.post('"due"', NULL, 'confirm', 'k') AS a \gset
SELECT evsched.post('"future"', '1 h', 'confirm', 'f') AS b \gset
SELECT evsched.post('"elsewhere"', NULL, 'confirm2', 'k') AS c \gset
SELECT evsched.confirm('unknown', 'confirm'), evsched.confirm('k', 'unknown'), evsched.confirm('f', 'confirm'),
       evsched.confirm(NULL, 'confirm');
SELECT queue, key FROM waiting;
SELECT evsched.confirm('k', 'confirm'), evsched.confirm('k', 'confirm') AS again;
SELECT evsched.confirm(queue => 'confirm2', key => 'k');
SELECT queue, key FROM waiting;
DELETE FROM evsched.event;

-- the key is that of the new event once it was posted again, so listeners confirm by id
SELECT evsched.post('"old"', NULL, 'confirm', 'k', 3) AS a \gset
SELECT payload FROM evsched.receive('confirm', 1, '1 h');
SELECT evsched.post('"new"', '1 h', 'confirm', 'k') AS b \gset
SELECT evsched.confirm('k', 'confirm') AS by_key, evsched.confirm(:a) AS by_id;
SELECT payload FROM waiting;
DELETE FROM evsched.event;

--
-- reject
--
-- a failed delivery; due again after delay, then given up
SELECT evsched.post('"rejected"', NULL, 'reject', 'k', 2) AS a \gset
SELECT payload, num_retries FROM evsched.receive('reject', 1, '1 h');
SELECT evsched.reject(:a, '5 min', 'no luck');
SELECT key, payload, minutes, failed FROM waiting;
SELECT state, deadline FROM evsched.events WHERE id = :a;
SELECT evsched.reject(:a) AS not_due;
SELECT pg_temp.make_due(:a);
SELECT payload, num_retries FROM evsched.receive('reject', 1, '1 h');
SELECT evsched.reject(id => :a, error => 'again', delay => '-1 s');
SELECT key, payload, failed FROM waiting;
SELECT payload, num_retries FROM evsched.receive('reject', 1, '1 h');
SELECT evsched.reject(:a, '1 h', 'for good');
SELECT count(*) FROM evsched.event;
SELECT id = :a AS same, queue, key, payload, command, owner = current_user AS mine, recurring, num_retries,
       died_at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp() AS just_now,
       why LIKE '%for good%' AS why, sqlstate FROM evsched.dead_event;
SELECT evsched.reject(:a) AS dead, evsched.cancel(:a) AS dead, evsched.change_delay(:a, '0') AS dead;
SELECT * FROM evsched.peek(:a);
SELECT evsched.discard(ARRAY[:a]::bigint[]);

-- max_retries 0 and NULL: none left
SELECT evsched.post('"none"', NULL, 'reject', NULL, 0) AS a \gset
SELECT evsched.post('"default"', NULL, 'reject') AS b \gset
SELECT evsched.reject(:a, '1 h'), evsched.reject(:b);
SELECT payload, num_retries, why IS NOT NULL AS why FROM evsched.dead_event ORDER BY id;
SELECT evsched.discard(ARRAY[:a, :b]::bigint[]);

-- max_retries -1: for ever
SELECT evsched.post('"for ever"', NULL, 'reject', NULL, -1, retry_delay => '1 s') AS a \gset
UPDATE evsched.event SET num_retries = 100000 WHERE id = :a;
SELECT evsched.reject(:a);
SELECT payload, minutes, failed FROM waiting;
UPDATE evsched.event SET num_retries = 2147483647, due_at = clock_timestamp() WHERE id = :a;
SELECT evsched.reject(:a);
SELECT payload, minutes, failed > 0 AS counted FROM waiting;
DELETE FROM evsched.event;

-- the event's own retry_delay: doubled for each further retry, at most an hour
SELECT evsched.post('"doubled"', NULL, 'reject', NULL, 20, retry_delay => '5 min') AS a \gset
DO $$
DECLARE
    event bigint := (SELECT id FROM evsched.event);
BEGIN
    FOR n IN 1..6 LOOP
        PERFORM pg_temp.make_due(event);
        IF NOT evsched.reject(event) THEN
            RAISE 'not rejected';
        END IF;
        RAISE NOTICE '% after % min', (SELECT failed FROM waiting), (SELECT minutes FROM waiting);
    END LOOP;
    -- a delay that is given does not change that of later retries
    PERFORM pg_temp.make_due(event);
    UPDATE evsched.event SET num_retries = 1;
    PERFORM evsched.reject(event, '2 min');
    RAISE NOTICE '% after % min', (SELECT failed FROM waiting), (SELECT minutes FROM waiting);
    PERFORM pg_temp.make_due(event);
    PERFORM evsched.reject(event);
    RAISE NOTICE '% after % min', (SELECT failed FROM waiting), (SELECT minutes FROM waiting);
END $$;
DELETE FROM evsched.event;
SELECT evsched.post('"long"', NULL, 'reject', NULL, 20, retry_delay => '3 h') AS a \gset
SELECT evsched.reject(:a);
SELECT minutes, failed FROM waiting;
DELETE FROM evsched.event;
-- a delay that is given may be longer
SELECT evsched.post('"long"', NULL, 'reject', NULL, 20) AS a \gset
SELECT evsched.reject(:a, '3 h');
SELECT minutes, failed FROM waiting;
DELETE FROM evsched.event;
-- none: at once
SELECT evsched.post('"at once"', NULL, 'reject', NULL, 20) AS a \gset
SELECT evsched.reject(:a), evsched.reject(:a), evsched.reject(:a);
SELECT payload, num_retries, max_retries FROM evsched.take('reject');

-- a retry takes its place by its new due time
SELECT evsched.post('"first"', '-3 min', 'reject', NULL, 5) AS a \gset
SELECT evsched.post('"second"', '-2 min', 'reject', NULL, 5) AS b \gset
SELECT evsched.post('"third"', '-1 min', 'reject', NULL, 5) AS c \gset
SELECT evsched.reject(:a), evsched.reject(:b, '-90 s');
SELECT payload, num_retries FROM evsched.take('reject', 5);

-- not due: false, and nothing is changed
SELECT evsched.post('"future"', '1 h', 'reject', 'k', 5) AS a \gset
SELECT evsched.post_at('"infinite"', 'infinity', 'reject') AS b \gset
SELECT evsched.reject(:a), evsched.reject(:b), evsched.reject(0), evsched.reject(9223372036854775807, '1 s'),
       evsched.reject(NULL), evsched.reject(NULL, '1 s', 'no');
SELECT payload, minutes, failed FROM waiting;
SELECT count(*) FROM evsched.dead_event;
DELETE FROM evsched.event;
SELECT evsched.post('"confirmed"') AS a \gset
SELECT evsched.confirm(:a), evsched.reject(:a);

-- in the caller's transaction
SELECT evsched.post('"rolled back"', NULL, 'reject', NULL, 1) AS a \gset
SELECT evsched.post('"rolled back too"', NULL, 'reject', NULL, 0) AS b \gset
SELECT payload FROM evsched.receive('reject', 1, '1 h');
BEGIN;
SELECT evsched.reject(:a), evsched.reject(:b);
ROLLBACK;
SELECT payload, num_retries, state FROM evsched.events ORDER BY id;
BEGIN;
SAVEPOINT s;
SELECT evsched.reject(:a, '1 h'), evsched.reject(:b);
ROLLBACK TO s;
COMMIT;
SELECT payload, num_retries, state FROM evsched.events ORDER BY id;
SELECT count(*) FROM evsched.dead_event;
-- a take that failed is counted after its rollback
BEGIN;
SELECT payload, num_retries FROM evsched.take('reject', 5);
SELECT evsched.reject(:b) AS taken;
ROLLBACK;
SELECT evsched.reject(:b, NULL, 'failed');
SELECT payload FROM evsched.dead_event;
SELECT evsched.discard(ARRAY[:b]::bigint[]);
DELETE FROM evsched.event;

--
-- extend
--
CREATE FUNCTION pg_temp.lease(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.minutes(deadline) FROM evsched.events e WHERE e.id = lease.id
$$;
SELECT evsched.post('"delivered"', NULL, 'extend', NULL, 5) AS a \gset
SELECT evsched.post('"undelivered"', NULL, 'extend', NULL, 5) AS b \gset
SELECT payload FROM evsched.receive('extend', 1, '10 min');
SELECT pg_temp.lease(:a);
SELECT evsched.extend(:a, '20 min');
SELECT pg_temp.lease(:a);
SELECT evsched.extend(id => :a, by => '5 min') IS NOT NULL AS not_later;
SELECT pg_temp.lease(:a);
SELECT evsched.extend(:a, '-1 h') IS NOT NULL AS not_later;
SELECT pg_temp.lease(:a);
-- not rolled back
BEGIN;
SELECT evsched.extend(:a, '30 min');
ROLLBACK;
SELECT pg_temp.lease(:a);
BEGIN;
SAVEPOINT s;
SELECT evsched.extend(:a, '40 min');
ROLLBACK TO s;
COMMIT;
SELECT pg_temp.lease(:a);
SELECT payload, num_retries FROM evsched.event ORDER BY id;
-- what is not delivered has no lease
SELECT evsched.extend(:b, '1 h') AS undelivered, evsched.extend(0, '1 h') AS unknown,
       evsched.extend(NULL, '1 h') AS none;
SELECT evsched.confirm(:a);
SELECT evsched.extend(:a, '1 h') AS confirmed;
SELECT payload FROM evsched.take('extend', 5);

--
-- wrong input: 22023, a hint, and nothing changed
--
SELECT evsched.post('"untouched"', NULL, 'confirm', 'k', 5) AS a \gset
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$confirm('k', NULL)$$),
    ($$confirm('k', '')$$),
    ($$confirm('k', repeat('q', 64))$$),
    ($$confirm('', 'confirm')$$),
    ($$confirm(repeat('k', 256), 'confirm')$$),
    ($$confirm(NULL::bigint[])$$),
    ($$reject((SELECT id FROM evsched.event), '300000 years')$$),
    ($$reject((SELECT id FROM evsched.event), '-300000 years')$$),
    ($$extend((SELECT id FROM evsched.event), NULL)$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT queue, key, payload, failed FROM waiting;
DELETE FROM evsched.event;

-- Events that wait: cancel, change_delay, peek, upcoming.

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

-- An interval that nears its end: t when it is up to a minute less.
CREATE FUNCTION pg_temp.about(remaining interval, full_length interval) RETURNS boolean LANGUAGE sql AS $$
    SELECT remaining > full_length - interval '1 min' AND remaining <= full_length
$$;

CREATE TEMP VIEW waiting AS
    SELECT id, queue, key, payload, pg_temp.minutes(due_at) AS minutes,
           max_retries AS retries, retry_delay, num_retries AS failed
    FROM evsched.event ORDER BY id;

--
-- cancel
--
SELECT evsched.post('"scheduled"', '1 h') AS a \gset
SELECT evsched.post('"never due"', NULL) AS b \gset
SELECT evsched.post_at('"infinite"', 'infinity') AS c \gset
SELECT evsched.post('"by key"', '1 h', 'schedule', 'k') AS d \gset
SELECT evsched.post('"another queue"', '1 h', 'schedule2', 'k') AS e \gset
SELECT evsched.post('"another key"', '1 h', 'schedule', 'k2') AS f \gset
SELECT evsched.cancel(:a), evsched.cancel(:b), evsched.cancel(:c);
SELECT evsched.cancel(:a) AS again;
SELECT evsched.cancel('k', 'schedule');
SELECT evsched.cancel('k', 'schedule') AS again, evsched.cancel(:d) AS by_id;
SELECT queue, key, payload FROM waiting;
SELECT evsched.cancel(id => :e), evsched.cancel(queue => 'schedule', key => 'k2');
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.take('default', 10);

-- delivered, and waiting for a retry: it will not be delivered again
SELECT evsched.post('"delivered"', NULL, 'schedule', 'k', 5) AS a \gset
SELECT evsched.post('"rejected"', NULL, 'schedule', NULL, 5) AS b \gset
SELECT payload FROM evsched.receive('schedule', 2, '1 h');
SELECT evsched.reject(:b, '1 h');
SELECT evsched.cancel(:b), evsched.cancel('k', 'schedule');
SELECT evsched.confirm(:a), evsched.confirm(:b);
SELECT count(*) FROM evsched.event;

-- rolled back: it is still there, and due
SELECT evsched.post('"still there"', NULL, 'schedule') AS a \gset
BEGIN;
SELECT evsched.cancel(:a);
SELECT count(*) FROM evsched.take('schedule');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT evsched.cancel(:a);
ROLLBACK TO s;
SELECT evsched.cancel(:a) AS after_all;
ROLLBACK;
SELECT payload FROM evsched.take('schedule');

-- a savepoint that is released
SELECT evsched.post('"cancelled"', NULL, 'schedule') AS a \gset
BEGIN;
SAVEPOINT s;
SELECT evsched.cancel(:a);
RELEASE s;
COMMIT;
SELECT count(*) FROM evsched.take('schedule');

-- what is posted in the same transaction
BEGIN;
SELECT evsched.post('"now"', NULL, 'schedule', 'k') AS a \gset
SELECT evsched.cancel('k', 'schedule');
SELECT evsched.post('"later"', '1 h', 'schedule', 'k', on_conflict => 'error') > :a AS another;
COMMIT;
SELECT key, payload, minutes FROM waiting;
DELETE FROM evsched.event;

--
-- change_delay
--
SELECT evsched.post('"postponed"', '1 h', 'schedule', 'k', 3, retry_delay => '5 s') AS a \gset
SELECT evsched.post('"due, postponed"', NULL, 'schedule') AS b \gset
SELECT evsched.post('"advanced"', '1 h', 'schedule') AS c \gset
SELECT evsched.post_at('"infinite, advanced"', 'infinity', 'schedule', 'i') AS d \gset
SELECT evsched.post('"untouched"', '1 h', 'schedule2', 'k') AS e \gset
SELECT evsched.change_delay(:a, '2 h'), evsched.change_delay(:b, '3 h'),
       evsched.change_delay(id => :c, delay => '-1 s'), evsched.change_delay('i', '0', 'schedule');
SELECT payload FROM evsched.take('schedule', 10);
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM waiting;
SELECT evsched.change_delay(queue => 'schedule', delay => '4 h', key => 'k');
SELECT evsched.change_delay(:b, '1 mon') AS longer;
SELECT payload, due_at > clock_timestamp() + '27 days' AND due_at <= clock_timestamp() + '1 mon' AS a_month
FROM evsched.event WHERE id = :b;
SELECT evsched.change_delay(:b, '0') AS shorter;
SELECT payload FROM evsched.take('schedule', 10);
SELECT queue, key, payload, minutes, retries, retry_delay, failed FROM waiting;

-- from the time of the call
BEGIN;
SELECT clock_timestamp() AS before \gset
SELECT evsched.change_delay(:a, '5 min');
SELECT due_at BETWEEN :'before'::timestamptz + '5 min' AND clock_timestamp() + '5 min' AS as_asked
FROM evsched.event WHERE id = :a;
ROLLBACK;

-- rolled back, wholly or in part
BEGIN;
SELECT evsched.change_delay(:a, '-1 h');
SELECT payload FROM evsched.take('schedule');
ROLLBACK;
SELECT count(*) FROM evsched.take('schedule');
BEGIN;
SELECT evsched.change_delay(:a, '5 h');
SAVEPOINT s;
SELECT evsched.change_delay(:a, '-1 h');
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM evsched.take('schedule');
SELECT key, payload, minutes FROM waiting;
DELETE FROM evsched.event;

-- of a delivered event: its lease ends, it is scheduled anew with num_retries 0
SELECT evsched.post('"delivered"', NULL, 'schedule', 'k', 1) AS a \gset
SELECT evsched.reject(:a, '0');
SELECT payload, num_retries FROM evsched.receive('schedule', 1, '1 h');
SELECT state, num_retries FROM evsched.events WHERE id = :a;
BEGIN;
SELECT evsched.change_delay(:a, '1 h');
ROLLBACK;
SELECT state, num_retries FROM evsched.events WHERE id = :a;
SELECT evsched.change_delay('k', '1 h', 'schedule');
SELECT state, num_retries, deadline FROM evsched.events WHERE id = :a;
SELECT evsched.confirm(:a) AS not_due;
SELECT evsched.change_delay(:a, '0');
SELECT payload, num_retries FROM evsched.receive('schedule', 1, '1 h');
SELECT evsched.change_delay(:a, '0');
SELECT payload, num_retries FROM evsched.take('schedule', 1);

--
-- peek
--
SELECT evsched.post('{"n": 1}', '1 h') AS a \gset
SELECT evsched.post('{"n": 2}', '-1 h', 'schedule', 'k') AS b \gset
SELECT evsched.post_at('{"n": 3}', 'infinity', 'schedule', 'i') AS c \gset
SELECT evsched.post_at('{"n": 4}', '-infinity', 'schedule') AS d \gset
SELECT evsched.post('{"n": 5}', '3 days', 'schedule2', 'k') AS e \gset
SELECT pg_temp.about(remaining, '1 h') AS an_hour, payload FROM evsched.peek(:a);
SELECT * FROM evsched.peek(:b);
SELECT * FROM evsched.peek(key => 'k', queue => 'schedule');
SELECT * FROM evsched.peek(:c);
SELECT * FROM evsched.peek('i', 'schedule');
SELECT * FROM evsched.peek(:d);
SELECT pg_temp.about(remaining, '3 days') AS three_days, payload FROM evsched.peek('k', 'schedule2');
-- nothing is changed by looking
SELECT queue, key, payload FROM evsched.event ORDER BY id;

-- unknown, delivered, waiting for a retry, gone
SELECT * FROM evsched.peek('unknown', 'schedule');
SELECT * FROM evsched.peek('k', 'unknown');
SELECT * FROM evsched.peek(9223372036854775807);
SELECT * FROM evsched.peek(-1);
UPDATE evsched.event SET max_retries = 2;
SELECT payload FROM evsched.receive('schedule', 10, '1 h');
SELECT * FROM evsched.peek(:b);
SELECT * FROM evsched.peek('k', 'schedule');
SELECT evsched.reject(:b, '1 h'), evsched.reject(:d, '0');
SELECT pg_temp.about(remaining, '1 h') AS an_hour, payload FROM evsched.peek('k', 'schedule');
SELECT * FROM evsched.peek(:d);
SELECT count(*) FROM evsched.take('schedule');
SELECT * FROM evsched.peek(:d);
DELETE FROM evsched.event;

-- in the transaction that changes it
BEGIN;
SELECT evsched.post('"uncommitted"', '-1 h') AS a \gset
SELECT * FROM evsched.peek(:a);
SELECT evsched.cancel(:a);
SELECT * FROM evsched.peek(:a);
ROLLBACK;
SELECT * FROM evsched.peek(:a);

--
-- unknown and NULL: false, and nothing is created
--
SELECT evsched.post('"other"', '1 h', 'schedule', 'other') AS a \gset
SELECT evsched.cancel(9223372036854775807), evsched.cancel(0), evsched.cancel(-1),
       evsched.cancel('unknown', 'schedule'), evsched.cancel('other', 'unknown');
SELECT evsched.change_delay(9223372036854775807, '1 h'), evsched.change_delay(0, '1 h'),
       evsched.change_delay('unknown', '1 h', 'schedule'), evsched.change_delay('other', '1 h', 'unknown');
SELECT evsched.cancel(NULL), evsched.cancel(NULL, 'schedule'),
       evsched.change_delay(NULL, '1 h'), evsched.change_delay(NULL, '1 h', 'schedule');
SELECT * FROM evsched.peek(NULL);
SELECT * FROM evsched.peek(NULL, 'schedule');
SELECT queue, key, payload, minutes FROM waiting;
SELECT count(*) FROM evsched.dead_event;

--
-- upcoming
--
SELECT * FROM evsched.upcoming();
SELECT * FROM evsched.upcoming('unknown');
DELETE FROM evsched.event;
SELECT evsched.post('"in 2 hours"', '2 h') AS h2 \gset
SELECT evsched.post('"in 1 hour"', '1 h', key => 'k') AS h1 \gset
SELECT evsched.post('"1 hour late"', '-1 h') AS l1 \gset
SELECT evsched.post_at('"since ever"', '-infinity') AS le \gset
SELECT evsched.post_at('"never"', 'infinity') AS never \gset
SELECT evsched.post('"3 hours late"', '-3 h') AS l3 \gset
SELECT evsched.post('"in a day"', '1 day') AS d1 \gset
SELECT evsched.post('"elsewhere"', '1 h', 'schedule') AS other \gset
SELECT key, payload, pg_temp.minutes(due_at) AS minutes FROM evsched.upcoming();
SELECT array_agg(id) = ARRAY[:le, :l3, :l1, :h1, :h2, :d1, :never]::bigint[] AS told_true FROM evsched.upcoming();
SELECT u.due_at = e.due_at AS told_true FROM evsched.upcoming('default') u JOIN evsched.event e USING (id) GROUP BY 1;
SELECT payload FROM evsched.upcoming('schedule');

-- start_offset: from then on
SELECT payload FROM evsched.upcoming(start_offset => '0');
SELECT payload FROM evsched.upcoming('default', '90 min');
SELECT payload FROM evsched.upcoming('default', '-2 h');
SELECT payload FROM evsched.upcoming('default', '2 days');
-- duration: counts from there
SELECT payload FROM evsched.upcoming(duration => '0');
SELECT payload FROM evsched.upcoming(duration => '2 h');
SELECT payload FROM evsched.upcoming('default', '0', '90 min');
SELECT payload FROM evsched.upcoming('default', '90 min', '1 h');
SELECT payload FROM evsched.upcoming('default', '90 min', '20 min');
SELECT payload FROM evsched.upcoming('default', '-2 h', '4 h');
SELECT payload FROM evsched.upcoming('default', '-4 h', '2 h');
-- max_rows: the first ones; none or less is no limit
SELECT payload FROM evsched.upcoming('default', NULL, NULL, 2);
SELECT payload FROM evsched.upcoming('default', '0', NULL, 1);
SELECT payload FROM evsched.upcoming('default', '0', '1 week', 2);
SELECT payload FROM evsched.upcoming('default', '0', '90 min', 2);
SELECT count(*) FROM evsched.upcoming(max_rows => 0);
SELECT count(*) FROM evsched.upcoming(max_rows => -1);
SELECT count(*) FROM evsched.upcoming(NULL, NULL, NULL, NULL);

-- equal due times go by id
INSERT INTO evsched.event (queue, due_at, payload)
    SELECT 'equal', '2001-01-01', to_jsonb(i) FROM generate_series(1, 5) i;
SELECT payload FROM evsched.upcoming('equal', max_rows => 3);

-- those delivered are not waiting; those that wait for a retry are
SELECT evsched.post('"retried"', '-1 h', 'retry', NULL, 3) AS a \gset
SELECT evsched.post('"delivered"', '-1 h', 'retry', NULL, 3) AS b \gset
SELECT payload FROM evsched.receive('retry', 2, '1 h');
SELECT payload FROM evsched.upcoming('retry');
SELECT evsched.reject(:a, '1 h');
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.upcoming('retry');
SELECT evsched.reject(:b, '0');
SELECT payload FROM evsched.upcoming('retry');
SELECT payload FROM evsched.upcoming('retry', '0');

-- in the transaction that changes them
BEGIN;
SELECT evsched.cancel(:a);
SELECT payload FROM evsched.take('retry');
SELECT evsched.post('"uncommitted"', '5 min', 'retry') AS c \gset
SELECT payload FROM evsched.upcoming('retry');
ROLLBACK;
SELECT payload FROM evsched.upcoming('retry');
DELETE FROM evsched.event;

--
-- wrong input: 22023, a hint, and nothing changed
--
SELECT evsched.post('"untouched"', '1 h', 'schedule', 'k') AS a \gset
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$cancel('k', NULL)$$),
    ($$cancel('k', '')$$),
    ($$cancel('k', repeat('q', 64))$$),
    ($$cancel('', 'schedule')$$),
    ($$cancel(repeat('k', 256), 'schedule')$$),
    ($$change_delay('k', '1 s', NULL)$$),
    ($$change_delay('k', '1 s', '')$$),
    ($$change_delay('k', '1 s', repeat('q', 64))$$),
    ($$change_delay('', '1 s', 'schedule')$$),
    ($$change_delay(repeat('k', 256), '1 s', 'schedule')$$),
    ($$change_delay('k', NULL, 'schedule')$$),
    ($$change_delay('k', '300000 years', 'schedule')$$),
    ($$change_delay('unknown', NULL, 'schedule')$$),
    ($$change_delay('unknown', '300000 years', 'schedule')$$),
    ($$change_delay(0, NULL)$$),
    ($$change_delay(0, '300000 years')$$),
    ($$change_delay((SELECT id FROM evsched.event), NULL)$$),
    ($$change_delay((SELECT id FROM evsched.event), '300000 years')$$),
    ($$change_delay((SELECT id FROM evsched.event), '-300000 years')$$),
    ($$peek('k', NULL)$$),
    ($$peek('k', '')$$),
    ($$peek('k', repeat('q', 64))$$),
    ($$peek('', 'schedule')$$),
    ($$peek(repeat('k', 256), 'schedule')$$),
    ($$upcoming('')$$),
    ($$upcoming(repeat('q', 64))$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT queue, key, payload, minutes FROM waiting;
DELETE FROM evsched.event;

-- Series: what recurs. Times are given, or moved by plain UPDATE: nothing waits.

-- whatever another script has left
DELETE FROM evsched.event;
DELETE FROM evsched.recurrence;

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
CREATE FUNCTION pg_temp.minutes(at timestamptz) RETURNS int LANGUAGE sql AS $$
    SELECT round(extract(epoch FROM at - clock_timestamp()) / 60)
$$;

-- As if all of a series had been posted so much earlier.
CREATE PROCEDURE pg_temp.age(series bigint, by interval) LANGUAGE sql AS $$
    UPDATE evsched.recurrence SET start_at = start_at - by WHERE id = series;
    UPDATE evsched.event SET due_at = due_at - by, planned_at = planned_at - by
    WHERE recurring = series AND planned_at IS NOT NULL;
$$;

CREATE TEMP VIEW waiting AS
    SELECT key, payload, command, pg_temp.minutes(next_at) AS minutes, paused, missed, overlap
    FROM evsched.series ORDER BY id;
CREATE TEMP VIEW occurrences AS
    SELECT payload, key, state, pg_temp.minutes(due_at) AS minutes, num_retries AS failed, recurring IS NOT NULL AS recurs
    FROM evsched.events ORDER BY due_at, id;

--
-- the first time
--
SET TIME ZONE 'UTC';
SELECT evsched.post('"period"', every => '1 h') AS a \gset
SELECT evsched.post('"delay and period"', '5 min', every => '1 h') AS b \gset
SELECT evsched.post('"negative delay"', '-90 min', every => '1 h') AS c \gset
SELECT evsched.post_at('"time and period"', '2100-01-01 00:00+00', every => '1 day', time_zone => 'UTC') AS d \gset
SELECT evsched.post_at('"time and cron"', '2100-01-01 00:00+00', cron => '0 0 1 1 *', time_zone => 'UTC') AS e \gset
SELECT evsched.post_at('"after it"', '2100-01-01 00:00:01+00', cron => '0 0 1 1 *', time_zone => 'UTC') AS f \gset
SELECT evsched.every('1 h', 'SELECT 1') AS g \gset
SELECT evsched.every('1 h', 'SELECT 2', start_at => now() - interval '90 min') AS h \gset
SELECT evsched.every('1 h', 'SELECT 3', start_at => now() + interval '90 min') AS i \gset
SELECT evsched.cron('0 0 1 1 *', 'SELECT 4', '{"n": 4}', time_zone => 'Asia/Tokyo', missed => 'all', overlap => 'queue') AS j \gset
SELECT payload, pg_temp.minutes(next_at) AS minutes, pg_temp.minutes(start_at) AS start, period, overlap
FROM evsched.series WHERE id IN (:a, :b, :c) ORDER BY id;
SELECT payload, next_at FROM evsched.series WHERE id IN (:d, :e, :f) ORDER BY id;
SELECT command, pg_temp.minutes(next_at) AS minutes, pg_temp.minutes(start_at) AS start, missed, overlap
FROM evsched.series WHERE id IN (:g, :h, :i) ORDER BY id;
SELECT queue, schedule, period, time_zone, start_at, missed, overlap, payload, command, max_retries, owner = current_user AS mine,
       next_at AT TIME ZONE 'Asia/Tokyo' = date_trunc('year', now() AT TIME ZONE 'Asia/Tokyo') + interval '1 year' AS new_year
FROM evsched.series WHERE id = :j;
-- one row stands for each, and one waits
SELECT count(*) FILTER (WHERE id = recurring) AS series, count(*) FILTER (WHERE due_at = 'infinity') AS never,
       count(*) FILTER (WHERE planned_at = due_at) AS waiting, count(*) FROM evsched.event;
SELECT count(*) FROM evsched.events;
SELECT evsched.size('default'), evsched.size('passive');
SELECT evsched.cancel(id) FROM evsched.series ORDER BY id;
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.recurrence;

--
-- take moves it on, from the plan
--
SELECT evsched.post('"tick"', every => '1 h', queue => 'series', key => 'k') AS a \gset
SELECT count(*) FROM evsched.take('series', 10);
CALL pg_temp.age(:a, '61 min');
SELECT recurring = :a AS of_it, id <> :a AS other, key, payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT * FROM waiting;
SELECT next_at - start_at FROM evsched.series;
SELECT * FROM occurrences;
-- rolled back, it has not moved
CALL pg_temp.age(:a, '60 min');
BEGIN;
SELECT payload FROM evsched.take('series', 10);
SELECT * FROM waiting;
SELECT count(*) FROM evsched.take('series', 10);
ROLLBACK;
SELECT count(*) FROM evsched.events;
SELECT payload FROM evsched.take('series', 10);
SELECT next_at - start_at FROM evsched.series;

-- receive: what is under way is not the next one; confirmed or given back, that stays
UPDATE evsched.event SET max_retries = 1;
CALL pg_temp.age(:a, '60 min');
SELECT id AS b, payload FROM evsched.receive('series', 10, '1 h') \gset
SELECT * FROM occurrences;
SELECT evsched.confirm(:a) AS series, evsched.reject(:a) AS rejected, evsched.reject(:b) AS occurrence;
SELECT payload, num_retries FROM evsched.receive('series', 10, '1 h');
SELECT * FROM occurrences;
SELECT evsched.reject(:b, NULL, 'no luck');
SELECT * FROM occurrences;
SELECT recurring = :a AS of_it, queue, key, payload, why FROM evsched.dead_event;
SELECT evsched.redrive(ARRAY[:b]);
SELECT id = :b AS same, recurring = :a AS of_it, payload FROM evsched.take('series', 10);
SELECT * FROM occurrences;
-- confirmed or dead without ever having been handed out: the series goes on
CALL pg_temp.age(:a, '60 min');
SELECT evsched.confirm(id) FROM evsched.events WHERE recurring = :a;
SELECT * FROM occurrences;
CALL pg_temp.age(:a, '60 min');
SELECT evsched.reject(id) FROM evsched.events WHERE recurring = :a;
SELECT evsched.reject(id) FROM evsched.events WHERE recurring = :a;
SELECT * FROM occurrences;
SELECT evsched.discard(ARRAY(SELECT id FROM evsched.dead_event));

--
-- looking at it, and changing it
--
SELECT remaining > '55 min' AS an_hour, payload FROM evsched.peek(:a);
SELECT remaining > '55 min' AS an_hour, payload FROM evsched.peek('k', 'series');
SELECT id <> :a AS other, key, payload, pg_temp.minutes(due_at) AS minutes FROM evsched.upcoming('series');
SELECT evsched.change_delay(:a, '10 min');
SELECT * FROM waiting;
SELECT next_at = start_at AS grid FROM evsched.series;
SELECT evsched.change_delay('k', '-10 min', 'series');
SELECT payload FROM evsched.take('series', 10);
SELECT * FROM waiting;
SELECT pg_temp.outcome('SELECT evsched.change_delay(' || :a || ', ''infinity'')') IN ('22023: Pause it instead.', '22007') AS refused;
-- to before one that was handed out
CALL pg_temp.age(:a, '60 min');
SELECT id AS b FROM evsched.receive('series', 10, '1 h') \gset
SELECT evsched.change_delay(:a, '-3 h');
SELECT * FROM occurrences;
SELECT id <> :b AS other FROM evsched.take('series', 10);
SELECT * FROM occurrences;
SELECT evsched.confirm(:b);
SELECT * FROM occurrences;
-- an occurrence of its own: postponed, it is what it was; cancelled, the next one comes
SELECT id AS b FROM evsched.events WHERE recurring = :a \gset
SELECT evsched.change_delay(:b, '5 min');
SELECT * FROM occurrences;
SELECT evsched.cancel(:b);
SELECT * FROM occurrences;

-- posted again: the same series, with all that is new; what is under way stays as it was
SELECT evsched.change_delay(:a, '-1 s');
SELECT id AS b FROM evsched.receive('series', 10, '1 h') \gset
SELECT evsched.post('"tock"', every => '2 h', queue => 'series', key => 'k', max_retries => 3, retry_delay => '7 s', missed => 'skip') = :a AS same;
SELECT * FROM waiting;
SELECT * FROM occurrences;
SELECT period, max_retries, retry_delay, missed FROM evsched.series;
SELECT evsched.post('"kept"', every => '3 h', queue => 'series', key => 'k', on_conflict => 'keep') = :a AS same;
SELECT * FROM waiting;
SELECT evsched.post('"cron"', cron => '0 0 1 1 *', queue => 'series', key => 'k') = :a AS same;
SELECT schedule, period, start_at, payload, missed FROM evsched.series;
SELECT pg_temp.outcome($$SELECT evsched.post('1', every => '1 h', queue => 'series', key => 'k', on_conflict => 'error')$$);
SELECT pg_temp.outcome($$SELECT evsched.post('1', '1 h', 'series', 'k')$$);
SELECT pg_temp.outcome($$SELECT evsched.post('1', '1 h', 'series', 'k', on_conflict => 'keep')$$);
SELECT evsched.post('1', '1 h', 'series', 'event') > 0 AS event;
SELECT pg_temp.outcome($$SELECT evsched.post('1', every => '1 h', queue => 'series', key => 'event')$$);
-- what ends is the series, not what is under way
SELECT evsched.cancel('event', 'series'), evsched.cancel('k', 'series');
SELECT * FROM occurrences;
SELECT count(*) FROM evsched.recurrence;
SELECT evsched.confirm(:b), evsched.cancel(:a), evsched.cancel('k', 'series');
SELECT count(*) FROM evsched.event;

--
-- missed: four periods and a half without anybody
--
SELECT count(evsched.post(to_jsonb(missed), every => '1 h', queue => 'series', key => missed, missed => missed))
FROM unnest('{once,skip,all}'::text[]) missed;
DO $$ DECLARE s bigint; BEGIN
    FOR s IN SELECT id FROM evsched.series LOOP CALL pg_temp.age(s, '330 min'); END LOOP;
END $$;
SELECT * FROM waiting;
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT * FROM waiting;
-- each take finds one more of those that all brings back
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.take('series', 10);
SELECT * FROM waiting;
SELECT evsched.cancel(id) FROM evsched.series;
-- no more than max_catch_up of them, the latest
SELECT evsched.post('"all"', '-1000 min', every => '1 min', queue => 'series', missed => 'all') AS a \gset
SELECT count(*) FROM evsched.take('series', 10);
SELECT * FROM waiting;
DO $$
DECLARE n int := 0;
BEGIN
    WHILE EXISTS (SELECT FROM evsched.take('series')) LOOP n := n + 1; END LOOP;
    RAISE NOTICE '% caught up with', n;
END $$;
SELECT * FROM waiting;
SELECT evsched.cancel(:a);
-- one that is late by less than a period is not missed
SELECT evsched.post('"skip"', every => '1 h', queue => 'series', missed => 'skip') AS a \gset
UPDATE evsched.event SET due_at = clock_timestamp(), planned_at = clock_timestamp() WHERE recurring = :a AND planned_at IS NOT NULL;
SELECT payload FROM evsched.take('series');
SELECT evsched.cancel(:a);

--
-- pause, resume, run_now
--
SELECT evsched.post('"event"', '1 h', 'series', 'event') AS a \gset
SELECT evsched.post('"tick"', every => '1 h', queue => 'series', key => 'k') AS b \gset
SELECT evsched.pause(:a), evsched.pause('k', 'series'), evsched.pause(:a) AS again;
SELECT * FROM occurrences;
SELECT * FROM waiting;
CALL pg_temp.age(:b, '90 min');
UPDATE evsched.event SET due_at = due_at - interval '2 h' WHERE id = :a;
SELECT count(*) FROM evsched.take('series', 10);
SELECT evsched.size('series');
SELECT payload, pg_temp.minutes(due_at) AS minutes FROM evsched.upcoming('series');
-- posted again, the series is still paused
SELECT evsched.post('"tock"', every => '1 h', queue => 'series', key => 'k') = :b AS same;
CALL pg_temp.age(:b, '90 min');
SELECT count(*) FROM evsched.take('series', 10);
SELECT evsched.resume('event', 'series'), evsched.resume(:b);
SELECT * FROM occurrences;
SELECT payload FROM evsched.take('series', 10);
SELECT * FROM waiting;
-- a series with missed 'skip' goes on with the next
SELECT evsched.post('"skip"', every => '1 h', queue => 'series', key => 'k', missed => 'skip') = :b AS same;
SELECT evsched.pause(:b);
CALL pg_temp.age(:b, '61 min');
SELECT evsched.resume(:b);
SELECT * FROM occurrences;
-- what is delivered stays so, but comes no more
SELECT evsched.post('"held"', NULL, 'series', max_retries => 5) AS a \gset
SELECT payload FROM evsched.receive('series', 1, '1 h');
SELECT evsched.pause(:a);
SELECT * FROM occurrences;
SELECT evsched.reject(:a);
SELECT count(*) FROM evsched.take('series');
SELECT evsched.resume(:a);
SELECT payload, num_retries FROM evsched.take('series');
-- now
SELECT evsched.post('"later"', '1 h', 'series', 'later', 1) AS a \gset
SELECT evsched.run_now(:a), evsched.run_now(:a) AS again;
SELECT payload FROM evsched.receive('series');
SELECT evsched.run_now('later', 'series') AS under_way;
SELECT evsched.reject(:a, '1 h');
SELECT evsched.pause(:a);
SELECT evsched.run_now('later', 'series');
SELECT payload, num_retries FROM evsched.take('series');
SELECT evsched.run_now(:b), evsched.run_now('k', 'series') AS again;
SELECT * FROM occurrences;
SELECT payload FROM evsched.take('series', 5);
SELECT * FROM occurrences;
SELECT evsched.pause(:b);
SELECT evsched.run_now(:b);
SELECT payload FROM evsched.take('series', 5);
SELECT paused FROM evsched.series;
SELECT evsched.run_now(0), evsched.pause(-1), evsched.resume('none', 'series'), evsched.pause(NULL), evsched.run_now(NULL, 'series');
SELECT evsched.cancel(:b);

--
-- whose they are
--
CREATE ROLE regress_evsched_series LOGIN;
SELECT evsched.grant_usage('regress_evsched_series');
SELECT evsched.post('"mine"', every => '1 h', queue => 'series', key => 'k') AS a \gset
SET ROLE regress_evsched_series;
-- the queue is open: seen, but not to be paused
SELECT payload FROM evsched.series;
SELECT evsched.pause(:a), evsched.resume('k', 'series'), evsched.run_now(:a);
SELECT evsched.every('1 h', 'SELECT 1', key => 'theirs') AS b \gset
SELECT evsched.pause(:b), evsched.run_now(:b), evsched.resume(:b);
SELECT command, owner FROM evsched.series ORDER BY id;
RESET ROLE;
SELECT command, owner = current_user AS mine FROM evsched.series ORDER BY id;
SELECT DISTINCT owner FROM evsched.events WHERE command IS NOT NULL;
SELECT evsched.pause('theirs', 'passive');
SELECT evsched.cancel(:a), evsched.cancel(:b);
DELETE FROM evsched.event;
DROP OWNED BY regress_evsched_series;
DROP ROLE regress_evsched_series;

--
-- wrong input: 22023, a hint, and no row
--
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$post('1', every => '1 h', cron => '* * * * *')$$),
    ($$post('1', every => '0')$$),
    ($$post('1', every => '-1 h')$$),
    ($$post('1', every => '1 mon -1 day')$$),
    ($$post('1', every => '0.9 ms')$$),
    ($$post('1', every => '1 h', time_zone => 'Europe/Nowhere')$$),
    ($$post('1', every => '1 h', missed => 'never')$$),
    ($$post('1', time_zone => 'UTC')$$),
    ($$post('1', cron => '* * * *')$$),
    ($$post('1', cron => '0 0 30 2 *')$$),
    ($$post('1', '1 h', 'passive', every => '1 h')$$),
    ($$post_at('1', 'infinity', every => '1 h')$$),
    ($$post_at('1', '-infinity', cron => '* * * * *')$$),
    ($$post_at('1', '294276-12-31 23:00+00', cron => '0 0 1 1 *')$$),
    ($$every(NULL, 'SELECT 1')$$),
    ($$every('0', 'SELECT 1')$$),
    ($$every('1 h', NULL)$$),
    ($$every('1 h', '')$$),
    ($$every('1 h', 'SELECT 1', pool => 'no pool')$$),
    ($$every('1 h', 'SELECT 1', start_at => 'infinity')$$),
    ($$every('1 h', 'SELECT 1', overlap => 'never')$$),
    ($$every('1 h', 'SELECT 1', run_timeout => '0')$$),
    ($$cron(NULL, 'SELECT 1')$$),
    ($$cron('', 'SELECT 1')$$),
    ($$cron('@daily', 'SELECT 1', time_zone => '')$$),
    ($$cron('@daily', 'SELECT 1', missed => 'never')$$),
    ($$pause('k', NULL)$$),
    ($$resume('', 'series')$$),
    ($$run_now('k', '')$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.recurrence;
DELETE FROM evsched.dead;

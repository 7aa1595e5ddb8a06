-- Watches: what is accepted, what is stored, and what can be done with one. Nothing comes in
-- here; for that, and for FIFOs and sockets, see test/t/073_watch.pl.

-- whatever another script has left
DELETE FROM evsched.event;
DELETE FROM evsched.recurrence;

-- What a command comes to: ok, or its SQLSTATE and hint; it tells no path of this machine.
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;
GRANT EXECUTE ON FUNCTION pg_temp.outcome(text) TO PUBLIC;

--
-- what is refused, of a channel
--
\set VERBOSITY terse
SELECT evsched.watch_channel(NULL, 'SELECT 1');
SELECT evsched.watch_channel('', 'SELECT 1');
SELECT evsched.watch_channel(repeat('c', 64), 'SELECT 1');
SELECT evsched.watch_channel('c', NULL);
SELECT evsched.watch_channel('c', '');

-- and of a path
SELECT evsched.watch_path(NULL, 'SELECT 1');
SELECT evsched.watch_path('', 'SELECT 1');
SELECT evsched.watch_path('relative/fifo', 'SELECT 1');
SELECT evsched.watch_path('/' || repeat('p', 1023), 'SELECT 1');
SELECT evsched.watch_path('/dev', '');
SELECT evsched.watch_path('/dev/nothing of that name', 'SELECT 1');
SELECT evsched.watch_path('/dev', 'SELECT 1');
SELECT evsched.watch_path('/dev/null', 'SELECT 1');
SELECT pg_temp.outcome(format('SELECT evsched.watch_path(%L, %L)', current_setting('data_directory') || '/PG_VERSION', 'SELECT 1'));
\set VERBOSITY default
SELECT evsched.watch_channel(repeat('c', 64), 'SELECT 1');
SELECT evsched.watch_path('relative/fifo', 'SELECT 1');
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.recurrence;

--
-- what is stored: a series without a schedule
--
SELECT evsched.watch_channel('Some "channel"', 'SELECT $1') AS watch \gset
SELECT id = :watch AS it, queue, key, schedule, period, time_zone, start_at, next_at, paused, missed, overlap, payload, command,
       max_retries, retry_delay, run_timeout, owner = current_user AS mine, channel, path
FROM evsched.series;
SELECT due_at, recurring = id AS stands_for_it FROM evsched.event;
-- it is no event that waits
SELECT count(*) FROM evsched.events;
SELECT evsched.size('passive');
SELECT * FROM evsched.peek(:watch);

-- a second one on the same channel
SELECT evsched.watch_channel('Some "channel"', 'SELECT 2');
SELECT count(*) FROM evsched.series;
-- another channel, though it is spelled nearly so
SELECT evsched.watch_channel('some "channel"', 'SELECT 2') AS other \gset
SELECT channel FROM evsched.series ORDER BY channel;

--
-- what can be done with one
--
SELECT evsched.change_delay(:watch, '1 h');
SELECT evsched.reschedule(:watch, '1 h');
SELECT evsched.run_now(:watch);
SELECT evsched.pause(:watch), evsched.pause(:watch);
SELECT channel, paused FROM evsched.series ORDER BY channel;
SELECT evsched.resume(:watch), evsched.resume(:watch);
SELECT paused, count(*) FROM evsched.series GROUP BY paused;
SELECT evsched.cancel(:watch), evsched.cancel(:watch);
SELECT channel FROM evsched.series;
SELECT count(*) FROM evsched.recurrence;
-- and so the channel is free
SELECT evsched.watch_channel('Some "channel"', 'SELECT 1') > :watch AS new;
-- also after a plain DELETE, and when what came before is rolled back
DELETE FROM evsched.event;
BEGIN;
SELECT evsched.watch_channel('Some "channel"', 'SELECT 1') IS NOT NULL AS new;
ROLLBACK;
SELECT evsched.watch_channel('Some "channel"', 'SELECT 1') IS NOT NULL AS new;
SELECT channel FROM evsched.series;
DELETE FROM evsched.event;
DELETE FROM evsched.recurrence;

--
-- who may
--
CREATE ROLE regress_evsched_one LOGIN;
CREATE ROLE regress_evsched_two LOGIN;
CREATE ROLE regress_evsched_group;
SELECT evsched.grant_usage('regress_evsched_one'), evsched.grant_usage('regress_evsched_two'), evsched.grant_usage('regress_evsched_group');
SET ROLE regress_evsched_one;
SELECT evsched.watch_channel('one', 'SELECT 1') AS watch \gset
SELECT evsched.watch_path('/dev/null', 'SELECT 1');
-- and nothing is told of what is there
SELECT evsched.watch_path('/dev/nothing of that name', 'SELECT 1');
SELECT evsched._lost_paths();
RESET ROLE;
SET ROLE regress_evsched_two;
SELECT count(*) FROM evsched.series;
SELECT evsched.pause(:watch), evsched.resume(:watch), evsched.cancel(:watch), evsched.run_now(:watch), evsched.change_delay(:watch, '1 h');
SELECT evsched.watch_channel('one', 'SELECT 1');
RESET ROLE;
GRANT pg_read_server_files TO regress_evsched_two;
SET ROLE regress_evsched_two;
SELECT pg_temp.outcome($$SELECT evsched.watch_path('/dev/null', 'SELECT 1')$$);
RESET ROLE;
SET ROLE regress_evsched_group;
SELECT evsched.watch_channel('two', 'SELECT 1');
RESET ROLE;
SET default_transaction_read_only = on;
SELECT evsched.watch_channel('two', 'SELECT 1');
RESET default_transaction_read_only;

-- a watch whose path is gone is told of
INSERT INTO evsched.event (id, due_at, queue, command, recurring, max_retries) VALUES (-1, 'infinity', 'passive', 'SELECT 1', -1, 0);
INSERT INTO evsched.recurrence (id, missed, overlap, path) VALUES (-1, 'once', 'parallel', '/dev/nothing of that name');
SELECT * FROM evsched.check() WHERE item = 'watches';
SELECT evsched.cancel(-1);
SELECT * FROM evsched.check() WHERE item = 'watches';
-- and the table takes no watch that is none, or more than one
SELECT pg_temp.outcome('INSERT INTO evsched.recurrence (id, missed, overlap' || columns || ') VALUES (-1, ''once'', ''parallel''' || "values" || ')')
FROM (VALUES ('', ''), (', channel, path', ', ''c'', ''/p'''), (', channel', ', '''''), (', path', ', '''''), (', channel, time_zone', ', ''c'', ''UTC'''),
    (', schedule', ', ''@daily'''), (', period, time_zone', ', ''1 h'', ''UTC''')) v (columns, "values");

DELETE FROM evsched.event;
DELETE FROM evsched.recurrence;
DROP OWNED BY regress_evsched_one, regress_evsched_two, regress_evsched_group;
DROP ROLE regress_evsched_one, regress_evsched_two, regress_evsched_group;

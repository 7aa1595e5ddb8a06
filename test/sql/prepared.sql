-- Every call of the contract's section on events: as literal, as typed and as untyped
-- prepared statement. An untyped parameter is an id or fails, it never becomes a key.

-- whatever another script has left
DELETE FROM evsched.event;

-- What the parameters of a call become when nothing is said of their types.
CREATE FUNCTION pg_temp.types(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE types text;
BEGIN
    EXECUTE 'PREPARE untyped AS SELECT evsched.' || call;
    SELECT array_to_string(parameter_types, ', ') INTO types FROM pg_prepared_statements WHERE name = 'untyped';
    DEALLOCATE untyped;
    RETURN types;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE TEMP TABLE calls (n serial, call text);
INSERT INTO calls (call) VALUES
    ('post($1)'), ('post($1, $2)'), ('post($1, $2, $3)'), ('post($1, $2, $3, $4)'), ('post($1, $2, $3, $4, $5)'),
    ('post($1, $2, $3, $4, $5, $6)'), ('post($1, $2, $3, $4, $5, $6, $7)'), ('post($1, key => $2)'),
    ('post_at($1, $2)'), ('post_at($1, $2, $3, $4, $5, $6, $7)'),
    ('post_many($1)'), ('post_many($1, $2)'), ('post_many($1, $2, $3, $4, $5, $6, $7)'),
    ('cancel($1)'), ('cancel($1, $2)'),
    ('peek($1)'), ('peek($1, $2)'),
    ('confirm($1)'), ('confirm($1, $2)'), ('confirm(id => $1)'), ('confirm(ids => $1)'),
    ('reject($1)'), ('reject($1, $2)'), ('reject($1, $2, $3)'),
    ('extend($1, $2)'),
    ('change_delay($1, $2)'), ('change_delay($1, $2, $3)'),
    ('upcoming($1)'), ('upcoming($1, $2, $3, $4)'),
    ('take($1)'), ('take($1, $2)'),
    ('receive($1)'), ('receive($1, $2, $3)'),
    ('fetch($1)'),
    ('post($1, every => $2, cron => $3, time_zone => $4, deliver => $5, missed => $6)'), ('post_at($1, $2, every => $3)'),
    ('every($1, $2)'), ('every($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)'),
    ('cron($1, $2)'), ('cron($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)'),
    ('pause($1)'), ('pause($1, $2)'), ('resume($1)'), ('resume($1, $2)'), ('run_now($1)'), ('run_now($1, $2)'),
    ('reschedule($1, $2)');
SELECT call, pg_temp.types(call) FROM calls ORDER BY n;
-- the key alone finds nothing: it is no id, and there is no such function
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT evsched.post('"bait"', '-1 h', 'default', '7') AS bait \gset
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM (VALUES
    ($$cancel('k')$$), ($$cancel('k'::text)$$), ($$cancel('7'::text)$$), ($$peek('k')$$), ($$peek('7'::text)$$),
    ($$pause('k')$$), ($$pause('7'::text)$$), ($$resume('k')$$), ($$run_now('k')$$), ($$run_now('7'::text)$$),
    ($$confirm('k')$$), ($$confirm('7'::text)$$), ($$change_delay('k', '1 h')$$), ($$change_delay('7'::text, '1 h')$$)
) v (call);
SELECT key, payload FROM evsched.event WHERE key = '7';
SELECT evsched.cancel(:bait);

CREATE TEMP VIEW live AS
    SELECT key, payload, state, num_retries AS failed FROM evsched.events WHERE queue = 'prepared' ORDER BY id;

--
-- literals
--
SELECT evsched.post_at('"past"', '2001-01-01', 'prepared', NULL, '9', 'replace', '0') AS a \gset
SELECT evsched.post('"key"', '1 h', 'prepared', 'k', '9', 'keep', '0') AS b \gset
SELECT evsched.post('"alone"') AS c \gset
SELECT array_agg(id) AS ids FROM evsched.post_many('{1,2}', '{0}', 'prepared', '{x,y}', '9', 'error', '0') id \gset
SELECT * FROM evsched.peek(:'a');
SELECT payload, remaining > '59 min' AS an_hour FROM evsched.peek('k', 'prepared');
SELECT key, payload FROM evsched.upcoming('prepared', '-100 years', '101 years', '10');
SELECT evsched.change_delay(:'a', '-1 h'), evsched.change_delay('k', '-1 s', 'prepared');
SELECT payload, num_retries FROM evsched.receive('prepared', '2', '1 h');
SELECT payload FROM evsched.fetch(ARRAY[:a]);
SELECT evsched.extend(:'a', '2 h'), evsched.reject(:'a', '-1 h', 'no luck');
SELECT * FROM live;
SELECT evsched.confirm(:a), evsched.confirm('x', 'prepared'), evsched.confirm(ARRAY[:a, :b]);
SELECT * FROM live;
SELECT payload FROM evsched.take('prepared', '5');
SELECT evsched.post('"k"', '1 h', 'prepared', 'k') AS b \gset
SELECT evsched.cancel('k', 'prepared'), evsched.cancel(:'c');
SELECT * FROM live;

--
-- typed
--
PREPARE post_at (jsonb, timestamptz, text, text, int, text, interval) AS SELECT evsched.post_at($1, $2, $3, $4, $5, $6, $7) AS a;
PREPARE post (jsonb, interval, text, text, int, text, interval) AS SELECT evsched.post($1, $2, $3, $4, $5, $6, $7) AS b;
PREPARE post_alone (jsonb) AS SELECT evsched.post($1) AS c;
PREPARE post_many (jsonb[], interval[], text, text[], int, text, interval) AS SELECT array_agg(id) AS ids FROM evsched.post_many($1, $2, $3, $4, $5, $6, $7) id;
PREPARE peek (bigint) AS SELECT * FROM evsched.peek($1);
PREPARE peek_key (text, text) AS SELECT payload, remaining > '59 min' AS an_hour FROM evsched.peek($1, $2);
PREPARE upcoming (text, interval, interval, int) AS SELECT key, payload FROM evsched.upcoming($1, $2, $3, $4);
PREPARE change_delay (bigint, interval) AS SELECT evsched.change_delay($1, $2);
PREPARE change_delay_key (text, interval, text) AS SELECT evsched.change_delay($1, $2, $3);
PREPARE receive (text, int, interval) AS SELECT payload, num_retries FROM evsched.receive($1, $2, $3);
PREPARE fetch_ids (bigint[]) AS SELECT payload FROM evsched.fetch($1);
PREPARE extend (bigint, interval) AS SELECT evsched.extend($1, $2);
PREPARE reject (bigint, interval, text) AS SELECT evsched.reject($1, $2, $3);
PREPARE confirm (bigint) AS SELECT evsched.confirm($1);
PREPARE confirm_key (text, text) AS SELECT evsched.confirm($1, $2);
PREPARE confirm_ids (bigint[]) AS SELECT evsched.confirm($1);
PREPARE take (text, int) AS SELECT payload FROM evsched.take($1, $2);
PREPARE cancel (bigint) AS SELECT evsched.cancel($1);
PREPARE cancel_key (text, text) AS SELECT evsched.cancel($1, $2);
EXECUTE post_at('"past"', '2001-01-01', 'prepared', NULL, 9, 'replace', '0') \gset
EXECUTE post('"key"', '1 h', 'prepared', 'k', 9, 'keep', '0') \gset
EXECUTE post_alone('"alone"') \gset
EXECUTE post_many('{1,2}', '{0}', 'prepared', '{x,y}', 9, 'error', '0') \gset
EXECUTE peek(:a);
EXECUTE peek_key('k', 'prepared');
EXECUTE upcoming('prepared', '-100 years', '101 years', 10);
EXECUTE change_delay(:a, '-1 h');
EXECUTE change_delay_key('k', '-1 s', 'prepared');
EXECUTE receive('prepared', 2, '1 h');
EXECUTE fetch_ids(ARRAY[:a]);
EXECUTE extend(:a, '2 h');
EXECUTE reject(:a, '-1 h', 'no luck');
SELECT * FROM live;
EXECUTE confirm(:a);
EXECUTE confirm_key('x', 'prepared');
EXECUTE confirm_ids(ARRAY[:a, :b]);
SELECT * FROM live;
EXECUTE take('prepared', 5);
EXECUTE post('"k"', '1 h', 'prepared', 'k', NULL, NULL, NULL) \gset
EXECUTE cancel_key('k', 'prepared');
EXECUTE cancel(:c);
SELECT * FROM live;
-- as int, which drivers send for a small number
SELECT evsched.post('"int"', '1 h') AS a \gset
PREPARE small_cancel (int) AS SELECT evsched.cancel($1);
EXECUTE small_cancel(:a);
-- NULL of each type
EXECUTE peek(NULL);
EXECUTE confirm(NULL);
EXECUTE cancel_key(NULL, 'prepared');
DEALLOCATE ALL;

--
-- untyped; confirm needs to be told whether it gets an id or ids
--
PREPARE post_at AS SELECT evsched.post_at($1, $2, $3, $4, $5, $6, $7) AS a;
PREPARE post AS SELECT evsched.post($1, $2, $3, $4, $5, $6, $7) AS b;
PREPARE post_alone AS SELECT evsched.post($1) AS c;
PREPARE post_many AS SELECT array_agg(id) AS ids FROM evsched.post_many($1, $2, $3, $4, $5, $6, $7) id;
PREPARE peek AS SELECT * FROM evsched.peek($1);
PREPARE peek_key AS SELECT payload, remaining > '59 min' AS an_hour FROM evsched.peek($1, $2);
PREPARE upcoming AS SELECT key, payload FROM evsched.upcoming($1, $2, $3, $4);
PREPARE change_delay AS SELECT evsched.change_delay($1, $2);
PREPARE change_delay_key AS SELECT evsched.change_delay($1, $2, $3);
PREPARE receive AS SELECT payload, num_retries FROM evsched.receive($1, $2, $3);
PREPARE fetch_ids AS SELECT payload FROM evsched.fetch($1);
PREPARE extend AS SELECT evsched.extend($1, $2);
PREPARE reject AS SELECT evsched.reject($1, $2, $3);
PREPARE confirm AS SELECT evsched.confirm(id => $1);
PREPARE confirm_key AS SELECT evsched.confirm($1, $2);
PREPARE confirm_ids AS SELECT evsched.confirm(ids => $1);
PREPARE take AS SELECT payload FROM evsched.take($1, $2);
PREPARE cancel AS SELECT evsched.cancel($1);
PREPARE cancel_key AS SELECT evsched.cancel($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
EXECUTE post_at('"past"', '2001-01-01', 'prepared', NULL, 9, 'replace', '0') \gset
EXECUTE post('"key"', '1 h', 'prepared', 'k', 9, 'keep', '0') \gset
EXECUTE post_alone('"alone"') \gset
EXECUTE post_many('{1,2}', '{0}', 'prepared', '{x,y}', 9, 'error', '0') \gset
EXECUTE peek(:a);
EXECUTE peek_key('k', 'prepared');
EXECUTE upcoming('prepared', '-100 years', '101 years', 10);
EXECUTE change_delay(:a, '-1 h');
EXECUTE change_delay_key('k', '-1 s', 'prepared');
EXECUTE receive('prepared', 2, '1 h');
EXECUTE fetch_ids(ARRAY[:a]);
EXECUTE extend(:a, '2 h');
EXECUTE reject(:a, '-1 h', 'no luck');
SELECT * FROM live;
EXECUTE confirm(:a);
EXECUTE confirm_key('x', 'prepared');
EXECUTE confirm_ids(ARRAY[:a, :b]);
SELECT * FROM live;
EXECUTE take('prepared', 5);
EXECUTE post('"k"', '1 h', 'prepared', 'k', NULL, NULL, NULL) \gset
EXECUTE cancel_key('k', 'prepared');
EXECUTE cancel(:c);
SELECT * FROM live;
-- again and again, with one plan for all
SET plan_cache_mode = force_generic_plan;
EXECUTE post('"generic"', '-1 h', 'prepared', 'k', 9, 'keep', '0') \gset
EXECUTE take('prepared', 5);
EXECUTE take('prepared', 5);
EXECUTE post('"generic again"', '-1 h', 'prepared', 'k', 9, 'keep', '0') \gset
EXECUTE take('prepared', 5);
RESET plan_cache_mode;
DEALLOCATE ALL;

--
-- series, and what holds events back: literals, typed, untyped
--
CREATE TEMP VIEW series AS
    SELECT key, queue, payload, command, schedule, period, time_zone, paused FROM evsched.series ORDER BY id;
SELECT evsched.post('"tick"', NULL, 'prepared', 'tick', '3', 'replace', '0', '1 h', NULL, 'UTC', 'one', 'skip') AS a \gset
SELECT evsched.every('1 h', 'SELECT 1', '1', 'passive', 'every', '0', 'replace', '1 s', '1 min', '2100-01-01', 'UTC', 'all', 'queue') AS b \gset
SELECT evsched.cron('@daily', 'SELECT 1', '1', 'passive', 'cron', '0', 'replace', '1 s', '1 min', 'UTC', 'all', 'queue') AS c \gset
SELECT evsched.pause(:'a'), evsched.pause('every', 'passive'), evsched.run_now('cron', 'passive'), evsched.run_now(:'c');
SELECT * FROM series;
SELECT evsched.resume(:'a'), evsched.resume('every', 'passive'), evsched.reschedule(:'b', '1 h');
SELECT * FROM series WHERE paused;
SELECT evsched.cancel(id) FROM evsched.series ORDER BY id;
PREPARE post (jsonb, interval, text, interval) AS SELECT evsched.post($1, $2, key => $3, every => $4) AS a;
PREPARE every (interval, text, text, timestamptz) AS SELECT evsched.every($1, $2, key => $3, start_at => $4) AS b;
PREPARE cron (text, text, text) AS SELECT evsched.cron($1, $2, key => $3) AS c;
PREPARE pause (bigint) AS SELECT evsched.pause($1);
PREPARE pause_key (text, text) AS SELECT evsched.pause($1, $2);
PREPARE resume (bigint) AS SELECT evsched.resume($1);
PREPARE run_now_key (text, text) AS SELECT evsched.run_now($1, $2);
EXECUTE post('"tick"', NULL, 'tick', '1 h') \gset
EXECUTE every('1 h', 'SELECT 1', 'every', NULL) \gset
EXECUTE cron('@daily', 'SELECT 1', 'cron') \gset
EXECUTE pause(:a);
EXECUTE pause_key('every', 'passive');
EXECUTE resume(:a);
EXECUTE run_now_key('cron', 'passive');
EXECUTE pause(NULL);
SELECT key, paused FROM series;
DEALLOCATE ALL;
PREPARE pause AS SELECT evsched.pause($1);
PREPARE pause_key AS SELECT evsched.pause($1, $2);
PREPARE resume AS SELECT evsched.resume($1);
PREPARE resume_key AS SELECT evsched.resume($1, $2);
PREPARE run_now AS SELECT evsched.run_now($1);
PREPARE reschedule AS SELECT evsched.reschedule($1, $2);
EXECUTE pause(:a);
EXECUTE pause_key('tick', 'default');
EXECUTE resume(:a);
EXECUTE resume_key('every', 'passive');
EXECUTE run_now(:a);
EXECUTE reschedule(:b, '2 h');
EXECUTE pause('tick');
SELECT key, paused FROM series;
DEALLOCATE ALL;
SELECT evsched.cancel(id) FROM evsched.series ORDER BY id;
DELETE FROM evsched.event;

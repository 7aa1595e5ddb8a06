-- Rules. Nothing waits: a slot comes from a table, or a period is so short that every call
-- is a slot of its own, or so long that there will be one only.

-- What a command comes to: ok, or its SQLSTATE and whether there is a hint.
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ' with a hint' END;
END $$;

CREATE TABLE trace (n serial, what text, who text DEFAULT current_user);
GRANT ALL ON trace, trace_n_seq TO PUBLIC;
CREATE FUNCTION traces() RETURNS text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM public.trace RETURNING n, what) SELECT string_agg(what, ' ' ORDER BY n) FROM gone
$$;

-- The slot of a name is what stands in the table; the name, too, if there is one.
CREATE TABLE slot (identifier text PRIMARY KEY, slot bigint, name text);
CREATE FUNCTION slot_of(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
    SELECT s.slot, s.name INTO slot, name FROM slot s WHERE s.identifier = slot_of.identifier;
END $$;
GRANT ALL ON slot TO PUBLIC;

CREATE VIEW rules AS
    SELECT rule_set, identifier, period, mode, filter, command, last_slot, last_run_at IS NOT NULL AS has_run FROM evsched.rules ORDER BY rule_set, identifier, id;

--
-- definitions
--
SELECT evsched.add_rule('a', '1 us', $$INSERT INTO trace (what) VALUES ('a')$$) AS a \gset
SELECT evsched.add_rule('b', '100000 days', $$INSERT INTO trace (what) VALUES ('b')$$, 'each', '$1 IS NULL', 'other') > :a AS grows;
SELECT * FROM rules;
SELECT owner = current_user AS mine, id = :a AS same FROM evsched.rules WHERE identifier = 'a';
SELECT evsched.post('1', '1 h', 'rule') > :a AS from_the_sequence_of_events, evsched.cancel(:a) AS cancelled;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(rule_set => 'other'), traces();
SELECT evsched.run_rules('{"a": 1}', 'there is none'), traces();
-- all of a name; of one set
SELECT evsched.add_rule('a', '1 us', 'SELECT 1') > :a AS again, evsched.add_rule('a', '1 us', 'SELECT 1', rule_set => 'other') > 0 AS elsewhere;
SELECT evsched.remove_rule(NULL) AS null, evsched.remove_rule('a') AS two, evsched.remove_rule('a') AS none, evsched.remove_rule('a', 'other') AS one,
       evsched.remove_rule('b', 'there is none') AS no_set, evsched.remove_rule('b', rule_set => 'other') AS the_other;
SELECT * FROM rules;
-- as long as they may be, and odd
SELECT evsched.add_rule(repeat('x', 255), '1 day', 'SELECT 1', rule_set => repeat('s', 63)) > 0 AS long;
SELECT evsched.add_rule('''";--', '1 us', $$SELECT '"odd"'::jsonb$$, rule_set => '''";--') > 0 AS odd;
SELECT evsched.run_rules(NULL, '''";--');
SELECT evsched.run_rules('1', repeat('s', 63));
SELECT evsched.remove_rule(repeat('x', 255), repeat('s', 63)), evsched.remove_rule('''";--', '''";--');
-- wrong
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$add_rule(NULL, '1 s', 'SELECT 1')$$),
    ($$add_rule('', '1 s', 'SELECT 1')$$),
    ($$add_rule(repeat('x', 256), '1 s', 'SELECT 1')$$),
    ($$add_rule(repeat('é', 128), '1 s', 'SELECT 1')$$),
    ($$add_rule('a', NULL, 'SELECT 1')$$),
    ($$add_rule('a', '0', 'SELECT 1')$$),
    ($$add_rule('a', '-1 s', 'SELECT 1')$$),
    ($$add_rule('a', '1 day -25 hours', 'SELECT 1')$$),
    ($$add_rule('a', '1 month', 'SELECT 1')$$),
    ($$add_rule('a', '1 month -1 day', 'SELECT 1')$$),
    ($$add_rule('a', '1 year', 'SELECT 1')$$),
    ($$add_rule('a', '1 s', NULL)$$),
    ($$add_rule('a', '1 s', '')$$),
    ($$add_rule('a', '1 s', 'SELECT 1', 'twice')$$),
    ($$add_rule('a', '1 s', 'SELECT 1', 'ONCE')$$),
    ($$add_rule('a', '1 s', 'SELECT 1', '')$$),
    ($$add_rule('a', '1 s', 'SELECT 1', rule_set => '')$$),
    ($$add_rule('a', '1 s', 'SELECT 1', rule_set => repeat('x', 64))$$),
    ($$remove_rule('a', '')$$),
    ($$run_rules(rule_set => '')$$),
    ($$run_rules(rule_set => repeat('x', 64))$$),
    ($$load_rules(NULL)$$),
    ($$load_rules('[]', '')$$),
    ($$load_rules('[]', repeat('x', 64))$$),
    ($$load_rules('null')$$),
    ($$load_rules('{}')$$),
    ($$load_rules('"a"')$$),
    ($$load_rules('[1]')$$),
    ($$load_rules('[[]]')$$),
    ($$load_rules('[null]')$$),
    ($$load_rules('[{}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s"}]')$$),
    ($$load_rules('[{"identifier": "a", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"period": "1 s", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "extra": 1}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "Mode": "once"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "rule_set": "default"}]')$$),
    ($$load_rules('[{"identifier": 1, "period": "1 s", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": 1, "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": ["SELECT 1"]}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "mode": true}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "filter": false}]')$$),
    ($$load_rules('[{"identifier": "", "period": "1 s", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "0", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 month", "command": "SELECT 1"}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": ""}]')$$),
    ($$load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "mode": "twice"}]')$$),
    ($$set_slot_function('slot_of', '')$$),
    ($$set_slot_function('upper(text)'::regprocedure)$$),
    ($$grant_rules(NULL, current_user)$$),
    ($$grant_rules('', current_user)$$),
    ($$grant_rules('default', NULL)$$),
    ($$revoke_rules('', current_user)$$);
SELECT call, outcome FROM (SELECT n, call, pg_temp.outcome('SELECT evsched.' || call) AS outcome FROM wrong) w
WHERE outcome <> '22023 with a hint' ORDER BY n;
SELECT pg_temp.outcome($$SELECT evsched.load_rules('[{"identifier": "a", "period": "soon", "command": "SELECT 1"}]')$$);
-- what is no SQL: the caller is told where
SELECT evsched.add_rule('a', '1 s', 'SELEC 1');
SELECT evsched.add_rule('a', '1 s', 'SELECT 1; SELECT ''');
SELECT evsched.add_rule('a', '1 s', 'SELECT 1', filter => 'true AND');
SELECT evsched.load_rules('[{"identifier": "a", "period": "1 s", "command": "SELEC 1"}]');
SELECT evsched.load_rules('[{"identifier": "a", "period": "1 s", "command": "SELECT 1", "filter": ")"}]');
-- a filter is one expression, whatever is written into it
SELECT filter, outcome FROM (
    SELECT n, filter, pg_temp.outcome(format('SELECT evsched.add_rule(''a'', ''1 s'', ''SELECT 1'', filter => %L)', filter)) AS outcome
    FROM unnest(ARRAY['', ' ', '-- true', 'true; SELECT 1', 'true); SELECT (true', 'true) AS a, (true', 'true) FROM trace WHERE (true',
                      'true) UNION (SELECT true', 'true) LIMIT (1', 'true) OFFSET (0', 'true) ORDER BY (1', 'true) GROUP BY (1', 'true) HAVING (true', 'DELETE FROM trace', 'true AS a', '*',
                      'slot = 0 FROM slot', 'a => true']) WITH ORDINALITY f(filter, n)) f
WHERE outcome NOT IN ('22023 with a hint', '42601', '42601 with a hint') ORDER BY n;
SELECT evsched.load_rules('[]');
SELECT pg_temp.outcome($$SELECT evsched.add_rule('comment', '1 us', 'SELECT ''"run"''::jsonb', filter => 'true -- as always')$$);
SELECT evsched.run_rules();
SELECT evsched.remove_rule('comment');
SELECT count(*) FROM evsched.rules;

--
-- once: a slot that is higher than the last
--
SELECT evsched.set_slot_function('slot_of');
SELECT evsched.add_rule(i, '1 s', format('INSERT INTO trace (what) VALUES (%L)', i)) > 0 AS added FROM unnest('{a,b}'::text[]) i;
INSERT INTO slot VALUES ('a', -7), ('b', 0);
SELECT evsched.run_rules('1'), traces();
SELECT evsched.run_rules('1'), traces();
UPDATE slot SET slot = slot + 1;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
-- set back, and up to the same again
UPDATE slot SET slot = slot - 5;
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = slot + 5;
SELECT evsched.run_rules(), traces();
-- missed slots are passed over
UPDATE slot SET slot = slot + 1000;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
-- one of them
UPDATE slot SET slot = slot + 1 WHERE identifier = 'b';
SELECT evsched.run_rules(), traces();
-- to the ends of the world
UPDATE slot SET slot = 9223372036854775807;
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = -9223372036854775808;
SELECT evsched.run_rules(), traces();
-- slots that a function has named outlive the rule
SELECT evsched.remove_rule('a');
SELECT evsched.add_rule('a', '1 s', $$INSERT INTO trace (what) VALUES ('a')$$) > 0 AS added;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
-- one name for two rules: one of them
UPDATE slot SET slot = 1, name = 'both';
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = 2 WHERE identifier = 'a';
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = 2 WHERE identifier = 'b';
SELECT evsched.run_rules(), traces();
-- named after another, whose slots are later
UPDATE slot SET slot = 3, name = CASE identifier WHEN 'b' THEN 'a' END;
SELECT evsched.run_rules(), traces();
-- without a slot, without a row; the caller's transaction is undone
UPDATE slot SET slot = 4, name = NULL;
UPDATE slot SET slot = NULL WHERE identifier = 'a';
SELECT evsched.run_rules();
DELETE FROM slot WHERE identifier = 'a';
SELECT evsched.run_rules();
SELECT traces();
INSERT INTO slot VALUES ('a', 9223372036854775807);
SELECT evsched.run_rules(), traces();
-- one that raises
CREATE FUNCTION raises(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
    IF identifier = 'a' THEN RAISE EXCEPTION USING ERRCODE = 'XY123', MESSAGE = 'no slot of ' || identifier; END IF;
    slot := 1;
END $$;
SELECT evsched.set_slot_function('raises');
SELECT evsched.run_rules();
SELECT traces();
SELECT count(*) FROM evsched.run WHERE event_id IN (SELECT id FROM evsched.rules);
-- what it is given: name and period of the rule, and one time for all
CREATE TABLE given (identifier text, period interval, at timestamptz);
CREATE FUNCTION notes(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS $$
    INSERT INTO given VALUES ($1, $2, $3) RETURNING 1::bigint, NULL::text
$$;
SELECT evsched.set_slot_function('notes');
SELECT evsched.add_rule('c', '26:00:01.5', $$INSERT INTO trace (what) VALUES ('c')$$) > 0 AS added;
SELECT clock_timestamp() AS before \gset
SELECT evsched.run_rules(), traces();
SELECT DISTINCT identifier, period FROM given ORDER BY 1;
SELECT count(DISTINCT at) AS times, min(at) >= :'before' AND max(at) <= clock_timestamp() AS now FROM given;
-- the clock at the call, not of the transaction
TRUNCATE given;
BEGIN;
SELECT evsched.run_rules(), evsched.run_rules(), evsched.run_rules();
SELECT count(DISTINCT at) FROM given;
ROLLBACK;
SELECT evsched.remove_rule('c');

-- another function, or none again: slots are forgotten
UPDATE slot SET slot = -1, name = NULL;
SELECT evsched.set_slot_function('slot_of');
SELECT evsched.run_rules(), traces();
BEGIN;
SELECT evsched.set_slot_function('raises');
ROLLBACK;
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = 9223372036854775807;
SELECT evsched.run_rules(), traces();
SELECT evsched.set_slot_function(NULL);
SELECT evsched.run_rules(), traces();
SELECT evsched.remove_rule('a'), evsched.remove_rule('b');
-- without one: epoch / period, rounded down
SELECT evsched.add_rule('ages', '100000 days', $$INSERT INTO trace (what) VALUES ('ages')$$) > 0 AS added,
       evsched.add_rule('each call', '00:00:00.000001', $$INSERT INTO trace (what) VALUES ('call')$$) > 0 AS added,
       evsched.add_rule('half a day', '12 hours', $$INSERT INTO trace (what) VALUES ('half')$$) > 0 AS added;
SELECT extract(epoch FROM clock_timestamp()) AS before \gset
SELECT evsched.run_rules(), traces();
SELECT identifier, last_slot = 0 AS zero,
       last_slot BETWEEN floor(:before * 1000000) AND extract(epoch FROM clock_timestamp()) * 1000000 AS microseconds,
       last_slot BETWEEN floor(:before / 43200) AND extract(epoch FROM clock_timestamp()) / 43200 AS half_days
FROM evsched.rules ORDER BY id;
SELECT extract(epoch FROM last_run_at) BETWEEN :before AND extract(epoch FROM clock_timestamp()) AS now FROM evsched.rules;
SELECT evsched.run_rules();
SELECT what FROM trace WHERE what <> 'half';
SELECT traces() IS NOT NULL AS some;
BEGIN;
SELECT evsched.run_rules(), evsched.run_rules();
SELECT count(*) FROM trace WHERE what = 'call';
ROLLBACK;
-- a rule that is added anew begins anew
SELECT evsched.remove_rule('ages');
SELECT evsched.add_rule('ages', '100000 days', $$INSERT INTO trace (what) VALUES ('ages anew')$$) > 0 AS added;
SELECT evsched.run_rules(), evsched.run_rules();
SELECT what, count(*) FROM trace WHERE what <> 'half' GROUP BY 1 ORDER BY 1;
SELECT traces() IS NOT NULL AS some;
SELECT evsched.load_rules('[]');

-- what is no slot function
CREATE FUNCTION few(identifier text, period interval, OUT slot bigint, OUT name text) LANGUAGE sql AS 'SELECT 1::bigint, NULL::text';
CREATE FUNCTION many(identifier text, period interval, at timestamptz, more int, OUT slot bigint, OUT name text) LANGUAGE sql AS 'SELECT 1::bigint, NULL::text';
CREATE FUNCTION other_in(identifier text, period interval, at timestamp, OUT slot bigint, OUT name text) LANGUAGE sql AS 'SELECT 1::bigint, NULL::text';
CREATE FUNCTION other_out(identifier text, period interval, at timestamptz, OUT slot text, OUT name bigint) LANGUAGE sql AS 'SELECT NULL::text, 1::bigint';
CREATE FUNCTION no_name(identifier text, period interval, at timestamptz, OUT slot bigint) LANGUAGE sql AS 'SELECT 1::bigint';
CREATE FUNCTION no_row(identifier text, period interval, at timestamptz) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE no_function(identifier text, period interval, at timestamptz, INOUT slot bigint, INOUT name text) LANGUAGE sql AS 'SELECT 1::bigint, NULL::text';
SELECT f, pg_temp.outcome(format('SELECT evsched.set_slot_function(%L)', f))
FROM unnest('{few, many, other_in, other_out, no_name, no_row, no_function, pg_catalog.max}'::text[]) f;
SELECT pg_temp.outcome($$SELECT evsched.set_slot_function('nowhere')$$);
-- one that is gone, or another now
CREATE FUNCTION gone(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS 'SELECT 1::bigint, NULL::text';
SELECT evsched.set_slot_function('gone');
SELECT evsched.add_rule('a', '1 us', $$INSERT INTO trace (what) VALUES ('a')$$) > 0 AS added;
SELECT evsched.run_rules(), traces();
DROP FUNCTION gone;
SELECT pg_temp.outcome('SELECT evsched.run_rules()') <> 'ok' AS raises, traces();
CREATE FUNCTION gone(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS 'SELECT 2::bigint, NULL::text';
SELECT evsched.run_rules(), traces();
SELECT evsched.set_slot_function(NULL), evsched.load_rules('[]');

--
-- each: once per period in this session
--
SELECT evsched.add_rule('ages', '100000 days', $$INSERT INTO trace (what) VALUES ('ages')$$, 'each') > 0 AS added,
       evsched.add_rule('call', '1 us', $$INSERT INTO trace (what) VALUES ('call')$$, 'each') > 0 AS added;
BEGIN;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT evsched.run_rules(), traces();
ROLLBACK TO s;
SELECT evsched.run_rules(), traces();
SAVEPOINT s;
SELECT evsched.run_rules(), traces();
RELEASE s;
COMMIT;
SELECT evsched.run_rules(), traces();
DO $$ BEGIN PERFORM evsched.run_rules(); RAISE EXCEPTION 'undone'; EXCEPTION WHEN raise_exception THEN NULL; END $$;
SELECT evsched.run_rules(), traces();
-- of one that is added anew nothing is known
SELECT evsched.remove_rule('ages');
SELECT evsched.run_rules(), traces();
SELECT evsched.add_rule('ages', '100000 days', $$INSERT INTO trace (what) VALUES ('ages')$$, 'each') > 0 AS added;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
-- another session has its own
\c -
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
SELECT evsched.load_rules('[]');

--
-- filter
--
SELECT evsched.set_slot_function('slot_of');
TRUNCATE slot;
INSERT INTO slot SELECT unnest('{not,"null",response,yes,error,none}'::text[]), 1;
SELECT evsched.add_rule('not', '1 s', $$INSERT INTO trace (what) VALUES ('not')$$, filter => 'EXISTS (SELECT FROM slot WHERE identifier = ''let it'')') > 0 AS added,
       evsched.add_rule('null', '1 s', $$INSERT INTO trace (what) VALUES ('null')$$, filter => 'NULL') > 0 AS added,
       evsched.add_rule('yes', '1 s', $$INSERT INTO trace (what) VALUES ('yes'); SELECT '{"go": true}'::jsonb$$, filter => '$1 IS NULL OR $1 <> ''{}''') > 0 AS added,
       evsched.add_rule('response', '1 s', $$INSERT INTO trace (what) VALUES ('response')$$, filter => '($1->>''go'')::boolean') > 0 AS added,
       evsched.add_rule('none', '1 s', $$INSERT INTO trace (what) VALUES ('none')$$, filter => 'unnest(''{}''::boolean[])') > 0 AS added,
       evsched.add_rule('error', '1 s', $$INSERT INTO trace (what) VALUES ('error')$$, filter => '1 / (SELECT slot - 1 FROM slot WHERE identifier = ''error'') > 0') AS error \gset
SELECT evsched.run_rules('{}'), traces();
-- it has used the slot up all the same
INSERT INTO slot VALUES ('let it', 0);
SELECT evsched.run_rules('{"go": true}'), traces();
SELECT state, sqlstate, message, command, worker, pool, owner = current_user AS mine FROM evsched.run WHERE event_id = :error;
-- each is asked of the response as it is by then
UPDATE slot SET slot = 2;
SELECT evsched.run_rules('{"go": false}'), traces();
UPDATE slot SET slot = 3;
SELECT evsched.run_rules(), traces();
SELECT count(*) FROM evsched.run WHERE event_id = :error;
-- each: the period is spent
SELECT evsched.load_rules('[]');
SELECT evsched.add_rule('each filtered', '100000 days', $$INSERT INTO trace (what) VALUES ('each')$$, 'each', '$1 IS NOT NULL') > 0 AS added;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules('1'), traces();

--
-- the response
--
CREATE FUNCTION pg_temp.respond(command text, response jsonb DEFAULT '{"a": 1}') RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evsched.load_rules('[]', 'respond');
    PERFORM evsched.add_rule('respond', '100000 days', command, rule_set => 'respond');
    RETURN evsched.run_rules(response, 'respond');
END $$;
SELECT command, pg_temp.respond(command) FROM (VALUES
    (1, $$SELECT $1 || '{"b": 2}'$$),
    (2, $$SELECT '{"b":   2}'::json$$),
    (3, $$SELECT 'null'::jsonb$$),
    (4, $$SELECT NULL::jsonb$$),
    (5, $$SELECT NULL::json$$),
    (6, $$SELECT 1$$),
    (7, $$SELECT '{"b": 2}'$$),
    (8, $$SELECT $1, $1$$),
    (9, $$SELECT '1'::jsonb AS a, 2 AS b$$),
    (10, $$SELECT $1 || '{"b": 2}' WHERE false$$),
    (11, $$SELECT to_jsonb(i) FROM generate_series(7, 9) i$$),
    (12, $$VALUES (NULL::jsonb), ('1')$$),
    (13, $$SELECT$$),
    (14, $$SELECT ARRAY[$1]$$),
    (15, $$INSERT INTO trace (what) VALUES ('x') RETURNING to_jsonb(what)$$),
    (16, $$INSERT INTO trace (what) VALUES ($1->>'a')$$),
    (17, $$INSERT INTO trace (what) VALUES ('y'); SELECT $1 || '{"b": 3}'$$),
    (18, $$SELECT $1 || '{"b": 4}';$$),
    (19, $$DO 'BEGIN END'$$),
    (20, $$SELECT to_jsonb(repeat('x', 3)) -- and so on$$),
    (21, $$;; SELECT '5'::jsonb;;$$)) c(n, command) ORDER BY n;
SELECT traces();
-- NULL is a response, too
SELECT pg_temp.respond('SELECT to_jsonb($1 IS NULL)', NULL), pg_temp.respond('SELECT $1', NULL) IS NULL AS still,
       pg_temp.respond('SELECT to_jsonb($1 IS NULL)', 'null'), pg_temp.respond($$SELECT '{"new": true}'::jsonb$$, NULL);
-- what is large stays whole
SELECT evsched.load_rules('[{"identifier": "a", "period": "100000 days", "command": "SELECT $1"}]', 'large');
SELECT evsched.run_rules(b, 'large') = b AS same FROM (SELECT jsonb_agg(md5(i::text)) AS b FROM generate_series(1, 100000) i) x;
-- from rule to rule, in the order in which they were added
SELECT evsched.load_rules('[]', 'respond'), evsched.set_slot_function('slot_of', 'respond');
TRUNCATE slot;
INSERT INTO slot SELECT unnest('{z, y, error, silent, a}'::text[]), 1;
SELECT count(evsched.add_rule(i, '1 s', command, rule_set => 'respond')) FROM (VALUES
    ('z', $$SELECT $1 || '["z"]'$$),
    ('y', $$INSERT INTO trace (what) VALUES ($1::text); SELECT $1 || '["y"]'$$),
    ('error', $$SELECT $1 || '["error"]'; SELECT 1 / 0$$),
    ('silent', $$INSERT INTO trace (what) VALUES ($1::text)$$),
    ('a', $$SELECT $1 || '["a"]'$$)) c(i, command);
SELECT evsched.run_rules('[]', 'respond'), traces();
SELECT evsched.run_rules('[]', 'respond'), traces();
UPDATE slot SET slot = 2 WHERE identifier IN ('a', 'z');
SELECT evsched.run_rules('[]', 'respond'), traces();
-- not when the caller rolls back: effects, slots and what was recorded are undone
SELECT count(*) FROM evsched.run WHERE command LIKE '%error%';
BEGIN;
UPDATE slot SET slot = 3;
SELECT evsched.run_rules('[]', 'respond'), traces();
SELECT count(*) FROM evsched.run WHERE command LIKE '%error%';
ROLLBACK;
SELECT count(*) FROM evsched.run WHERE command LIKE '%error%';
BEGIN;
UPDATE slot SET slot = 3;
SAVEPOINT s;
SELECT evsched.run_rules('[]', 'respond');
ROLLBACK TO s;
SELECT traces();
SELECT evsched.run_rules('[]', 'respond'), traces();
SELECT evsched.run_rules('[]', 'respond'), traces();
COMMIT;
SELECT evsched.run_rules('[]', 'respond'), traces();
SELECT evsched.load_rules('[]', 'respond'), evsched.load_rules('[]', 'large'), evsched.load_rules('[]');

--
-- commands that fail
--
TRUNCATE slot;
CREATE TABLE deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO slot SELECT unnest('{first, half, own, commit, savepoint, copy, deferred, json, missing, last}'::text[]), 1;
SELECT evsched.load_rules(jsonb_agg(jsonb_build_object('identifier', i, 'period', '1 s', 'command', command))) FROM (VALUES
    ('first', $$INSERT INTO trace (what) VALUES ('first')$$),
    ('half', $$INSERT INTO trace (what) VALUES ('half'); SELECT 1 / 0$$),
    ('own', $$DO 'BEGIN RAISE EXCEPTION USING ERRCODE = ''XY123'', MESSAGE = ''own''; END'$$),
    ('commit', $$DO 'BEGIN COMMIT; END'$$),
    ('savepoint', $$SAVEPOINT s$$),
    ('copy', $$COPY trace TO STDOUT$$),
    ('deferred', $$INSERT INTO deferred VALUES (1), (1)$$),
    ('json', $$SELECT '"\u0000"'::json$$),
    ('missing', $$SELECT missing($1)$$),
    ('last', $$INSERT INTO trace (what) VALUES ('last'); SELECT '"fine"'::jsonb$$)) c(i, command);
SELECT evsched.run_rules('"so so"'), traces();
SELECT evsched.run_rules('"so so"'), traces();
SELECT r.identifier, f.state, f.sqlstate, f.message IS NOT NULL AS tells, f.command = r.command AS command, f.worker, f.pool, f.started_at <= f.ended_at AS times,
       x.state, x.result, x.error = f.message AS error
FROM evsched.rules r LEFT JOIN evsched.run f ON f.event_id = r.id AND f.state = 'failed' LEFT JOIN evsched.result(r.id) x ON f.state = 'failed' ORDER BY r.id;
SELECT message FROM evsched.run WHERE sqlstate IN ('XY123', '22012') AND event_id IN (SELECT id FROM evsched.rules) ORDER BY message;
SELECT count(*) FROM evsched.dead_event WHERE id IN (SELECT id FROM evsched.rules);
-- in a transaction that goes on
BEGIN;
UPDATE slot SET slot = 2 WHERE identifier IN ('half', 'last', 'missing');
SELECT evsched.run_rules(), traces();
SELECT current_user = session_user AS myself, 1 / 1 AS fine;
COMMIT;
SELECT evsched.load_rules('[]'), evsched.set_slot_function(NULL);
-- each: its period is spent
SELECT evsched.add_rule('each fails', '100000 days', 'SELECT 1 / 0', 'each') AS each \gset
SELECT evsched.run_rules('1'), evsched.run_rules('2');
SELECT count(*) FROM evsched.run WHERE event_id = :each;
SELECT evsched.load_rules('[]');
-- a caller who is out of time is not told that all is well
\set VERBOSITY sqlstate
SELECT evsched.add_rule('long', '100000 days', $$INSERT INTO trace (what) VALUES ('long'); SELECT pg_sleep(1000)$$) AS long \gset
SET statement_timeout = '100ms';
SELECT evsched.run_rules();
RESET statement_timeout;
\set VERBOSITY default
SELECT traces(), (SELECT count(*) FROM evsched.run WHERE event_id = :long) AS runs, last_slot FROM evsched.rules;
SELECT evsched.load_rules('[]');

-- a rule that runs the rules: not itself again
SELECT count(evsched.add_rule(mode || ' nested', '100000 days', format('INSERT INTO trace (what) VALUES (%L); SELECT evsched.run_rules($1)', mode), mode))
FROM unnest('{once,each}'::text[]) mode;
SELECT evsched.run_rules('1'), traces();
SELECT count(*) FROM evsched.run WHERE event_id IN (SELECT id FROM evsched.rules);
-- one that changes its own set
SELECT evsched.load_rules('[]');
SELECT evsched.add_rule('self', '100000 days', $$INSERT INTO trace (what) SELECT evsched.remove_rule('self')$$) > 0 AS added,
       evsched.add_rule('adds', '100000 days', $$INSERT INTO trace (what) SELECT 'adds' FROM evsched.add_rule('added', '100000 days', 'INSERT INTO trace (what) VALUES (''added'')')$$) > 0 AS added;
SELECT evsched.run_rules();
SELECT evsched.run_rules();
SELECT what, count(*) FROM trace GROUP BY 1 ORDER BY 1;
SELECT identifier FROM rules;
SELECT evsched.load_rules('[]'), traces() IS NOT NULL;

--
-- load_rules: all or nothing
--
SELECT evsched.set_slot_function('slot_of');
TRUNCATE slot;
INSERT INTO slot SELECT unnest('{a, b, c, d}'::text[]), 1;
SELECT evsched.load_rules($$[
    {"identifier": "a", "period": "1 s", "command": "INSERT INTO trace (what) VALUES ('a')"},
    {"identifier": "b", "period": "1 s", "command": "INSERT INTO trace (what) VALUES ('b')", "mode": "once", "filter": "$1 IS NULL"},
    {"identifier": "c", "period": "1 day", "command": "INSERT INTO trace (what) VALUES ('c')", "mode": "each"}]$$);
SELECT * FROM rules;
SELECT evsched.run_rules(), traces();
-- what keeps name and period keeps its slot, in another order, with another command
SELECT evsched.load_rules($$[
    {"identifier": "d", "period": "1 s", "command": "INSERT INTO trace (what) VALUES ('d')"},
    {"identifier": "b", "period": "2 s", "command": "INSERT INTO trace (what) VALUES ('b2')"},
    {"identifier": "a", "period": "1 s", "command": "INSERT INTO trace (what) VALUES ('a2')"}]$$);
SELECT evsched.run_rules(), traces();
UPDATE slot SET slot = 2;
SELECT evsched.run_rules(), traces();
SELECT identifier, period FROM rules;
-- an error in the last of them, or a rollback: nothing has changed
BEGIN;
SELECT evsched.load_rules('[{"identifier": "e", "period": "1 s", "command": "SELECT 1"}]');
SELECT identifier FROM rules;
ROLLBACK;
SELECT evsched.load_rules('[{"identifier": "e", "period": "1 s", "command": "SELECT 1"}, {"identifier": "f", "period": "0", "command": "SELECT 1"}]');
SELECT evsched.load_rules('[{"identifier": "e", "period": "1 s", "command": "SELECT 1"}, {"identifier": "f", "period": "1 s", "command": "SELEC 1"}]');
DO $$ BEGIN PERFORM evsched.load_rules('[{"identifier": "e", "period": "1 s", "command": "SELECT 1"}, 1]'); EXCEPTION WHEN invalid_parameter_value THEN NULL; END $$;
SELECT identifier, period FROM rules;
SELECT evsched.run_rules(), traces();
-- gone in between: the names are the slot function's
SELECT evsched.load_rules('[]');
SELECT count(*) FROM rules;
SELECT evsched.run_rules('1'), traces();
SELECT evsched.load_rules($$[{"identifier": "a", "period": "1 s", "command": "INSERT INTO trace (what) VALUES ('a3')"}]$$);
SELECT evsched.run_rules(), traces();
-- the slot function stays the set's
UPDATE slot SET slot = 3;
SELECT evsched.run_rules(), traces();
SELECT evsched.run_rules(), traces();
SELECT evsched.load_rules('[]'), evsched.set_slot_function(NULL);

--
-- where it cannot
--
SELECT evsched.add_rule('a', '1 us', $$INSERT INTO trace (what) VALUES ('a')$$) > 0 AS added;
BEGIN READ ONLY;
SELECT evsched.run_rules();
ROLLBACK;
SELECT evsched.stop('0') AS stopped;
SELECT evsched.run_rules('{"a": 1}'), traces();
SELECT evsched.start();
SELECT evsched.run_rules('{"a": 1}'), traces();
SELECT evsched.load_rules('[]');
-- as literal, as typed and as untyped parameters
PREPARE untyped AS SELECT evsched.add_rule($1, $2, $3) > 0 AS once, evsched.add_rule($1, $2, $3, $4, $5, $6) > 0 AS each;
EXECUTE untyped ('p', '1 us', 'SELECT 1', 'each', 'true', 'default');
PREPARE typed (text, interval, text) AS SELECT evsched.add_rule($1, $2, $3) > 0 AS added;
EXECUTE typed ('q', '1 us', 'SELECT $1 || $1');
PREPARE run AS SELECT evsched.run_rules($1, $2);
EXECUTE run ('[1]', 'default');
PREPARE remove AS SELECT evsched.remove_rule($1, $2);
EXECUTE remove ('p', 'default');
PREPARE load AS SELECT evsched.load_rules($1, $2);
EXECUTE load ('[]', 'default');
DEALLOCATE ALL;

--
-- whose they are
--
CREATE ROLE regress_evsched_ann;
CREATE ROLE regress_evsched_bob;
CREATE ROLE regress_evsched_carol;
CREATE ROLE regress_evsched_dave;
CREATE ROLE regress_evsched_eve;
GRANT regress_evsched_ann TO regress_evsched_dave;
SELECT evsched.grant_usage(r) FROM unnest('{regress_evsched_ann,regress_evsched_bob,regress_evsched_carol,regress_evsched_dave}'::name[]) r;
CREATE TABLE anns (what text);
ALTER TABLE anns OWNER TO regress_evsched_ann;
CREATE TABLE supers (what text);
GRANT SELECT ON rules TO PUBLIC;
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SET ROLE regress_evsched_ann;
SELECT evsched.add_rule('mine', '1 us', 'INSERT INTO anns SELECT current_user; INSERT INTO trace (what) SELECT what FROM anns', rule_set => 'anns') > 0 AS added,
       evsched.add_rule('not mine', '1 us', 'INSERT INTO supers VALUES (1)', rule_set => 'anns') AS fails \gset
SELECT evsched.run_rules('1', 'anns');
SELECT what, who FROM trace;
-- a stranger
SET ROLE regress_evsched_bob;
CREATE TEMP VIEW strange AS SELECT call FROM (VALUES
    ($$add_rule('b', '1 s', 'SELECT 1', rule_set => 'anns')$$),
    ($$remove_rule('mine', 'anns')$$),
    ($$remove_rule('there is none', 'anns')$$),
    ($$load_rules('[]', 'anns')$$),
    ($$set_slot_function('slot_of', 'anns')$$),
    ($$set_slot_function(NULL, 'anns')$$),
    ($$grant_rules('anns', 'regress_evsched_bob')$$),
    ($$revoke_rules('anns', 'regress_evsched_bob')$$),
    ($$run_rules('1', 'anns')$$)) c(call);
GRANT SELECT ON strange TO PUBLIC;
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM strange;
SELECT evsched.run_rules('1', 'nobodys');
SELECT count(*) FROM rules;
SELECT count(*) FROM evsched.run WHERE event_id = :fails;
SELECT * FROM evsched.result(:fails);
-- one who may run them: as ann; no more than that
SET ROLE regress_evsched_ann;
SELECT evsched.grant_rules('anns', 'regress_evsched_carol'), evsched.grant_rules('anns', 'regress_evsched_carol');
SELECT pg_temp.outcome($$SELECT evsched.grant_rules('anns', 'nobody')$$) <> 'ok' AS refused;
SELECT count(*) FROM rules;
SET ROLE regress_evsched_carol;
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM strange;
SELECT pg_temp.outcome('SELECT * FROM anns'), current_user;
SELECT count(*) FROM rules;
SELECT count(*) FROM evsched.run WHERE event_id = :fails;
RESET ROLE;
SELECT what, who, count(*) FROM trace GROUP BY 1, 2;
SELECT state, sqlstate, owner, count(*) FROM evsched.run WHERE event_id = :fails GROUP BY 1, 2, 3;
-- a superuser has ann's rights there, not his own
SELECT evsched.run_rules('1', 'anns');
SELECT count(*) FROM supers;
SELECT what, who, count(*) FROM trace GROUP BY 1, 2;
SELECT state, sqlstate, count(*) FROM evsched.run WHERE event_id = :fails GROUP BY 1, 2;
-- a member of ann's is as good as ann; what it adds is hers
SET ROLE regress_evsched_dave;
SELECT rule_set, identifier, owner FROM evsched.rules ORDER BY id;
SELECT evsched.add_rule('daves', '1 us', 'SELECT to_jsonb(current_user)', rule_set => 'anns') > 0 AS added;
SELECT evsched.run_rules('1', 'anns');
SELECT DISTINCT owner FROM evsched.rules;
SELECT count(*) > 0 AS sees FROM evsched.run WHERE event_id = :fails;
SELECT evsched.revoke_rules('anns', 'regress_evsched_carol'), evsched.revoke_rules('anns', 'regress_evsched_carol');
SELECT evsched.remove_rule('daves', 'anns');
SET ROLE regress_evsched_carol;
SELECT pg_temp.outcome($$SELECT evsched.run_rules('1', 'anns')$$);
-- without usage
SET ROLE regress_evsched_eve;
SELECT pg_temp.outcome($$SELECT evsched.run_rules('1', 'anns')$$), pg_temp.outcome('SELECT * FROM evsched.rules');
-- each way of beginning a set makes it one's own; a rolled back one does not
SET ROLE regress_evsched_bob;
BEGIN;
SELECT evsched.load_rules('[]', 'free');
ROLLBACK;
SELECT evsched.load_rules('[]', 'loaded'), evsched.set_slot_function('slot_of', 'slotted'), evsched.grant_rules('granted', 'regress_evsched_carol');
SET ROLE regress_evsched_carol;
SELECT s, pg_temp.outcome(format($$SELECT evsched.add_rule('a', '1 s', 'SELECT 1', rule_set => %L)$$, s)) AS add, pg_temp.outcome(format($$SELECT evsched.run_rules(rule_set => %L)$$, s)) AS run
FROM unnest('{loaded, slotted, granted, free}'::text[]) s;
-- an emptied set is still its owner's
SET ROLE regress_evsched_bob;
SELECT pg_temp.outcome($$SELECT evsched.load_rules('[]', 'anns')$$);
SET ROLE regress_evsched_ann;
SELECT evsched.load_rules('[]', 'anns');
SET ROLE regress_evsched_bob;
SELECT pg_temp.outcome($$SELECT evsched.load_rules('[]', 'anns')$$);
RESET ROLE;
TRUNCATE trace, anns;

-- nothing of a command stays in the session, nor does the session show in a command
CREATE SCHEMA regress_evsched_ann AUTHORIZATION regress_evsched_ann;
CREATE SCHEMA regress_evsched_other;
GRANT USAGE ON SCHEMA regress_evsched_other TO PUBLIC;
CREATE FUNCTION regress_evsched_ann.f() RETURNS text LANGUAGE sql AS $$ SELECT 'hers'::text $$;
CREATE FUNCTION regress_evsched_other.f() RETURNS text LANGUAGE sql AS $$ SELECT 'other'::text $$;
CREATE TABLE regress_evsched_ann.t AS SELECT 'hers'::text AS t;
GRANT SELECT ON regress_evsched_ann.t TO PUBLIC;
CREATE TABLE regress_evsched_other.t AS SELECT 'other'::text AS t;
GRANT SELECT ON regress_evsched_other.t TO PUBLIC;
CREATE FUNCTION regress_evsched_ann.slots(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.trace (what) SELECT 'slot ' || f() || ' ' || t || ' ' || current_user FROM t;
    slot := (SELECT count(*) FROM public.trace);
END $$;
SET ROLE regress_evsched_ann;
SET search_path = regress_evsched_ann, public;
SELECT evsched.set_slot_function('slots', 'anns');
SELECT evsched.add_rule('path', '1 us', $$SELECT jsonb_build_array(f(), t, current_user, current_setting('search_path')) FROM t$$, rule_set => 'anns',
                        filter => $$(SELECT f() || t || current_user FROM t) = 'hershersregress_evsched_ann'$$) > 0 AS added;
RESET ROLE;
SET search_path = regress_evsched_other, pg_catalog, public;
CREATE TEMP TABLE t AS SELECT 'temporary'::text AS t;
GRANT SELECT ON t TO PUBLIC;
SELECT f(), t FROM t;
SELECT evsched.run_rules(rule_set => 'anns');
SELECT what FROM public.trace;
SHOW search_path;
RESET search_path;
DROP TABLE pg_temp.t;
SELECT traces() IS NOT NULL AS noted;
-- what is said again, is said with another search_path
INSERT INTO trace (what) VALUES ('another'), ('slot');
SET ROLE regress_evsched_ann;
SET search_path = regress_evsched_other, public;
SELECT evsched.set_slot_function('regress_evsched_ann.slots', 'anns');
SELECT evsched.load_rules('[{"identifier": "path", "period": "1 us", "command": "SELECT to_jsonb(f())"}]', 'anns');
RESET search_path;
SELECT evsched.run_rules(rule_set => 'anns');
SELECT what FROM public.trace WHERE who = current_user;
SELECT evsched.set_slot_function(NULL, 'anns'), evsched.load_rules('[]', 'anns');
RESET ROLE;
CREATE TABLE left_behind (n serial, setting text);
GRANT ALL ON left_behind, left_behind_n_seq TO PUBLIC;
SET ROLE regress_evsched_ann;
SELECT count(evsched.add_rule(i::text, '1 us', command || $$; INSERT INTO left_behind (setting) SELECT current_setting('work_mem') || ' ' || current_setting('search_path')$$, rule_set => 'anns'))
FROM unnest(ARRAY[
    $$SET work_mem = '77MB'$$, $$SET LOCAL work_mem = '76MB'$$, $$SELECT set_config('work_mem', '75MB', false)$$,
    $$SET search_path = pg_catalog, public$$, $$SET custom.behind = 'behind'$$, $$SET client_min_messages = error; SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'$$,
    $$SET work_mem = '74MB'; SELECT 1 / 0$$, $$SET TRANSACTION READ ONLY$$, $$SET CONSTRAINTS ALL DEFERRED$$]) WITH ORDINALITY c(command, i);
SELECT evsched.add_rule('read', '1 us', $$SET TRANSACTION READ ONLY$$, rule_set => 'anns') > 0 AS added,
       evsched.add_rule('last', '1 us', $$SELECT to_jsonb(current_setting('work_mem'))$$, rule_set => 'anns') > 0 AS added;
RESET ROLE;
SET work_mem = '5MB';
SELECT evsched.run_rules(rule_set => 'anns');
SELECT current_setting('work_mem') AS work_mem, current_setting('search_path') AS search_path, current_setting('custom.behind', true) AS custom,
       current_setting('client_min_messages') AS client_min_messages, current_setting('transaction_read_only') AS read_only;
SELECT setting FROM left_behind ORDER BY n;
BEGIN;
SELECT evsched.run_rules(rule_set => 'anns');
SELECT current_setting('work_mem') AS work_mem, current_setting('search_path') AS search_path, current_setting('custom.behind', true) AS custom, current_setting('transaction_read_only') AS read_only;
COMMIT;
SHOW work_mem;
RESET work_mem;
-- what it may not do at all, as anything that runs for another
SET ROLE regress_evsched_ann;
SELECT evsched.load_rules('[]', 'anns');
SELECT count(evsched.add_rule(command, '1 us', command, rule_set => 'anns')) FROM unnest(ARRAY[
    'SET ROLE regress_evsched_ann', 'SET ROLE none', 'RESET ROLE', $$SELECT set_config('role', 'regress_evsched_ann', true)$$,
    'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION', 'CREATE TEMP TABLE t (n int)', 'LISTEN a', 'UNLISTEN *',
    'PREPARE p AS SELECT 1', 'DISCARD ALL', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', $$SELECT evsched.join('rule')$$]) command;
RESET ROLE;
SELECT evsched.run_rules('1', 'anns');
SELECT command, state, sqlstate FROM evsched.run WHERE event_id IN (SELECT id FROM evsched.rules WHERE rule_set = 'anns') ORDER BY event_id;
SELECT session_user = current_user AS myself, (SELECT count(*) FROM pg_listening_channels()) AS channels, (SELECT count(*) FROM pg_prepared_statements) AS statements,
       (SELECT count(*) FROM evsched.listeners) AS listeners;

-- a role that is renamed takes its rules with it; one that is dropped leaves nothing to its heir
SET ROLE regress_evsched_ann;
SELECT evsched.load_rules('[{"identifier": "who", "period": "1 us", "command": "SELECT to_jsonb(current_user)"}]', 'anns');
RESET ROLE;
ALTER ROLE regress_evsched_ann RENAME TO regress_evsched_anna;
SELECT evsched.run_rules('1', 'anns');
ALTER ROLE regress_evsched_anna RENAME TO regress_evsched_ann;
DROP OWNED BY regress_evsched_ann, regress_evsched_bob, regress_evsched_carol, regress_evsched_dave CASCADE;
DROP ROLE regress_evsched_ann;
CREATE ROLE regress_evsched_ann;
SELECT evsched.grant_usage('regress_evsched_ann');
SELECT evsched.run_rules('1', 'anns');
SET ROLE regress_evsched_ann;
SELECT count(*) FROM evsched.rules;
SELECT pg_temp.outcome($$SELECT evsched.load_rules('[]', 'anns')$$), pg_temp.outcome($$SELECT evsched.add_rule('a', '1 us', 'SELECT 1', rule_set => 'anns')$$);
RESET ROLE;
-- a superuser may take them over
SELECT evsched.load_rules('[{"identifier": "who", "period": "1 us", "command": "SELECT to_jsonb(current_user = session_user)"}]', 'anns');
SELECT evsched.run_rules('1', 'anns');
DROP OWNED BY regress_evsched_ann;
DROP ROLE regress_evsched_ann, regress_evsched_bob, regress_evsched_carol, regress_evsched_dave, regress_evsched_eve;

DROP SCHEMA IF EXISTS regress_evsched_ann, regress_evsched_other CASCADE;
DROP VIEW rules;
DROP TABLE trace, slot, given, deferred, supers, left_behind;
DROP TABLE IF EXISTS anns;
DROP FUNCTION traces, slot_of, raises, notes, few, many, other_in, other_out, no_name, no_row, gone;
DROP PROCEDURE no_function;
DELETE FROM evsched.event;
DELETE FROM evsched.rule_set;
DELETE FROM evsched.rule_slot;
DELETE FROM evsched.rule;
DELETE FROM evsched.rule_grant;

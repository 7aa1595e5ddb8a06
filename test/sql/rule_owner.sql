-- Rules run as the owner of their set, in the caller's session: neither gets what is the
-- other's, and a set that changes hands or functions is seen as it is.

CREATE ROLE regress_evsched_olga;
CREATE ROLE regress_evsched_greta;
SELECT evsched.grant_usage('regress_evsched_olga'), evsched.grant_usage('regress_evsched_greta');
CREATE SCHEMA regress_evsched_olga AUTHORIZATION regress_evsched_olga;
CREATE TABLE ran (what text, who name DEFAULT current_user);
GRANT ALL ON ran TO PUBLIC;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION failures() RETURNS SETOF text LANGUAGE sql AS
    'SELECT sqlstate || '' '' || message FROM evsched.run WHERE state = ''failed'' AND owner = ''regress_evsched_olga'' ORDER BY run_id';
SET client_min_messages = warning;

SET ROLE regress_evsched_olga;
CREATE FUNCTION regress_evsched_olga.spy() RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.ran VALUES ('spy'); RETURN 'spied'; END $$;

-- a cursor of the caller's that a rule closes and opens again is gone, as is one of its own
SELECT count(evsched.add_rule(i::text, '1 us', command, 'each', rule_set => 'cursors')) FROM unnest(ARRAY[
    $r$DO $d$ DECLARE x refcursor := 'callers'; BEGIN CLOSE x; OPEN x FOR SELECT regress_evsched_olga.spy(); END $d$ $r$,
    $$DECLARE rules CURSOR FOR SELECT regress_evsched_olga.spy()$$]) WITH ORDINALITY c(command, i);
CREATE FUNCTION regress_evsched_olga.slot(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE plpgsql AS
    $$ DECLARE x refcursor := 'slots'; BEGIN slot := 1; OPEN x FOR SELECT regress_evsched_olga.spy(); END $$;
SELECT evsched.set_slot_function('regress_evsched_olga.slot', 'slots');
SELECT evsched.add_rule('a', '1 s', 'SELECT 1', rule_set => 'slots') > 0;
RESET ROLE;
BEGIN;
DECLARE callers CURSOR FOR SELECT 'callers own';
DECLARE kept CURSOR FOR SELECT 'kept';
SELECT evsched.run_rules(rule_set => 'cursors'), evsched.run_rules(rule_set => 'slots');
SELECT name FROM pg_cursors ORDER BY 1;
FETCH kept;
SAVEPOINT s;
FETCH callers;
ROLLBACK TO s;
COMMIT;
SELECT * FROM ran;

-- what is deferred is the caller's; so is whether he listens
SET ROLE regress_evsched_olga;
SELECT count(evsched.add_rule(i::text, '1 us', command, 'each', rule_set => 'callers')) FROM unnest(ARRAY[
    'SET CONSTRAINTS ALL IMMEDIATE', $$DO 'BEGIN SET CONSTRAINTS ALL DEFERRED; END'$$,
    'SELECT evsched.leave()', 'SELECT evsched.set_max_events(1)']) WITH ORDINALITY c(command, i);
RESET ROLE;
BEGIN;
INSERT INTO child VALUES (1);
SELECT evsched.run_rules('"all the same"', 'callers');
INSERT INTO parent VALUES (1);
COMMIT;
SELECT failures();

-- functions of one session only
CREATE FUNCTION pg_temp.slot(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS $$ SELECT 1::bigint, NULL::text $$;
CREATE FUNCTION pg_temp.step(state jsonb, OUT next jsonb, OUT sleep interval) LANGUAGE sql AS 'SELECT state, NULL::interval';
SELECT evsched.set_slot_function('pg_temp.slot', 'temporary');
SELECT evsched.coroutine('pg_temp.step', '1');

-- a filter that returns nothing is not true
SELECT evsched.add_rule('none', '1 us', 'SELECT ''"run"''::jsonb', 'each', $$unnest('{}'::boolean[])$$, 'none') > 0;
SELECT evsched.run_rules('"not run"', 'none');

-- a slot function that is changed by a rule: what comes behind it is not counted as before
CREATE FUNCTION low(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS $$ SELECT 1::bigint, identifier $$;
SELECT evsched.add_rule('changes', '1 h', $$SELECT evsched.set_slot_function('low', 'changes')$$, 'each', rule_set => 'changes') > 0 AS a,
       evsched.add_rule('behind', '1 h', $$SELECT '"behind"'::jsonb$$, rule_set => 'changes') > 0 AS b;
SELECT evsched.run_rules('1', 'changes');
SELECT evsched.run_rules('2', 'changes');
SELECT evsched.run_rules('3', 'changes');

-- rules of several periods that share a name share its slots
CREATE FUNCTION shared(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS $$ SELECT 1::bigint, 'shared' $$;
SELECT evsched.set_slot_function('shared', 'shared');
SELECT count(evsched.add_rule('every ' || i, i * interval '1 s', format('SELECT $1 || %L::jsonb', i), rule_set => 'shared')) FROM generate_series(1, 3) i;
SELECT evsched.run_rules('[]', 'shared') AS first, evsched.run_rules('[]', 'shared') AS second;
-- too long a name
CREATE OR REPLACE FUNCTION shared(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text) LANGUAGE sql AS $$ SELECT 1::bigint, repeat('x', 256) $$;
SELECT evsched.run_rules('[]', 'shared');

-- another period begins anew, also where a function says what a slot is
SELECT evsched.set_slot_function('low', 'periods'),
       evsched.load_rules('[{"identifier": "p", "period": "1 s", "command": "SELECT $1 || ''1''"}]', 'periods');
SELECT evsched.run_rules('[]', 'periods') AS first, evsched.run_rules('[]', 'periods') AS second;
SELECT evsched.load_rules('[{"identifier": "p", "period": "1 s", "command": "SELECT $1 || ''2''"}]', 'periods');
SELECT evsched.run_rules('[]', 'periods');
SELECT evsched.load_rules('[{"identifier": "p", "period": "2 s", "command": "SELECT $1 || ''3''"}]', 'periods');
SELECT evsched.run_rules('[]', 'periods');

-- a set has so many rules
SELECT evsched.load_rules((SELECT jsonb_agg(jsonb_build_object('identifier', i::text, 'period', '1 s', 'command', 'SELECT 1')) FROM generate_series(1, 1001) i), 'many');
SELECT evsched.load_rules((SELECT jsonb_agg(jsonb_build_object('identifier', i::text, 'period', '1 s', 'command', 'SELECT 1')) FROM generate_series(1, 1000) i), 'many');
SELECT evsched.add_rule('one more', '1 s', 'SELECT 1', rule_set => 'many');
SELECT evsched.load_rules('[]', 'many');

-- nothing is said of what is not there
SELECT evsched.revoke_rules('nobodys', 'regress_evsched_greta'), evsched.set_slot_function(NULL, 'nobodys');
SELECT count(*) FROM evsched.rule_set WHERE name = 'nobodys';

-- who takes over a set takes over neither grants nor slots
SET ROLE regress_evsched_olga;
SELECT evsched.load_rules('[{"identifier": "o", "period": "1000000 days", "command": "INSERT INTO public.ran VALUES (''o'')"}]', 'taken');
SELECT evsched.grant_rules('taken', 'regress_evsched_greta');
SELECT evsched.run_rules(rule_set => 'taken');
RESET ROLE;
SELECT evsched.load_rules('[]', s) FROM unnest('{cursors,slots,callers,taken}'::text[]) s;
SET ROLE regress_evsched_olga;
SELECT evsched.load_rules('[{"identifier": "o", "period": "1000000 days", "command": "INSERT INTO public.ran VALUES (''o'')"}]', 'taken');
SELECT evsched.run_rules(rule_set => 'taken');
RESET ROLE;
SELECT what, count(*) FROM ran GROUP BY 1;
DROP OWNED BY regress_evsched_olga;
DROP ROLE regress_evsched_olga;
SELECT evsched.run_rules('"nobody''s"', 'taken');
SELECT evsched.add_rule('p', '1 s', 'SELECT 1', rule_set => 'taken');
SELECT evsched.load_rules('[{"identifier": "o", "period": "1000000 days", "command": "INSERT INTO public.ran VALUES (''ours'')"}]', 'taken');
SET ROLE regress_evsched_greta;
SELECT evsched.run_rules(rule_set => 'taken');
RESET ROLE;
SELECT evsched.run_rules('"run"', 'taken');
SELECT what, count(*) FROM ran GROUP BY 1 ORDER BY 1;

DELETE FROM evsched.rule;
DELETE FROM evsched.rule_slot;
DELETE FROM evsched.rule_grant;
DELETE FROM evsched.rule_set;
DELETE FROM evsched.run_record;
DROP FUNCTION failures, low, shared;
DROP TABLE ran, child, parent;
DROP OWNED BY regress_evsched_greta;
DROP ROLE regress_evsched_greta;

-- Bad input: every argument of every function gets every odd value of its type. What comes of
-- it is a result or an error of the contract, and nothing stays.

-- whatever another script has left
DELETE FROM evsched.event;
DELETE FROM evsched.dead;

CREATE ROLE regress_evsched_input;
SET client_min_messages = warning;

-- odd values, by type
CREATE TEMP TABLE odd (n serial, type regtype, label text, value text);
INSERT INTO odd (type, label, value) VALUES
    ('bigint', NULL, 'NULL'), ('bigint', NULL, '0'), ('bigint', NULL, '-1'),
    ('bigint', NULL, '9223372036854775807'), ('bigint', NULL, '(-9223372036854775808)'),
    ('int', NULL, 'NULL'), ('int', NULL, '0'), ('int', NULL, '-1'), ('int', NULL, '-2'),
    ('int', NULL, '2147483647'), ('int', NULL, '(-2147483648)'),
    ('boolean', NULL, 'NULL'), ('boolean', NULL, 'true'),
    ('name', NULL, 'NULL'), ('name', NULL, ''''''), ('name', NULL, '''nobody at all'''), ('name', 'long', 'repeat(''r'', 1000)'),
    ('text', NULL, 'NULL'), ('text', NULL, ''''''), ('text', '63', 'repeat(''q'', 63)'), ('text', '64', 'repeat(''q'', 64)'),
    ('text', '255', 'repeat(''q'', 255)'), ('text', '256', 'repeat(''q'', 256)'), ('text', '128 of two bytes', 'repeat(U&''\00fc'', 128)'),
    ('text', '1 MB', 'repeat(''q'', 1000000)'), ('text', 'controls', 'E''\x01\x7f\r\n'''), ('text', 'quotes', '''"''''\'''),
    ('jsonb', NULL, 'NULL'), ('jsonb', NULL, '''null'''), ('jsonb', NULL, '''{}'''), ('jsonb', '1000 deep', '(repeat(''['', 1000) || repeat('']'', 1000))'),
    ('jsonb', '1 MB', 'to_jsonb(repeat(''q'', 1000000))'),
    ('timestamptz', NULL, 'NULL'), ('timestamptz', NULL, '''infinity'''), ('timestamptz', NULL, '''-infinity'''),
    ('timestamptz', NULL, '''294276-12-31 23:59:59.999999Z'''), ('timestamptz', NULL, '''4713-01-01 00:00:00Z BC'''),
    ('interval', NULL, 'NULL'), ('interval', NULL, '''0'''), ('interval', NULL, '''-1 s'''), ('interval', NULL, '''0.000001 s'''),
    ('interval', NULL, '''-1 mon'''), ('interval', NULL, '''1 mon -31 days'''), ('interval', NULL, '''178000000 years'''),
    ('interval', NULL, '''-178000000 years'''), ('interval', NULL, '''2147483647 days'''), ('interval', NULL, '''-2147483648 days'''),
    ('interval', NULL, '''2562047788 hours'''), ('interval', NULL, '''-2562047788 hours'''),
    ('interval', NULL, '''2147483647 days 2562047788 hours'''), ('interval', NULL, '''40000 days -2000000000 hours'''),
    ('interval', NULL, '''-40000 days 2000000000 hours'''), ('interval', NULL, '''300000 years'''),
    ('bigint[]', NULL, 'NULL'), ('bigint[]', NULL, '''{}'''), ('bigint[]', NULL, '''{NULL, 0, -1, 9223372036854775807}'''),
    ('bigint[]', NULL, '''{{1, 2}, {3, 4}}'''), ('bigint[]', NULL, '''[0:1]={1, 2}'''), ('bigint[]', NULL, '''[-5:-4]={1, 2}'''),
    ('bigint[]', '1e6', '(SELECT array_agg(g) FROM generate_series(-1000000, -1) g)'), ('bigint[]', '1e6 nulls', 'array_fill(NULL::bigint, ''{1000000}'')'),
    ('text[]', NULL, 'NULL'), ('text[]', NULL, '''{}'''), ('text[]', NULL, '''{NULL}'''), ('text[]', NULL, '''{""}'''), ('text[]', NULL, '''{{k}}'''),
    ('text[]', NULL, '''[0:0]={k}'''), ('text[]', NULL, '''{k, l}'''), ('text[]', '256', 'ARRAY[repeat(''k'', 256)]'), ('text[]', '1e6', 'array_fill(''k''::text, ''{1000000}'')'),
    ('jsonb[]', NULL, 'NULL'), ('jsonb[]', NULL, '''{}'''), ('jsonb[]', NULL, '''{NULL}'''), ('jsonb[]', NULL, '''{{1}, {2}}'''),
    ('jsonb[]', NULL, '''[0:1]={1, 2}'''), ('jsonb[]', '1e6 nulls', 'array_fill(NULL::jsonb, ''{1000000}'')'),
    ('interval[]', NULL, 'NULL'), ('interval[]', NULL, '''{}'''), ('interval[]', NULL, '''{NULL}'''), ('interval[]', NULL, '''{1 s, 2 s}'''),
    ('interval[]', NULL, '''{{1 s}}'''), ('interval[]', NULL, '''[0:0]={1 s}'''), ('interval[]', NULL, '''{178000000 years}'''),
    ('interval[]', '1e6', 'array_fill(interval ''1 s'', ''{1000000}'')');
-- what the other arguments get that have no default
CREATE TEMP TABLE plain (name text, type regtype, value text);
INSERT INTO plain VALUES
    ('payload', 'jsonb', '''1'''), ('payloads', 'jsonb[]', '''{1}'''), ('due_at', 'timestamptz', '''infinity'''), ('delay', 'interval', '''1 h'''),
    ('by', 'interval', '''1 s'''), ('id', 'bigint', '1'), ('ids', 'bigint[]', '''{1}'''), ('key', 'text', '''k'''), ('queue', 'text', '''input'''),
    ('may', 'text', '''post'''), ('role', 'name', '''regress_evsched_input'''), ('n', 'int', '1'),
    ('schedule', 'text', '''@daily'''), ('period', 'interval', '''1 h'''), ('command', 'text', '''SELECT 1'''),
    ('op', 'text', '''SELECT 1'''), ('body', 'text', '''SELECT 1'''),
    ('identifier', 'text', '''r'''), ('rules', 'jsonb', '''[]'''), ('rule_set', 'text', '''input'''), ('f', 'regproc', 'NULL'),
    ('step', 'regproc', '''public.evsched_step'''), ('state', 'jsonb', '''1'''), ('expr', 'text', '''1'''),
    ('channel', 'text', '''news'''), ('path', 'text', '''/''');

-- calls a function with one odd argument and undoes it; ok, or the SQLSTATE
CREATE FUNCTION pg_temp.call(f regprocedure, argument text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    arguments text;
BEGIN
    SELECT string_agg(format('%I => %s::%s', names[i], CASE WHEN names[i] = argument THEN call.value ELSE p.value END, types[i - 1]::regtype), ', ')
    INTO arguments
    FROM (SELECT proargnames AS names, proargtypes AS types, pronargs, pronargdefaults FROM pg_proc WHERE oid = f) x
         CROSS JOIN generate_series(1, pronargs) i LEFT JOIN plain p ON p.name = names[i] AND p.type = types[i - 1]
    WHERE names[i] = argument OR i <= pronargs - pronargdefaults;
    EXECUTE format('SELECT count(*) FROM (SELECT * FROM evsched.%I(%s)) x', (SELECT proname FROM pg_proc WHERE oid = f), arguments);
    RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    RETURN 'ok';
WHEN OTHERS THEN
    RETURN SQLSTATE || CASE WHEN SQLSTATE NOT IN ('22023', '42704', '42501', '42601', '55000') THEN ' ' || SQLERRM ELSE '' END;
END $$;

CREATE FUNCTION public.evsched_step(state jsonb, OUT next jsonb, OUT sleep interval) LANGUAGE sql AS 'SELECT state, NULL::interval';

SELECT evsched.create_queue('input');
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' '
SELECT f || ' ' || argument || ': ' || outcome || ': ' || string_agg(value, ', ' ORDER BY n)
FROM (SELECT p.proname || '(' || array_to_string(p.proargtypes::regtype[], ', ') || ')' AS f, a.argument, i, o.n, coalesce(o.label, o.value) AS value,
             pg_temp.call(p.oid, a.argument, o.value) AS outcome
      FROM pg_proc p, unnest(p.proargnames[1:pronargs]) WITH ORDINALITY a (argument, i)
      JOIN odd o ON true
      WHERE pronamespace = 'evsched'::regnamespace AND proname !~ '^_' AND proname <> 'sleep' AND o.type = p.proargtypes[i - 1]
      ORDER BY 1, i, n) x
GROUP BY f, argument, i, outcome ORDER BY f COLLATE "C", i, outcome COLLATE "C";
\pset tuples_only off
\pset format aligned
SELECT evsched.start();

-- nothing stays
SELECT count(*) FROM evsched.event;
SELECT count(*) FROM evsched.dead;
SELECT count(*) FROM evsched._leases();
SELECT count(*) FROM evsched.listeners;
SELECT count(*) FROM evsched.queue;
SELECT has_schema_privilege('regress_evsched_input', 'evsched', 'USAGE');
SELECT locktype, relation::regclass, mode FROM pg_locks WHERE pid = pg_backend_pid()
    AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'evsched'::regnamespace);

-- the very large: refused at once, and not repeated
CREATE FUNCTION pg_temp.large(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT evsched.' || call, '$1') USING repeat('x', 300000000);
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ', message of ' || CASE WHEN length(SQLERRM) < 200 THEN 'a line' ELSE length(SQLERRM)::text END;
END $$;
SELECT call, pg_temp.large(call) FROM (VALUES ('post(''1'', queue => %s)'), ('post(''1'', key => %s)'), ('post(''1'', on_conflict => %s)'),
    ('take(%s)'), ('join(%s)'), ('cancel(%s, ''input'')'), ('grant_queue(''input'', ''regress_evsched_input'', %s)'),
    ('create_queue(%s)'), ('reject(1, error => %s)'), ('next_fires(%s)'), ('next_fires(''* * '' || %s)'),
    ('next_fires(''@daily'', 1, %s)')) v (call);

DELETE FROM evsched.queue;
DROP FUNCTION public.evsched_step;
DROP ROLE regress_evsched_input;

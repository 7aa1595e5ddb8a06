-- A role that has nothing but usage, and may create objects, sets traps for whoever uses
-- evsched with its schema first in search_path: none is ever called, and nothing that it may
-- not see is shown.

-- whatever another script has left
DELETE FROM evsched.event;
DELETE FROM evsched.dead;

CREATE ROLE regress_evsched_mallory;
CREATE ROLE regress_evsched_alice LOGIN;
SELECT evsched.grant_usage('regress_evsched_mallory'), evsched.grant_usage('regress_evsched_alice');
CREATE SCHEMA regress_evsched_evil AUTHORIZATION regress_evsched_mallory;
GRANT CREATE ON SCHEMA public TO regress_evsched_mallory;

--
-- the traps: operators and functions that raise, with types that match better, types, casts
-- and tables, in a schema of its own, in public and in pg_temp
--
SET ROLE regress_evsched_mallory;
SET search_path = pg_catalog, pg_temp;
DO $$
DECLARE
    place text;
    op text;
    a text;
    b text;
    n int := 0;
    command text;
BEGIN
    FOREACH place IN ARRAY '{regress_evsched_evil, public, pg_temp}'::text[] LOOP
        FOR a, b IN VALUES ('text', 'text'), ('text', 'name'), ('name', 'text'), ('name', 'name'), ('text', 'unknown'),
            ('varchar', 'varchar'), ('varchar', 'text'), ('char', 'char'), ('bigint', 'bigint'), ('int', 'bigint'), ('bigint', 'int'),
            ('int', 'int'), ('smallint', 'int'), ('oid', 'oid'), ('oid', 'regclass'), ('regclass', 'oid'), ('boolean', 'boolean'),
            ('timestamptz', 'timestamptz'), ('timestamptz', 'interval'), ('interval', 'interval'), ('timestamptz', 'timestamp'),
            ('jsonb', 'jsonb'), ('jsonb', 'text'), ('jsonb', 'int'), ('numeric', 'numeric'), ('interval', 'float8'), ('date', 'date'), ('tid', 'tid'), ('bigint[]', 'bigint[]'), ('text[]', 'text[]'), ('"char"', '"char"'),
            ('anyelement', 'anyelement'), ('anyarray', 'anyarray') LOOP
            FOREACH op IN ARRAY '{=, <>, <, <=, >, >=, ||, +, -, ->, ->>, @>, ~, ~~}'::text[] LOOP
                CONTINUE WHEN b = 'unknown' OR (op IN ('->', '->>', '@>', '~', '~~', '+', '-', '||') AND a LIKE 'any%');
                n := n + 1;
                command := format('CREATE FUNCTION %s.trap_%s(%s, %s) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS '
                    '$f$ BEGIN RAISE EXCEPTION ''trapped by %s (%s, %s)''; END $f$', place, n, a, b, op, a, b);
                EXECUTE command;
                EXECUTE format('CREATE OPERATOR %s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s.trap_%s)', place, op, a, b, place, n);
            END LOOP;
        END LOOP;
        FOREACH a IN ARRAY '{int, bigint, numeric, interval}'::text[] LOOP
            n := n + 1;
            EXECUTE format('CREATE FUNCTION %s.trap_%s(%s) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS '
                '$f$ BEGIN RAISE EXCEPTION ''trapped by - (%s)''; END $f$', place, n, a, a);
            EXECUTE format('CREATE OPERATOR %s.- (RIGHTARG = %s, FUNCTION = %s.trap_%s)', place, a, place, n);
        END LOOP;
        FOREACH command IN ARRAY ARRAY['clock_timestamp()', 'now()', 'current_database()', 'octet_length(text)', 'format(text, text)',
            'format(text, text, text, text, text)', 'format(text, VARIADIC text[])', 'count(text)', 'max(bigint)', 'setval(regclass, bigint)',
            'setval(text, bigint)', 'nextval(text)', 'nextval(regclass)', 'pg_has_role(name, name, text)', 'pg_has_role(oid, text)',
            'has_schema_privilege(name, text, text)', 'aclexplode(aclitem[])', 'acldefault("char", oid)', 'array_length(bigint[], int)',
            'unnest(bigint[])', 'greatest_of(bigint, bigint)', 'timestamptz_pl_interval(timestamptz, interval)', 'int8eq(bigint, bigint)',
            'texteq(text, text)', '_owner()', '_sees(int, text)', '_leases()', '_listeners()', '_queues()', '_note_change()', '_note_setting()',
            'post(text)', 'take(text, int)', 'pg_extension_config_dump(text, text)', 'string_agg(text, text)', 'coalesce_of(text, text)',
            'evsched_sql_sees(int, text)', 'lower(text)', 'quote_ident(text)', 'quote_literal(text)', 'to_jsonb(text)',
            'to_jsonb(anyelement)', 'jsonb_build_object(text, bigint)', 'jsonb_build_object(VARIADIC text[])', 'statement_timestamp()', 'floor(numeric)',
            'date_part(text, interval)', 'pg_sleep(float8)', 'pg_notify(text, text)', 'current_setting(text)', 'set_config(text, text, boolean)',
            'pg_try_advisory_xact_lock(bigint)', 'pg_try_advisory_xact_lock(int, int)', 'hashtext(text)', 'hashtextextended(text, bigint)',
            'count(bigint)', 'bool_and(boolean)', 'array_agg(bigint)', 'to_regproc(text)', 'to_regprocedure(text)', 'jsonb_array_elements(text)',
            '_go_on(text, interval)', '_go_on(text, text)', 'run_rules(text, text)', 'current_event()', 'worker_id()', 'sleep(text)', 'map(text, text, text)',
            'watch_channel(text, text)', 'watch_path(text, text)', '_lost_paths()', 'encode(bytea, text)', 'convert_from(bytea, text)'] LOOP
            EXECUTE format('CREATE FUNCTION %s.%s RETURNS %s LANGUAGE plpgsql COST 0.0001 AS '
                '$f$ BEGIN RAISE EXCEPTION ''trapped by function %s''; END $f$', place, command,
                CASE WHEN command LIKE '\_note%' THEN 'trigger' ELSE 'text' END, command);
        END LOOP;
        FOREACH command IN ARRAY '{event, dead, role, role_binding, queue, queue_grant, control, events, queues, listeners,
            recurrence, series, run, run_record, error_handler, rule, rule_set, rule_grant, rule_slot, rules, pg_settings, pg_stat_activity, pg_locks,
            pg_class, pg_namespace, pg_proc, pg_authid, pg_roles, pg_database, pg_extension, pg_depend}'::text[] LOOP
            EXECUTE format('CREATE TABLE %s.%I (id bigint, n int, name text, trap text DEFAULT pg_catalog.pg_sleep(1000)::text)', place, command);
        END LOOP;
        FOREACH command IN ARRAY '{text, bigint, name, jsonb, timestamptz, oid, regclass, regprocedure, regtype, regnamespace, delivery}'::text[] LOOP
            EXECUTE format('CREATE DOMAIN %s.%I AS pg_catalog.text CHECK (pg_catalog.texteq(VALUE, ''trapped by type''))', place, command);
        END LOOP;
    END LOOP;
END $$;
CREATE TYPE regress_evsched_evil.thing AS (a pg_catalog.int4);
CREATE FUNCTION regress_evsched_evil.cast_thing(regress_evsched_evil.thing) RETURNS pg_catalog.jsonb
    LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped by cast'; END $$;
CREATE CAST (regress_evsched_evil.thing AS pg_catalog.jsonb) WITH FUNCTION regress_evsched_evil.cast_thing AS IMPLICIT;
RESET ROLE;
SET search_path = regress_evsched_evil, public, pg_temp, pg_catalog;
-- they are set
SELECT 1 = 1;
SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text;
SELECT clock_timestamp();
SELECT 'a'::text;
SELECT count(*) FROM event;
SET search_path = pg_catalog, pg_temp;

--
-- everything is used with the traps first in search_path: by a superuser, by another role
--
SELECT evsched.post('"secret of a superuser"', '1 h', 'supers', 'k', 3) IS NOT NULL AS posted;
SELECT evsched.create_queue('supers');
CREATE FUNCTION pg_temp.use() RETURNS SETOF pg_catalog.text LANGUAGE plpgsql AS $$
DECLARE
    id pg_catalog.int8;
    other pg_catalog.int8;
    row pg_catalog.record;
BEGIN
    id := evsched.post('1', '-1 h', 'used', 'a', 3);
    id := evsched.post('2', '-1 h', 'used', 'a', 3, 'replace', '1 s');
    id := evsched.post('2', '-1 h', 'used', 'a', on_conflict => 'keep');
    PERFORM evsched.change_delay('a', '-1 h', 'used');
    PERFORM evsched.change_delay(id, '-1 h');
    FOR row IN SELECT * FROM evsched.upcoming('used') LOOP RETURN NEXT 'upcoming'; END LOOP;
    FOR row IN SELECT * FROM evsched.receive('used', 5, '1 h') LOOP RETURN NEXT 'received'; END LOOP;
    FOR row IN SELECT * FROM evsched.fetch(ARRAY[id]) LOOP RETURN NEXT 'fetched'; END LOOP;
    PERFORM evsched.extend(id, '2 h');
    PERFORM evsched.reject(id, '-1 h', 'error');
    PERFORM evsched.reject(id, '-1 h');
    PERFORM evsched.reject(id, '-1 h');
    PERFORM evsched.reject(id);
    FOR row IN SELECT * FROM evsched.dead_event LOOP RETURN NEXT row.why; END LOOP;
    FOR row IN SELECT * FROM evsched.post_many('{1, 2}', '{1 h}', 'used', '{x, y}') LOOP RETURN NEXT 'posted'; END LOOP;
    other := evsched.post_at('3', '-infinity', 'used');
    FOR row IN SELECT * FROM evsched.take('used', 9) LOOP RETURN NEXT 'taken'; END LOOP;
    PERFORM evsched.confirm(id);
    PERFORM evsched.confirm(ARRAY[id, other]);
    PERFORM evsched.confirm('x', 'used');
    FOR row IN SELECT * FROM evsched.peek('x', 'used') LOOP RETURN NEXT 'peeked'; END LOOP;
    PERFORM evsched.peek(id);
    PERFORM evsched.cancel(id);
    PERFORM evsched.cancel('x', 'used');
    FOR row IN SELECT * FROM evsched.events LOOP RETURN NEXT 'event'; END LOOP;
    FOR row IN SELECT * FROM evsched.queues LOOP NULL; END LOOP;
    FOR row IN SELECT * FROM evsched.listeners LOOP RETURN NEXT row.node; END LOOP;
    PERFORM evsched.join('node', 'used');
    PERFORM evsched.set_max_events(1, 'used');
    PERFORM evsched.leave('used', true);
    PERFORM evsched.cancel('y', 'used');
    PERFORM evsched.create_queue('mine', 1, '1 s');
    PERFORM evsched.grant_queue('mine', 'regress_evsched_alice', 'post');
    PERFORM evsched.revoke_queue('mine', 'regress_evsched_alice', 'post');
    PERFORM evsched.pause_queue('mine');
    PERFORM evsched.resume_queue('mine');
    PERFORM evsched.redrive('mine', 5);
    PERFORM evsched.redrive(ARRAY[id]);
    PERFORM evsched.discard(ARRAY[id]);
    RETURN NEXT 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN NEXT pg_catalog.concat(SQLSTATE, ' ', SQLERRM);
END $$;
-- jobs, series, coroutines, map, rules and watches: each call by itself; what fails is told
CREATE SCHEMA regress_evsched_plain;
GRANT USAGE ON SCHEMA regress_evsched_plain TO regress_evsched_alice;
CREATE FUNCTION regress_evsched_plain.slot(identifier text, period interval, at timestamptz, OUT slot bigint, OUT name text)
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN slot := 1; name := 'one'; END $$;
CREATE FUNCTION regress_evsched_plain.step(given jsonb, OUT state jsonb, OUT sleep interval)
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$ BEGIN state := '1'; END $$;
CREATE FUNCTION pg_temp.use_jobs() RETURNS SETOF pg_catalog.text LANGUAGE plpgsql AS $$
DECLARE
    command pg_catalog.text;
BEGIN
    FOREACH command IN ARRAY ARRAY[
        'SELECT evsched.after(''1 h'', ''SELECT 1'', ''{}'', ''active'', ''a'', 3)', 'SELECT evsched.enqueue(''SELECT 1'', key => ''e'')',
        'SELECT evsched.every(''1 h'', ''SELECT 1'', key => ''s'')', 'SELECT evsched.cron(''0 5 * * mon-fri'', ''SELECT 1'', key => ''c'')',
        'SELECT evsched.every(''1 d'', ''SELECT 2'', key => ''s'', start_at => ''2020-01-01'', time_zone => ''Europe/Berlin'', overlap => ''queue'')',
        'SELECT evsched.next(''SELECT 1'', ''SELECT $1'')', 'SELECT evsched.work(''SELECT 1'', ''SELECT $1'')',
        'SELECT evsched.post(''1'', queue => ''used'', key => ''r'', every => ''1 h'', missed => ''skip'')',
        'SELECT evsched.pause(''a'', ''active'')', 'SELECT evsched.resume(''a'', ''active'')', 'SELECT evsched.run_now(''s'', ''passive'')',
        'SELECT evsched.change_delay(''s'', ''2 h'', ''passive'')', 'SELECT evsched.reschedule((SELECT pg_catalog.min(id) FROM evsched.series), ''3 h'')',
        'SELECT evsched.pause(id), evsched.resume(id), evsched.run_now(id), evsched.cancel(id) FROM evsched.series',
        'SELECT evsched.stop_run(1)', 'SELECT * FROM evsched.next_fires(''*/5 * * * *'', 3, ''Europe/Berlin'')', 'SELECT * FROM evsched.current_event()',
        'SELECT evsched.size(''passive'')', 'SELECT * FROM evsched.result(1)', 'SELECT evsched.on_error(''SELECT 1'')', 'SELECT evsched.on_error(NULL)',
        'SELECT * FROM evsched.run', 'SELECT * FROM evsched.series', 'SELECT * FROM evsched.stat_queue', 'SELECT * FROM evsched.stat_worker',
        'SELECT evsched.coroutine(''regress_evsched_plain.step'', ''{}'', ''active'')', 'SELECT evsched.sleep(''1 ms'')', 'SELECT evsched.worker_id()',
        'SELECT evsched._go_on(''1'', ''1 s'')', 'SELECT * FROM evsched.map(''1'', ''active'')', 'SELECT * FROM evsched.map(''('')',
        'SELECT evsched.add_rule(''r'', ''1 us'', ''SELECT $1'', ''once'', ''true'', ''s'')',
        'SELECT evsched.add_rule(''r'', ''1 us'', ''SELECT NULL'', ''each'', rule_set => ''s'')',
        'SELECT evsched.add_rule(''f'', ''1 us'', ''SELECT nothing'', rule_set => ''s'')', 'SELECT evsched.run_rules(''{"a": 1}'', ''s'')',
        'SELECT evsched.run_rules(rule_set => ''s'')', 'SELECT evsched.set_slot_function(''regress_evsched_plain.slot'', ''s'')',
        'SELECT evsched.run_rules(''1'', ''s'')', 'SELECT evsched.run_rules(''1'', ''s'')', 'SELECT evsched.set_slot_function(NULL, ''s'')',
        'SELECT evsched.load_rules(''[{"identifier": "r", "period": "1 s", "command": "SELECT 1", "mode": "each", "filter": "$1 IS NULL"},'
        ' {"identifier": "n", "period": "1 us", "command": "SELECT 1"}]'', ''s'')', 'SELECT evsched.run_rules(''1'', ''s'')',
        'SELECT evsched.grant_rules(''s'', ''regress_evsched_mallory'')', 'SELECT evsched.revoke_rules(''s'', ''regress_evsched_mallory'')',
        'SELECT evsched.watch_channel(''regress'', ''SELECT 1'')', 'SELECT evsched.watch_channel(''regress'', ''SELECT 2'')',
        'SELECT evsched.watch_path(''/nonexistent'', ''SELECT 1'')', 'SELECT evsched.pause(id), evsched.resume(id), evsched.cancel(id) FROM evsched.series',
        'SELECT * FROM evsched.rules', 'SELECT evsched.remove_rule(''r'', ''s'')', 'SELECT evsched.load_rules(''[]'', ''s'')'] LOOP
        BEGIN
            EXECUTE command;
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT pg_catalog.concat(SQLSTATE, ' ', SQLERRM, ': ', command);
        END;
    END LOOP;
    -- of its rules one alone has failed
    FOR command IN SELECT pg_catalog.concat(sqlstate, ' ', message) FROM evsched.run GROUP BY 1 LOOP RETURN NEXT command; END LOOP;
    RETURN NEXT 'done';
END $$;
SET search_path = regress_evsched_evil, public, pg_temp, pg_catalog;
BEGIN;
SELECT pg_temp.use();
SELECT pg_temp.use_jobs();
SELECT evsched.start();
SELECT evsched.stop('0');
SELECT evsched.force_stop();
SELECT evsched.start();
SELECT evsched.grant_usage('regress_evsched_alice', true);
INSERT INTO evsched.event (queue, payload, key, due_at) VALUES ('used', '1', 'k', 'infinity');
UPDATE evsched.event SET due_at = '-infinity';
COPY evsched.event (queue, payload) FROM STDIN;
used	"copied"
\.
DELETE FROM evsched.event;
TRUNCATE evsched.event, evsched.dead, evsched.queue, evsched.queue_grant;
ROLLBACK;
BEGIN;
SET LOCAL ROLE regress_evsched_alice;
SELECT pg_temp.use();
SELECT pg_temp.use_jobs();
ROLLBACK;
-- with settings that change how SQL is read and run
SET standard_conforming_strings = off;
SET transform_null_equals = on;
SET quote_all_identifiers = on;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET IntervalStyle = sql_standard;
SET DateStyle = 'SQL, DMY';
SET default_toast_compression = pglz;
SET plan_cache_mode = force_custom_plan;
BEGIN;
SET LOCAL ROLE regress_evsched_alice;
SELECT pg_temp.use();
SELECT pg_temp.use_jobs();
ROLLBACK;
SELECT evsched.grant_usage('regress_evsched_alice');
RESET ALL;
SET search_path = pg_catalog, pg_temp;

--
-- functions that tell what they are given, in WHERE: they get no row of others
--
SET ROLE regress_evsched_mallory;
SELECT evsched.post('"own"', '1 h', 'own', max_retries => 3) > 0 AS posted;
CREATE FUNCTION regress_evsched_evil.leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0001
    AS $$ BEGIN RAISE NOTICE 'leaked: %', $1; RETURN true; END $$;
CREATE FUNCTION regress_evsched_evil.leak2(text, text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
    AS $$ BEGIN RAISE NOTICE 'leaked: %, %', $1, $2; RETURN true; END $$;
CREATE FUNCTION regress_evsched_evil.leak_secret(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
    AS $$ BEGIN IF $1 LIKE '%super%' OR $1 = session_user THEN RAISE NOTICE 'leaked: %', $1; END IF; RETURN true; END $$;
CREATE OPERATOR regress_evsched_evil.<~> (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evsched_evil.leak2);
RESET ROLE;
SELECT evsched.post('"dead secret"', '-1 h', 'supers', 'd', 1) AS a \gset
SELECT evsched.reject(:a, '-1 h'), evsched.reject(:a);
SELECT evsched.post('"held secret"', '-1 h', 'supers', 'h', 5) IS NOT NULL AS posted;
SELECT payload FROM evsched.receive('supers', 1, '1 h');
SELECT evsched.join('secret node', 'supers') IS NOT NULL AS joined;
SET ROLE regress_evsched_mallory;
\set SHOW_CONTEXT never
SELECT payload FROM evsched.events e WHERE regress_evsched_evil.leak(e.payload);
SELECT payload FROM evsched.events e WHERE regress_evsched_evil.leak(e.queue) AND regress_evsched_evil.leak(e.owner);
SELECT payload FROM evsched.events e WHERE queue OPERATOR(regress_evsched_evil.<~>) key;
SELECT payload FROM evsched.events e WHERE regress_evsched_evil.leak(e.payload) OR e.queue = 'supers';
SELECT count(*) FROM evsched.events e WHERE regress_evsched_evil.leak(e.payload) AND e.id > 0 AND e.queue = 'supers';
SELECT count(*) FROM evsched.events e WHERE 1 / (length(e.key) - 1) = 1;
SELECT count(*) FROM evsched.events e JOIN evsched.queues q USING (queue) WHERE regress_evsched_evil.leak_secret(q.owner) AND regress_evsched_evil.leak(e.payload);
SELECT count(*) FROM (SELECT payload FROM evsched.events e ORDER BY regress_evsched_evil.leak(e.payload) LIMIT 1) x;
SELECT count(*) FROM evsched.dead_event d WHERE regress_evsched_evil.leak(d.payload);
SELECT count(*) FROM evsched.listeners l WHERE regress_evsched_evil.leak(l.node);
SELECT count(*) FROM evsched.queues q WHERE regress_evsched_evil.leak_secret(q.owner) AND regress_evsched_evil.leak_secret(q.queue) AND q.queue = 'supers';
SELECT count(*) FROM evsched._leases() WHERE regress_evsched_evil.leak(id);
SELECT count(*) FROM evsched._listeners() WHERE regress_evsched_evil.leak(node);
SELECT count(*) FROM evsched._queues() WHERE queue = 'supers';
SELECT count(*) FROM evsched.upcoming('supers') WHERE regress_evsched_evil.leak(payload);
\set SHOW_CONTEXT errors
-- nor do statistics, the sequence or the functions behind the views tell
RESET ROLE;
ANALYZE evsched.event;
SET ROLE regress_evsched_mallory;
SELECT count(*) FROM pg_stats WHERE schemaname = 'evsched';
SELECT last_value FROM pg_sequences WHERE schemaname = 'evsched';
SELECT bool_or(evsched._sees(n, 'supers')) FROM generate_series(-1000, 1000) n;
RESET ROLE;
SELECT evsched.leave('supers');

--
-- what would make a role the owner of evsched, or run something as its owner
--
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SET client_min_messages = error;
SET ROLE regress_evsched_mallory;
\pset format unaligned
SELECT pg_temp.outcome(command) AS outcome, command FROM unnest(ARRAY[
    'CREATE TRIGGER t BEFORE INSERT ON evsched.event FOR EACH ROW EXECUTE FUNCTION regress_evsched_evil._note_change()',
    'CREATE TRIGGER t INSTEAD OF INSERT ON evsched.events FOR EACH ROW EXECUTE FUNCTION regress_evsched_evil._note_change()',
    'CREATE TRIGGER t AFTER INSERT ON regress_evsched_evil.event FOR EACH ROW EXECUTE FUNCTION evsched._note_change()',
    'CREATE TRIGGER t AFTER INSERT ON regress_evsched_evil.event FOR EACH ROW EXECUTE FUNCTION evsched._note_setting()',
    'CREATE RULE r AS ON INSERT TO evsched.event DO ALSO SELECT regress_evsched_evil.leak(1)',
    'CREATE POLICY p ON evsched.event USING (regress_evsched_evil.leak(1))',
    'ALTER TABLE evsched.event ENABLE ROW LEVEL SECURITY',
    'CREATE INDEX ON evsched.event (regress_evsched_evil.leak(id))',
    'CREATE STATISTICS s ON (id + 1) FROM evsched.event',
    'ALTER TABLE evsched.event ALTER payload SET DEFAULT ''1''',
    'ALTER TABLE evsched.event ADD CHECK (regress_evsched_evil.leak(id))',
    'CREATE TABLE regress_evsched_evil.heir () INHERITS (evsched.event)',
    'ALTER TABLE regress_evsched_evil.event INHERIT evsched.event',
    'CREATE TABLE regress_evsched_evil.foreign_key (id bigint, queue text, FOREIGN KEY (id, queue) REFERENCES evsched.event)',
    'CREATE TABLE regress_evsched_evil.likeness (LIKE evsched.event INCLUDING ALL)',
    'CREATE PUBLICATION p FOR TABLE evsched.event',
    'CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION evsched._note_change()',
    'CREATE FUNCTION evsched.post(text) RETURNS bigint LANGUAGE sql AS ''SELECT 1::bigint''',
    'CREATE FUNCTION regress_evsched_evil.owner() RETURNS int LANGUAGE c AS ''evsched'', ''evsched_sql_owner''',
    'CREATE OR REPLACE FUNCTION evsched._owner() RETURNS int LANGUAGE sql AS ''SELECT 1''',
    'ALTER FUNCTION evsched._owner() SECURITY DEFINER',
    'ALTER FUNCTION evsched._owner() SET search_path = regress_evsched_evil',
    'ALTER FUNCTION regress_evsched_evil._owner() SET SCHEMA evsched',
    'ALTER FUNCTION evsched._owner() OWNER TO regress_evsched_mallory',
    'ALTER EXTENSION evsched ADD FUNCTION regress_evsched_evil._owner()',
    'ALTER EXTENSION evsched UPDATE',
    'DROP EXTENSION evsched',
    'ALTER SCHEMA evsched RENAME TO other',
    'ALTER TYPE evsched.delivery ADD ATTRIBUTE a int',
    'CREATE CAST (evsched.delivery AS text) WITH INOUT AS IMPLICIT',
    'COMMENT ON FUNCTION evsched._owner() IS ''mine''',
    'ALTER DEFAULT PRIVILEGES FOR ROLE ' || quote_ident(session_user) || ' GRANT ALL ON TABLES TO PUBLIC',
    'SET session_replication_role = replica',
    'SET evsched.fence = on', 'SET evsched.enabled = off', 'SET evsched.mine = 1', 'SET evsched.dead_age = 1',
    'SELECT nextval(''evsched.event_id_seq'')', 'SELECT setval(''evsched.event_id_seq'', 1)',
    'REINDEX TABLE evsched.event', 'CLUSTER evsched.event USING event_pkey', 'LOCK TABLE evsched.event IN ACCESS SHARE MODE',
    'LOCK TABLE evsched.events IN ROW SHARE MODE', 'LOCK TABLE evsched.events IN ACCESS EXCLUSIVE MODE',
    'SELECT * FROM evsched.event', 'SELECT * FROM evsched.role', 'SELECT * FROM evsched.queue_grant',
    'SELECT * FROM evsched.events FOR UPDATE', 'DELETE FROM evsched.events', 'TRUNCATE evsched.event']) command;
\pset format aligned
\set VERBOSITY sqlstate
GRANT ALL ON ALL TABLES IN SCHEMA evsched TO regress_evsched_mallory;
\set VERBOSITY default
SELECT has_any_column_privilege('evsched.event', 'SELECT, INSERT, UPDATE');
-- what it leads others to run is run as itself
CREATE MATERIALIZED VIEW regress_evsched_evil.led AS SELECT evsched.post('"led"', '1 h', 'bait') AS id WITH NO DATA;
CREATE MATERIALIZED VIEW regress_evsched_evil.led_to_join AS SELECT evsched.join('led', 'bait') AS channel WITH NO DATA;
RESET ROLE;
REFRESH MATERIALIZED VIEW regress_evsched_evil.led;
REFRESH MATERIALIZED VIEW regress_evsched_evil.led_to_join;
SELECT payload, owner FROM evsched.events WHERE queue = 'bait';
SELECT count(*) FROM evsched.listeners;

DELETE FROM evsched.event;
DELETE FROM evsched.dead;
DELETE FROM evsched.queue_grant;
DELETE FROM evsched.queue;
DROP SCHEMA regress_evsched_plain CASCADE;
DROP OWNED BY regress_evsched_mallory, regress_evsched_alice CASCADE;
DROP ROLE regress_evsched_mallory, regress_evsched_alice;

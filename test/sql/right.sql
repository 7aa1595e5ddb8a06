-- Who may do what: usage, queues with an owner, grants, membership, and what each role sees.

-- whatever another script has left
DELETE FROM evsched.event;
DELETE FROM evsched.dead;

CREATE ROLE regress_evsched_nobody;
CREATE ROLE regress_evsched_any;
CREATE ROLE regress_evsched_bulk;
CREATE ROLE regress_evsched_owner;
CREATE ROLE regress_evsched_member IN ROLE regress_evsched_owner;
CREATE ROLE regress_evsched_poster;
CREATE ROLE regress_evsched_consumer;
CREATE ROLE regress_evsched_group;
CREATE ROLE regress_evsched_grouped IN ROLE regress_evsched_group;
CREATE ROLE regress_evsched_control;

-- What an expression is for a role: its value as text, or SQLSTATE (and hint).
CREATE FUNCTION pg_temp.as_role(who text, expression text, hints boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    got text;
    hint text;
BEGIN
    EXECUTE format('SET LOCAL ROLE regress_evsched_%s', who);
    EXECUTE format('SELECT (%s)::text', expression) INTO got;
    RESET ROLE;
    RETURN got;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE WHEN hints AND hint <> '' THEN ': ' || hint ELSE '' END;
END $$;

-- The same for several roles.
CREATE FUNCTION pg_temp.as_roles(expression text, VARIADIC roles text[]) RETURNS TABLE (who text, result text)
LANGUAGE sql AS $$ SELECT r, pg_temp.as_role(r, expression) FROM unnest(roles) r $$;

-- An event that was given up.
CREATE FUNCTION pg_temp.bury(who text, queue text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint := pg_temp.as_role(who, format('evsched.post(''1'', ''-1 h'', %L, NULL, 1)', queue));
BEGIN
    IF NOT (evsched.reject(id, '-1 h') AND evsched.reject(id)) THEN
        RAISE 'not dead';
    END IF;
    RETURN id;
END $$;

--
-- usage: without it nothing
--
SELECT expression, pg_temp.as_role('nobody', expression) FROM (VALUES
    ($$evsched.post('1')$$),
    ($$evsched.post_at('1', now())$$),
    ($$(SELECT count(*) FROM evsched.post_many('{1}'))$$),
    ($$evsched.cancel(1)$$), ($$evsched.cancel('k', 'q')$$),
    ($$evsched.peek(1)$$), ($$evsched.peek('k', 'q')$$),
    ($$evsched.confirm(1)$$), ($$evsched.confirm('{1}'::bigint[])$$), ($$evsched.confirm('k', 'q')$$),
    ($$evsched.reject(1)$$), ($$evsched.extend(1, '1 s')$$),
    ($$evsched.change_delay(1, '1 s')$$), ($$evsched.change_delay('k', '1 s', 'q')$$),
    ($$(SELECT count(*) FROM evsched.upcoming())$$),
    ($$(SELECT count(*) FROM evsched.take())$$), ($$(SELECT count(*) FROM evsched.receive())$$),
    ($$(SELECT count(*) FROM evsched.fetch('{1}'))$$),
    ($$evsched.join()$$), ($$evsched.leave()$$), ($$evsched.set_max_events(1)$$),
    ($$evsched.create_queue('q')$$), ($$evsched.grant_queue('q', 'regress_evsched_nobody', 'post')$$),
    ($$evsched.revoke_queue('q', 'regress_evsched_nobody', 'post')$$),
    ($$evsched.grant_usage('regress_evsched_nobody')$$),
    ($$evsched.pause_queue('q')$$), ($$evsched.resume_queue('q')$$),
    ($$evsched.start()$$), ($$evsched.stop('0')$$), ($$evsched.force_stop()$$),
    ($$evsched.redrive('q')$$), ($$evsched.redrive('{1}'::bigint[])$$), ($$evsched.discard('{1}')$$),
    ($$(SELECT count(*) FROM evsched.events)$$), ($$(SELECT count(*) FROM evsched.dead_event)$$),
    ($$(SELECT count(*) FROM evsched.listeners)$$), ($$(SELECT count(*) FROM evsched.queues)$$),
    ($$(SELECT count(*) FROM evsched.event)$$)) v (expression);
-- nor is there a function, table, view or sequence that it may use if it gets into the schema
GRANT USAGE ON SCHEMA evsched TO regress_evsched_nobody;
SELECT p.oid::regprocedure AS usable FROM pg_proc p
WHERE pronamespace = 'evsched'::regnamespace AND has_function_privilege('regress_evsched_nobody', p.oid, 'EXECUTE');
SELECT c.oid::regclass AS usable FROM pg_class c
WHERE relnamespace = 'evsched'::regnamespace AND relkind IN ('r', 'v', 'S') AND CASE relkind
    WHEN 'S' THEN has_sequence_privilege('regress_evsched_nobody', c.oid, 'USAGE, SELECT, UPDATE')
    ELSE has_any_column_privilege('regress_evsched_nobody', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        OR has_table_privilege('regress_evsched_nobody', c.oid, 'DELETE, TRUNCATE, TRIGGER') END;
SELECT pg_temp.as_role('nobody', $$evsched.post('1')$$);
REVOKE USAGE ON SCHEMA evsched FROM regress_evsched_nobody;

--
-- grant_usage: the functions and views, no table
--
SELECT evsched.grant_usage('regress_evsched_any');
SELECT evsched.grant_usage(r) FROM unnest('{regress_evsched_owner, regress_evsched_member,
    regress_evsched_poster, regress_evsched_consumer, regress_evsched_group, regress_evsched_grouped}'::name[]) r;
SELECT p.oid::regprocedure AS refused FROM pg_proc p
WHERE pronamespace = 'evsched'::regnamespace AND NOT has_function_privilege('regress_evsched_any', p.oid, 'EXECUTE')
ORDER BY 1::text;
SELECT c.oid::regclass AS usable, relkind FROM pg_class c
WHERE relnamespace = 'evsched'::regnamespace AND relkind IN ('r', 'v', 'S') AND CASE relkind
    WHEN 'S' THEN has_sequence_privilege('regress_evsched_any', c.oid, 'USAGE, SELECT, UPDATE')
    ELSE has_any_column_privilege('regress_evsched_any', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
        OR has_table_privilege('regress_evsched_any', c.oid, 'DELETE, TRUNCATE, TRIGGER') END
ORDER BY 1::text;
SELECT c.oid::regclass AS changeable FROM pg_class c
WHERE relnamespace = 'evsched'::regnamespace AND relkind = 'v'
    AND (has_any_column_privilege('regress_evsched_any', c.oid, 'INSERT, UPDATE, REFERENCES')
        OR has_table_privilege('regress_evsched_any', c.oid, 'DELETE, TRUNCATE, TRIGGER'));
-- and cannot be handed on
SET ROLE regress_evsched_any;
\set VERBOSITY sqlstate
GRANT EXECUTE ON FUNCTION evsched.cancel(bigint) TO regress_evsched_nobody;
GRANT USAGE ON SCHEMA evsched TO regress_evsched_nobody;
CREATE FUNCTION evsched.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE evsched.mine (n int);
INSERT INTO evsched.event (payload) VALUES ('1');
INSERT INTO evsched.events (payload) VALUES ('1');
CREATE TRIGGER mine BEFORE INSERT ON evsched.event EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TABLE pg_temp.child () INHERITS (evsched.event);
CREATE INDEX ON evsched.event (id);
BEGIN;
LOCK TABLE evsched.event IN ACCESS SHARE MODE;
ROLLBACK;
\set VERBOSITY default
RESET ROLE;
SELECT has_schema_privilege('regress_evsched_nobody', 'evsched', 'USAGE');

-- bulk: plain writes, too, of the columns that are the user's own
SELECT evsched.grant_usage('regress_evsched_bulk', bulk => true);
SELECT string_agg(attname, ', ' ORDER BY attnum) AS insertable FROM pg_attribute
WHERE attrelid = 'evsched.event'::regclass AND attnum > 0
    AND has_column_privilege('regress_evsched_bulk', attrelid, attnum, 'INSERT');
SELECT attname AS otherwise_usable FROM pg_attribute
WHERE attrelid = 'evsched.event'::regclass AND attnum > 0
    AND has_column_privilege('regress_evsched_bulk', attrelid, attnum, 'SELECT, UPDATE, REFERENCES');
SET ROLE regress_evsched_bulk;
INSERT INTO evsched.event (queue, due_at, key, payload, max_retries) VALUES ('bulk', '2100-01-01', 'k', '"insert"', 3);
INSERT INTO evsched.event (payload) VALUES ('"shortest"');
COPY evsched.event (queue, due_at, key, payload, max_retries) FROM STDIN;
bulk	2100-01-01	\N	"copy"	\N
bulk	2100-01-02	l	"copy too"	0
\.
\set VERBOSITY sqlstate
INSERT INTO evsched.event (payload, owner) VALUES ('1', 1);
INSERT INTO evsched.event (payload, command) VALUES ('1', 'SELECT 1');
INSERT INTO evsched.event (payload, id) VALUES ('1', 1);
INSERT INTO evsched.event (payload, recurring) VALUES ('1', 1);
INSERT INTO evsched.event (payload, num_retries) VALUES ('1', 1);
INSERT INTO evsched.event VALUES (1, now(), 0, NULL, NULL, 'bulk', '1');
INSERT INTO evsched.event (payload) VALUES ('1') RETURNING id;
INSERT INTO evsched.event (queue, key, payload) VALUES ('bulk', 'k', '1') ON CONFLICT (queue, key) WHERE key IS NOT NULL DO NOTHING;
SELECT has_column_privilege('evsched.event', 'owner', 'INSERT') AS owner_by_copy;
COPY evsched.event TO STDOUT;
SELECT * FROM evsched.event;
UPDATE evsched.event SET payload = '1';
DELETE FROM evsched.event;
TRUNCATE evsched.event;
\set VERBOSITY default
RESET ROLE;
SELECT queue, key, payload, max_retries, owner FROM evsched.events ORDER BY id;
-- what was given stays given
SELECT evsched.grant_usage('regress_evsched_bulk');
SELECT has_column_privilege('regress_evsched_bulk', 'evsched.event', 'payload', 'INSERT');
DELETE FROM evsched.event;

--
-- an event's owner is current_user at the call
--
SET ROLE regress_evsched_any;
SELECT evsched.post('"set role"', '1 h', 'owner') IS NOT NULL AS posted;
RESET ROLE;
SET SESSION AUTHORIZATION regress_evsched_owner;
SELECT evsched.post('"session authorization"', '1 h', 'owner') IS NOT NULL AS posted;
RESET SESSION AUTHORIZATION;
SELECT evsched.post('"own"', '1 h', 'owner') AS a \gset
SELECT current_user = owner AS mine FROM evsched.events WHERE id = :a;
-- of a function with its owner's rights: that owner
CREATE FUNCTION pg_temp.post_as_definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    AS $$ SELECT evsched.post('"definer"', '1 h', 'owner') $$;
ALTER FUNCTION pg_temp.post_as_definer() OWNER TO regress_evsched_poster;
SELECT pg_temp.as_role('nobody', 'pg_temp.post_as_definer() > 0');
SELECT payload, owner FROM evsched.events WHERE payload <> '"own"' ORDER BY id;
DELETE FROM evsched.event;

--
-- a queue is open to every role with usage until it has an owner
--
SELECT pg_temp.as_role('any', $$evsched.post('1', '-1 h', 'open', 'k', 3)$$) AS a \gset
SELECT * FROM pg_temp.as_roles($$(SELECT count(*) FROM evsched.upcoming('open'))$$, 'any', 'bulk', 'nobody');
SELECT pg_temp.as_role('bulk', $$(SELECT payload FROM evsched.receive('open'))$$);
SELECT pg_temp.as_role('poster', format('evsched.extend(%s, ''1 h'')', :a));
SELECT pg_temp.as_role('poster', format('(SELECT count(*) FROM evsched.fetch(''{%s}''))', :a));
SELECT pg_temp.as_role('owner', format('evsched.reject(%s, ''-1 s'')', :a));
SELECT pg_temp.as_role('member', $$evsched.change_delay('k', '-1 s', 'open')$$);
SELECT pg_temp.as_role('consumer', $$(evsched.peek('k', 'open')).payload$$);
SELECT pg_temp.as_role('consumer', $$evsched.confirm('k', 'open')$$);
SELECT pg_temp.as_role('any', $$evsched.post('2', '-1 h', 'open') > 0$$);
SELECT pg_temp.as_role('bulk', $$(SELECT payload FROM evsched.take('open'))$$);

--
-- create_queue
--
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', 2, '1 h')$$);
SELECT queue, owner, max_retries, retry_delay, paused FROM evsched.queues WHERE queue = 'owned';
-- again: the settings as they are said last; the owner stays
SELECT pg_temp.as_role('member', $$evsched.create_queue('owned', retry_delay => '2 h')$$);
SELECT evsched.create_queue('owned', 5);
SELECT queue, owner, max_retries, retry_delay, paused FROM evsched.queues WHERE queue = 'owned';
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', 2, '1 h')$$);
-- refused: for default, of another, and while others are in it
\set VERBOSITY terse
SET ROLE regress_evsched_any;
SELECT evsched.create_queue('default');
SELECT evsched.create_queue('owned');
RESET ROLE;
SELECT evsched.create_queue('default');
\set VERBOSITY default
SELECT pg_temp.as_role('any', $$evsched.create_queue('owned')$$, hints => true);
SELECT pg_temp.as_role('any', $$evsched.post('1', '1 h', 'busy') > 0$$);
SELECT * FROM pg_temp.as_roles($$evsched.create_queue('busy')$$, 'owner', 'member', 'bulk');
SELECT count(*) AS half_done FROM evsched.queue WHERE name = 'busy';
SELECT pg_temp.as_role('any', $$evsched.create_queue('busy')$$) AS own_events;
-- those whose owner one is a member of do not stand in the way
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'busy2') > 0$$);
SELECT pg_temp.as_role('member', $$evsched.create_queue('busy2')$$);
SELECT pg_temp.as_role('member', $$evsched.post('1', '1 h', 'busy3') > 0$$);
SELECT pg_temp.as_role('owner', $$evsched.create_queue('busy3')$$) AS not_the_other_way;
SELECT queue, owner FROM evsched.queues WHERE queue ~ '^busy' AND owner IS NOT NULL ORDER BY queue COLLATE "C";
-- nor may it throw away the dead ones of others
SELECT pg_temp.bury('any', 'grave') > 0 AS dead;
SELECT pg_temp.as_role('owner', $$evsched.create_queue('grave')$$);
SELECT pg_temp.as_role('any', $$evsched.create_queue('grave')$$) AS own_dead;
DELETE FROM evsched.dead;
-- listeners
SELECT evsched.join('super', 'heard') IS NOT NULL AS joined;
SELECT pg_temp.as_role('any', $$evsched.create_queue('heard')$$, hints => true);
SELECT evsched.leave('heard');
SELECT pg_temp.as_role('any', $$evsched.create_queue('heard')$$);
SET ROLE regress_evsched_any;
SELECT evsched.join('mine', 'heard2') IS NOT NULL AS joined;
SELECT evsched.create_queue('heard2');
SELECT evsched.leave('heard2');
RESET ROLE;
-- an event of nobody known is an event of another
INSERT INTO evsched.event (queue, payload, owner, due_at) VALUES ('stray', '1', NULL, 'infinity'), ('stray2', '1', 2, 'infinity');
SELECT pg_temp.as_role('any', $$evsched.create_queue('stray')$$), pg_temp.as_role('any', $$evsched.create_queue('stray2')$$);
DELETE FROM evsched.event;

--
-- an owned queue: nothing to others, everything to the owner and its members
--
CREATE TEMP TABLE what (n serial, expression text);
GRANT SELECT ON what TO PUBLIC;
INSERT INTO what (expression) VALUES
    ($$evsched.post('1', '1 h', 'owned') > 0$$),
    ($$evsched.post_at('1', 'infinity', 'owned') > 0$$),
    ($$(SELECT count(*) FROM evsched.post_many('{1,2}', '{1 h}', 'owned'))$$),
    ($$(SELECT count(*) FROM evsched.post_many('{}', '{1 h}', 'owned'))$$),
    ($$(SELECT count(*) FROM evsched.take('owned', 9))$$),
    ($$(SELECT count(*) FROM evsched.receive('owned', 9))$$),
    ($$evsched.confirm('none', 'owned')$$),
    ($$evsched.join('n', 'owned') > ''$$),
    ($$evsched.leave('owned') IS NOT NULL$$);
SELECT expression, pg_temp.as_role('any', expression) AS any, pg_temp.as_role('owner', expression) AS owner,
       pg_temp.as_role('member', expression) AS member, pg_temp.as_role('bulk', expression) AS bulk
FROM what ORDER BY n;
SELECT pg_temp.as_role('any', $$evsched.post('1', queue => 'owned')$$, hints => true);
SELECT pg_temp.as_role('any', $$(SELECT count(*) FROM evsched.take('owned'))$$, hints => true);
SET ROLE regress_evsched_bulk;
INSERT INTO evsched.event (queue, payload) VALUES ('open', '1'), ('owned', '1');
COPY evsched.event (queue, payload) FROM STDIN;
owned	1
\.
RESET ROLE;
SELECT count(*) AS of_bulk FROM evsched.events WHERE owner = 'regress_evsched_bulk';
DELETE FROM evsched.event;

-- grant_queue: one right, or the other, to a role and its members
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_poster', 'post')$$);
SELECT pg_temp.as_role('member', $$evsched.grant_queue('owned', 'regress_evsched_consumer', 'consume')$$);
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_group', 'post')$$);
SELECT evsched.grant_queue('owned', 'regress_evsched_group', 'consume');
SELECT evsched.grant_queue('owned', 'regress_evsched_bulk', 'post');
SELECT expression, pg_temp.as_role('poster', expression) AS poster, pg_temp.as_role('consumer', expression) AS consumer,
       pg_temp.as_role('group', expression) AS group, pg_temp.as_role('grouped', expression) AS grouped,
       pg_temp.as_role('any', expression) AS any
FROM what ORDER BY n;
SET ROLE regress_evsched_bulk;
INSERT INTO evsched.event (queue, payload, due_at) VALUES ('owned', '1', 'infinity');
RESET ROLE;
-- twice is once; nobody else grants
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_poster', 'post')$$);
SELECT * FROM pg_temp.as_roles($$evsched.grant_queue('owned', 'regress_evsched_any', 'post')$$, 'any', 'poster', 'consumer', 'grouped');
SELECT pg_temp.as_role('any', $$evsched.grant_queue('owned', 'regress_evsched_any', 'consume')$$, hints => true);
SELECT pg_temp.as_role('any', $$evsched.grant_queue('open', 'regress_evsched_any', 'consume')$$, hints => true) AS no_owner;
SELECT evsched.grant_queue('open', 'regress_evsched_any', 'consume');
SELECT * FROM pg_temp.as_roles($$evsched.revoke_queue('owned', 'regress_evsched_poster', 'post')$$, 'any', 'poster', 'consumer', 'grouped');
SELECT pg_temp.as_role('poster', $$evsched.post('1', '1 h', 'owned') > 0$$) AS still;

-- revoke_queue: that right of that role, at once
SELECT pg_temp.as_role('owner', $$evsched.revoke_queue('owned', 'regress_evsched_poster', 'consume')$$) AS had_not;
SELECT pg_temp.as_role('poster', $$evsched.post('1', '1 h', 'owned') > 0$$) AS still;
SELECT pg_temp.as_role('owner', $$evsched.revoke_queue('owned', 'regress_evsched_poster', 'post')$$);
SELECT pg_temp.as_role('poster', $$evsched.post('1', '1 h', 'owned') > 0$$);
SELECT pg_temp.as_role('member', $$evsched.revoke_queue('owned', 'regress_evsched_group', 'consume')$$);
SELECT pg_temp.as_role('grouped', $$evsched.post('1', '1 h', 'owned') > 0$$),
       pg_temp.as_role('grouped', $$(SELECT count(*) FROM evsched.take('owned'))$$);
SELECT pg_temp.as_role('owner', $$evsched.revoke_queue('owned', 'regress_evsched_owner', 'post')$$);
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'owned') > 0$$) AS an_owner_needs_none;
-- membership counts when it is asked for
SELECT pg_temp.as_role('grouped', $$evsched.post('1', '1 h', 'owned') > 0$$);
REVOKE regress_evsched_group FROM regress_evsched_grouped;
SELECT pg_temp.as_role('grouped', $$evsched.post('1', '1 h', 'owned') > 0$$);
GRANT regress_evsched_group TO regress_evsched_grouped;
SELECT pg_temp.as_role('grouped', $$evsched.post('1', '1 h', 'owned') > 0$$);
DELETE FROM evsched.event;

--
-- the settings of a queue: what events get that do not say
--
SELECT pg_temp.as_role('owner', $$evsched.post('"unsaid"', '-1 h', 'owned', 'a')$$) AS a \gset
SELECT pg_temp.as_role('owner', $$evsched.post('"said"', '-1 h', 'owned', 'b', 1, retry_delay => '5 s')$$) AS b \gset
SET ROLE regress_evsched_bulk;
INSERT INTO evsched.event (queue, payload, key, due_at) VALUES ('owned', '"inserted"', 'c', clock_timestamp() - interval '1 h');
RESET ROLE;
SELECT payload, max_retries, num_retries FROM evsched.receive('owned', 9) ORDER BY payload;
SELECT key, evsched.reject(id) FROM evsched.events ORDER BY key;
SELECT key, num_retries, state, due_at - clock_timestamp() BETWEEN '59 min' AND '1 h' AS hour,
       due_at - clock_timestamp() <= '5 s' AS soon FROM evsched.events ORDER BY key;
-- doubled for each further one
SELECT evsched.change_delay('a', '-1 s', 'owned');
UPDATE evsched.event SET num_retries = 1 WHERE key = 'a';
SELECT evsched.reject(:a);
SELECT num_retries, due_at - clock_timestamp() BETWEEN '59 min' AND '1 h' AS at_most_an_hour FROM evsched.events WHERE key = 'a';
UPDATE evsched.event SET due_at = '-infinity';
SELECT evsched.reject(id) FROM evsched.events ORDER BY id;
SELECT key, num_retries, why FROM evsched.dead_event ORDER BY key;
SELECT key, num_retries FROM evsched.events ORDER BY key;
-- as they are at the time: of events that are there, too
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', -1)$$);
UPDATE evsched.event SET due_at = '-infinity', num_retries = 10;
SELECT evsched.reject(id) FROM evsched.events;
SELECT key, state, num_retries FROM evsched.events;
UPDATE evsched.event SET due_at = '-infinity';
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', 0)$$);
SELECT key, max_retries FROM evsched.receive('owned', 9);
SELECT count(*) AS gone FROM evsched.event;
SELECT evsched.discard(array_agg(id)) FROM evsched.dead_event;
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', 2, '1 h')$$);

--
-- a key of another's in a queue one may not consume: 42501, and nothing more is told
--
SELECT pg_temp.as_role('owner', $$evsched.post('"secret"', '1 h', 'owned', 'k', 3)$$) AS a \gset
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_poster', 'post')$$);
SET ROLE regress_evsched_poster;
DO $$
DECLARE
    m text; d text; h text; t text; c text; context text;
BEGIN
    PERFORM evsched.post('2', queue => 'owned', key => 'k');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT,
        t = TABLE_NAME, c = CONSTRAINT_NAME, context = PG_EXCEPTION_CONTEXT;
    RAISE NOTICE '%', ARRAY[SQLSTATE, m, d, h, t, c, context];
END $$;
SELECT evsched.post('2', queue => 'owned', key => 'k', on_conflict => 'replace');
SELECT evsched.post('2', queue => 'owned', key => 'k', on_conflict => 'keep');
SELECT evsched.post('2', queue => 'owned', key => 'k', on_conflict => 'error');
SELECT evsched.post_at('2', 'infinity', 'owned', 'k', on_conflict => 'keep');
SELECT * FROM evsched.post_many('{1, 2}', '{1 h}', 'owned', '{other, k}');
RESET ROLE;
SET ROLE regress_evsched_bulk;
INSERT INTO evsched.event (queue, payload, key) VALUES ('owned', '1', 'k');
RESET ROLE;
SELECT id = :a AS same, key, payload, max_retries, owner FROM evsched.events;
-- its own, and that of a role it is a member of, it may replace; and a consumer may
SELECT pg_temp.as_role('member', $$evsched.post('"member"', '1 h', 'owned', 'k')$$) = :'a' AS same;
SELECT pg_temp.as_role('poster', $$evsched.post('"own"', '1 h', 'owned', 'p')$$) = pg_temp.as_role('poster', $$evsched.post('"again"', '1 h', 'owned', 'p', on_conflict => 'keep')$$) AS same;
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_poster', 'consume')$$);
SELECT pg_temp.as_role('poster', $$evsched.post('"consumer"', '1 h', 'owned', 'k')$$) = :'a' AS same;
SELECT pg_temp.as_role('poster', $$evsched.post('"twice"', '1 h', 'owned', 'k', on_conflict => 'error')$$);
SELECT key, payload, owner FROM evsched.events ORDER BY key;
SELECT pg_temp.as_role('owner', $$evsched.revoke_queue('owned', 'regress_evsched_poster', 'consume')$$);
DELETE FROM evsched.event;

--
-- events of others: by id as if they were not there; by key the same, or 42501
--
SELECT pg_temp.as_role('owner', $$evsched.post('"theirs"', '1 h', 'owned', 'future', 3)$$) AS a \gset
SELECT pg_temp.as_role('owner', $$evsched.post('"theirs due"', '-1 h', 'owned', 'due', 3)$$) AS b \gset
SELECT pg_temp.as_role('owner', $$evsched.post('"theirs held"', '-2 h', 'owned', 'held', 3)$$) AS c \gset
SELECT payload FROM evsched.receive('owned', 1, '1 h');
CREATE TEMP TABLE deed (n serial, expression text);
GRANT SELECT ON deed TO PUBLIC;
INSERT INTO deed (expression) SELECT format(e, id) FROM (VALUES
    ('evsched.peek(%s)'), ('evsched.cancel(%s)'), ('evsched.confirm(%s)'), ('evsched.confirm(ARRAY[%s]::bigint[])'),
    ('evsched.reject(%s)'), ('evsched.extend(%s, ''1 day'')'), ('evsched.change_delay(%s, ''1 day'')'),
    ('(SELECT count(*) FROM evsched.fetch(ARRAY[%s]::bigint[]))')) v (e), unnest(ARRAY[:a, :b, :c]) id;
SELECT regexp_replace(expression, '\d+', 'id') AS expression, array_agg(pg_temp.as_role('any', expression)) AS any,
       array_agg(pg_temp.as_role('poster', expression)) AS poster
FROM deed GROUP BY 1 ORDER BY min(n);
SELECT format(e, k) AS expression, pg_temp.as_role('any', format(e, k)) AS any, pg_temp.as_role('poster', format(e, k)) AS poster
FROM (VALUES (1, $$evsched.peek('%s', 'owned')$$), (2, $$evsched.cancel('%s', 'owned')$$),
    (3, $$evsched.change_delay('%s', '1 day', 'owned')$$), (4, $$evsched.confirm('%s', 'owned')$$)) v (n, e),
    unnest('{due, unknown}'::text[]) k ORDER BY n, k;
SELECT key, state, payload, num_retries, deadline < now() + '2 h' AS lease_as_it_was FROM evsched.events ORDER BY id;
-- whose own they are may look, cancel and change; not confirm, reject or extend
SELECT pg_temp.as_role('poster', $$evsched.post('"mine"', '-1 h', 'owned', 'mine', 3)$$) AS d \gset
SELECT expression, pg_temp.as_role('poster', format(expression, :d)) FROM (VALUES
    ('evsched.confirm(%s)'), ('evsched.confirm(ARRAY[%s]::bigint[])'), ('evsched.reject(%s)'), ('(evsched.peek(%s)).payload'),
    ('evsched.change_delay(%s, ''-1 h'')'), ('(evsched.peek(''mine'', ''owned'')).payload'),
    ('evsched.change_delay(''mine'', ''-1 h'', ''owned'')'), ('evsched.confirm(''mine'', ''owned'')'),
    ('evsched.cancel(%s)'), ('evsched.cancel(%s)')) v (expression);
-- a consumer may do all that, with whose ever events
SELECT pg_temp.as_role('consumer', format(expression, id)) FROM (VALUES
    (1, '(evsched.peek(%s)).payload', :b), (2, 'evsched.reject(%s, ''-1 s'')', :b), (3, 'evsched.extend(%s, ''1 day'')', :c),
    (4, '(SELECT count(*) FROM evsched.fetch(ARRAY[%s]::bigint[]))', :c), (5, 'evsched.change_delay(%s, ''1 day'')', :a),
    (6, 'evsched.cancel(%s)', :a), (7, 'evsched.confirm(%s)', :b), (8, 'evsched.confirm(ARRAY[%s]::bigint[])', :c)) v (n, expression, id)
ORDER BY n;
SELECT count(*) FROM evsched.event;

--
-- what each role sees
--
SELECT pg_temp.as_role('owner', $$evsched.post('"owner"', '1 h', 'owned', max_retries => 3) > 0$$);
SELECT pg_temp.as_role('poster', $$evsched.post('"poster"', '1 h', 'owned', max_retries => 3) > 0$$);
SELECT pg_temp.as_role('grouped', $$evsched.post('"grouped"', '1 h', 'owned', max_retries => 3) > 0$$);
SELECT pg_temp.as_role('group', $$evsched.post('"group held"', '-1 h', 'owned', max_retries => 3) > 0$$);
SELECT payload FROM evsched.receive('owned', 1, '1 h');
SELECT pg_temp.as_role('any', $$evsched.post('"open"', '1 h', 'open', max_retries => 3) > 0$$);
SELECT pg_temp.bury('owner', 'owned') > 0, pg_temp.bury('group', 'owned') > 0, pg_temp.bury('any', 'open') > 0;
SELECT evsched.join('super', 'owned') IS NOT NULL AS joined;
SELECT evsched.create_queue('supers');
SELECT evsched.post('"super"', '1 h', 'supers') > 0 AS posted;
SELECT r AS who,
       pg_temp.as_role(r, $$(SELECT string_agg(payload #>> '{}', ', ' ORDER BY id) FROM evsched.events)$$) AS events,
       pg_temp.as_role(r, $$(SELECT string_agg(payload #>> '{}', ', ' ORDER BY id) FROM evsched.upcoming('owned'))$$) AS upcoming,
       pg_temp.as_role(r, $$(SELECT string_agg(owner || ' ' || queue, ', ' ORDER BY id) FROM evsched.dead_event)$$) AS dead,
       pg_temp.as_role(r, $$(SELECT string_agg(node || ' ' || queue, ', ') FROM evsched.listeners)$$) AS listeners,
       pg_temp.as_role(r, $$(SELECT string_agg(queue || ' ' || unconfirmed, ', ' ORDER BY queue COLLATE "C") FROM evsched.queues WHERE queue IN ('owned', 'supers'))$$) AS queues,
       pg_temp.as_role(r, $$(SELECT count(*) FROM evsched._leases())$$) AS leases,
       pg_temp.as_role(r, $$(SELECT count(*) FROM evsched._listeners())$$) AS joined
FROM unnest('{owner, member, consumer, poster, group, grouped, any}'::text[]) r \gx
SELECT count(*) AS super_sees FROM evsched.events;
SELECT evsched.leave('owned');
-- a listener is seen by its own role, whatever the queue
SELECT pg_temp.as_role('owner', $$evsched.grant_queue('owned', 'regress_evsched_any', 'consume')$$);
SET ROLE regress_evsched_any;
SELECT evsched.join('mine', 'owned') IS NOT NULL AS joined;
RESET ROLE;
SELECT pg_temp.as_role('owner', $$evsched.revoke_queue('owned', 'regress_evsched_any', 'consume')$$);
SELECT * FROM pg_temp.as_roles($$(SELECT string_agg(node || ' ' || queue, ', ') FROM evsched.listeners)$$, 'any', 'poster', 'owner');
-- another role may not take a node's place
SET ROLE regress_evsched_consumer;
SELECT evsched.join('mine', 'owned');
RESET ROLE;
SELECT evsched.leave('owned');

--
-- redrive and discard: a superuser, the owner of the database, the owner of the queue
--
SELECT id AS a FROM evsched.dead_event WHERE queue = 'owned' AND owner = 'regress_evsched_group' \gset
SELECT id AS b FROM evsched.dead_event WHERE queue = 'open' \gset
SELECT * FROM pg_temp.as_roles($$evsched.redrive('owned')$$, 'any', 'poster', 'consumer', 'group');
SELECT pg_temp.as_role('any', $$evsched.redrive('open')$$, hints => true);
SELECT * FROM pg_temp.as_roles(format('evsched.redrive(ARRAY[%s, %s]::bigint[])', :a, :b), 'any', 'poster', 'consumer', 'group');
SELECT * FROM pg_temp.as_roles(format('evsched.discard(ARRAY[%s, %s])', :a, :b), 'any', 'poster', 'consumer', 'group');
SELECT count(*) AS untouched FROM evsched.dead_event;
BEGIN;
SELECT pg_temp.as_role('member', format('evsched.redrive(ARRAY[%s, %s]::bigint[])', :a, :b));
SELECT queue, owner FROM evsched.dead_event ORDER BY 1, 2;
SELECT owner FROM evsched.events WHERE id = :a;
SELECT pg_temp.as_role('owner', $$evsched.redrive('owned')$$);
ROLLBACK;
SELECT pg_temp.as_role('owner', format('evsched.discard(ARRAY[%s, %s])', :a, :b));
SELECT evsched.redrive(ARRAY[:b]::bigint[]);
SELECT evsched.discard(array_agg(id)) FROM evsched.dead_event;
DELETE FROM evsched.event;

--
-- control: a superuser and the owner of the database; of a queue, its owner, too
--
SELECT expression, pg_temp.as_role('any', expression, hints => true) AS any, pg_temp.as_role('owner', expression) AS owner
FROM (VALUES ('evsched.start()'), ('evsched.stop(''0'')'), ('evsched.force_stop()'),
    ('evsched.grant_usage(''regress_evsched_nobody'')'), ('evsched.pause_queue(''open'')'),
    ('evsched.resume_queue(''open'')'), ('evsched.pause_queue(''default'')')) v (expression);
SELECT * FROM pg_temp.as_roles($$evsched.pause_queue('owned')$$, 'any', 'poster', 'consumer', 'owner', 'member');
SELECT paused FROM evsched.queues WHERE queue = 'owned';
SELECT * FROM pg_temp.as_roles($$evsched.resume_queue('owned')$$, 'any', 'poster', 'consumer', 'member', 'owner');
SELECT paused FROM evsched.queues WHERE queue = 'owned';
SELECT evsched.pause_queue('open'), evsched.pause_queue('owned'), evsched.pause_queue('default');
SELECT evsched.resume_queue('open'), evsched.resume_queue('owned'), evsched.resume_queue('default'), evsched.resume_queue('unknown');
SELECT evsched.start();
SELECT evsched.force_stop(), evsched.stop('0'), evsched.stop();
SELECT evsched.start();
-- the owner of the database
SELECT current_user AS me \gset
ALTER DATABASE :"DBNAME" OWNER TO regress_evsched_control;
SELECT evsched.grant_usage('regress_evsched_control');
SELECT pg_temp.bury('any', 'open') AS a, pg_temp.bury('owner', 'owned') AS b, pg_temp.bury('owner', 'owned') AS c \gset
SELECT regexp_replace(expression, '\[\d+\]', '[id]') AS expression, pg_temp.as_role('control', expression, hints => true) FROM (VALUES
    ('evsched.force_stop()'), ('evsched.stop(''0'')'), ('evsched.start()'), ('evsched.grant_usage(''regress_evsched_nobody'')'),
    ('evsched.pause_queue(''open'')'), ('evsched.resume_queue(''open'')'),
    ('evsched.pause_queue(''owned'')'), ('evsched.resume_queue(''owned'')'),
    ('evsched.redrive(''open'')'), (format('evsched.redrive(ARRAY[%s]::bigint[])', :b)), (format('evsched.discard(ARRAY[%s])', :c)),
    -- but it does not give away what is another's, nor read it
    ('evsched.grant_queue(''owned'', ''regress_evsched_control'', ''consume'')'),
    ('(SELECT count(*) FROM evsched.take(''owned''))'),
    ('(SELECT count(*) FROM evsched.events WHERE queue = ''owned'')')) v (expression);
SELECT has_schema_privilege('regress_evsched_nobody', 'evsched', 'USAGE');
ALTER DATABASE :"DBNAME" OWNER TO :"me";
SELECT pg_temp.as_role('control', 'evsched.start()') AS no_longer;
DELETE FROM evsched.event;

--
-- in the caller's transaction
--
BEGIN;
SELECT pg_temp.as_role('any', $$evsched.create_queue('undone', 5)$$);
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'undone')$$);
SELECT pg_temp.as_role('any', $$evsched.grant_queue('undone', 'regress_evsched_owner', 'post')$$);
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'undone') > 0$$);
SAVEPOINT s;
SELECT pg_temp.as_role('any', $$evsched.revoke_queue('undone', 'regress_evsched_owner', 'post')$$);
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'undone')$$);
ROLLBACK TO s;
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'undone') > 0$$);
ROLLBACK;
SELECT pg_temp.as_role('owner', $$evsched.post('1', '1 h', 'undone') > 0$$);
SELECT pg_temp.as_role('any', $$evsched.grant_queue('undone', 'regress_evsched_owner', 'post')$$);
SELECT count(*) FROM evsched.queues WHERE queue = 'undone' AND owner IS NOT NULL;
BEGIN;
SELECT evsched.pause_queue('undone');
SELECT count(*) FROM evsched.take('undone');
ROLLBACK;
SELECT evsched.change_delay(id, '-1 h') FROM evsched.events;
SELECT payload FROM evsched.take('undone');
BEGIN;
SELECT pg_temp.as_role('owner', $$evsched.create_queue('owned', 7)$$);
SELECT evsched.post('1', '-1 h', 'owned') > 0 AS posted;
SELECT max_retries FROM evsched.receive('owned');
ROLLBACK;
SELECT max_retries FROM evsched.queues WHERE queue = 'owned';
-- a role that posts for the first time in what is rolled back
BEGIN;
SELECT pg_temp.as_role('control', $$evsched.create_queue('first')$$);
ROLLBACK;
SELECT pg_temp.as_role('control', $$evsched.create_queue('first')$$);
SELECT owner FROM evsched.queues WHERE queue = 'first';
BEGIN;
SELECT evsched.grant_usage('regress_evsched_nobody', true);
ROLLBACK;
SELECT has_column_privilege('regress_evsched_nobody', 'evsched.event', 'payload', 'INSERT');
-- nothing in a read-only transaction
BEGIN READ ONLY;
SELECT pg_temp.as_role('owner', e) FROM (VALUES ($$evsched.create_queue('owned')$$),
    ($$evsched.grant_queue('owned', 'regress_evsched_any', 'post')$$), ($$evsched.revoke_queue('owned', 'regress_evsched_any', 'post')$$),
    ($$evsched.pause_queue('owned')$$), ($$evsched.resume_queue('owned')$$), ($$evsched.redrive('owned')$$)) v (e);
SELECT pg_temp.as_role('owner', $$(SELECT count(*) FROM evsched.events)$$) AS looking_goes;
COMMIT;

--
-- wrong input: 22023 and a hint, 42704 for a role that is not there; nothing half done
--
SELECT call, pg_temp.as_role('owner', 'evsched.' || call, hints => true) FROM (VALUES
    ($$create_queue(NULL)$$), ($$create_queue('')$$), ($$create_queue(repeat('q', 64))$$), ($$create_queue(repeat(U&'\00fc', 32))$$),
    ($$create_queue('wrong', -2)$$), ($$create_queue('wrong', retry_delay => '-1 s')$$), ($$create_queue('wrong', 1, '1 mon -31 days')$$),
    ($$create_queue('wrong', 1, '40000 days -2000000000 hours')$$),
    ($$grant_queue(NULL, 'regress_evsched_any', 'post')$$), ($$grant_queue('', 'regress_evsched_any', 'post')$$),
    ($$grant_queue(repeat('q', 64), 'regress_evsched_any', 'post')$$),
    ($$grant_queue('owned', NULL, 'post')$$), ($$grant_queue('owned', 'regress_evsched_unknown', 'post')$$),
    ($$grant_queue('owned', '', 'post')$$), ($$grant_queue('owned', 'public', 'post')$$),
    ($$grant_queue('owned', repeat('r', 100)::name, 'post')$$),
    ($$grant_queue('owned', 'regress_evsched_any', NULL)$$), ($$grant_queue('owned', 'regress_evsched_any', '')$$),
    ($$grant_queue('owned', 'regress_evsched_any', 'POST')$$), ($$grant_queue('owned', 'regress_evsched_any', 'all')$$),
    ($$grant_queue('owned', 'regress_evsched_any', repeat('x', 1000))$$),
    ($$revoke_queue(NULL, 'regress_evsched_any', 'post')$$), ($$revoke_queue('owned', NULL, 'post')$$),
    ($$revoke_queue('owned', 'regress_evsched_unknown', 'post')$$), ($$revoke_queue('owned', 'regress_evsched_any', NULL)$$),
    ($$revoke_queue('owned', 'regress_evsched_any', 'none')$$),
    ($$pause_queue(NULL)$$), ($$pause_queue('')$$), ($$pause_queue(repeat('q', 64))$$),
    ($$resume_queue(NULL)$$), ($$resume_queue('')$$), ($$resume_queue(repeat('q', 64))$$)) v (call);
SELECT queue, owner, max_retries, retry_delay FROM evsched.queues WHERE queue IN ('owned', 'wrong', '');
SELECT pg_temp.as_role('any', $$evsched.post('1', queue => 'owned')$$);
SELECT pg_temp.as_role('owner', format('evsched.create_queue(%L)', repeat('q', 63))) AS longest;
\set VERBOSITY default
SELECT evsched.grant_usage(NULL);
SELECT evsched.grant_usage('regress_evsched_unknown');
SELECT evsched.grant_usage('public');
SELECT evsched.grant_usage('regress_evsched_any', NULL) AS null_is_false;
SELECT has_column_privilege('regress_evsched_any', 'evsched.event', 'payload', 'INSERT');
SELECT evsched.stop('-1 s');
SELECT evsched.stop(NULL);
SELECT evsched.start();
-- names of roles and queues are no SQL
CREATE ROLE "regress_evsched ""x"", public; --'";
SELECT evsched.grant_usage('regress_evsched "x", public; --''', true);
SELECT has_schema_privilege('regress_evsched "x", public; --''', 'evsched', 'USAGE') AS given,
       has_schema_privilege('regress_evsched_control', 'evsched', 'CREATE') AS public_given;
SET ROLE "regress_evsched ""x"", public; --'";
SELECT evsched.post('1', queue => 'owned');
SELECT evsched.create_queue('q''); --') AS made, evsched.post('1', '1 h', 'q''); --') > 0 AS posted;
RESET ROLE;
SELECT pg_temp.as_role('any', $$evsched.post('1', queue => 'q''); --')$$, hints => true);

--
-- an owner that is gone: its queue is nobody's but a superuser's
--
CREATE ROLE regress_evsched_gone;
SELECT evsched.grant_usage('regress_evsched_gone');
SELECT pg_temp.as_role('gone', $$evsched.create_queue('orphan')$$);
SELECT pg_temp.as_role('gone', $$evsched.grant_queue('orphan', 'regress_evsched_any', 'post')$$);
SELECT pg_temp.as_role('gone', $$evsched.post('"orphaned"', '-1 h', 'orphan', 'k') > 0$$);
DROP OWNED BY regress_evsched_gone;
DROP ROLE regress_evsched_gone;
CREATE ROLE regress_evsched_gone;
SELECT evsched.grant_usage('regress_evsched_gone');
SELECT expression, pg_temp.as_role('gone', expression) FROM (VALUES
    ($$evsched.create_queue('orphan')$$), ($$evsched.post('1', queue => 'orphan')$$), ($$(SELECT count(*) FROM evsched.take('orphan'))$$),
    ($$evsched.pause_queue('orphan')$$), ($$evsched.post('1', queue => 'orphan', key => 'k')$$),
    ($$(SELECT count(*) FROM evsched.events)$$), ($$evsched.cancel('k', 'orphan')$$),
    ($$(SELECT count(*) FROM evsched.queues WHERE queue = 'orphan')$$)) v (expression);
SELECT pg_temp.as_role('any', $$evsched.post('1', '1 h', 'orphan') > 0$$) AS grants_hold;
SELECT payload, state FROM evsched.events WHERE queue = 'orphan' ORDER BY id;
SELECT count(*) AS waits FROM evsched.take('orphan', 9);
-- a superuser makes it his own
SELECT evsched.create_queue('orphan');
SELECT owner = current_user AS mine FROM evsched.queues WHERE queue = 'orphan';
SELECT evsched.cancel('k', 'orphan');

DELETE FROM evsched.event;
DELETE FROM evsched.queue_grant;
DELETE FROM evsched.queue;
DROP OWNED BY regress_evsched_nobody, regress_evsched_any, regress_evsched_bulk, regress_evsched_owner, regress_evsched_member,
    regress_evsched_poster, regress_evsched_consumer, regress_evsched_group, regress_evsched_grouped, regress_evsched_control,
    regress_evsched_gone, "regress_evsched ""x"", public; --'";
DROP ROLE regress_evsched_nobody, regress_evsched_any, regress_evsched_bulk, regress_evsched_owner, regress_evsched_member,
    regress_evsched_poster, regress_evsched_consumer, regress_evsched_group, regress_evsched_grouped, regress_evsched_control,
    regress_evsched_gone, "regress_evsched ""x"", public; --'";

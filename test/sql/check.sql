-- check(): each item, as it should be and as it should not.

CREATE FUNCTION pg_temp.wrong() RETURNS TABLE (item text, detail text, fix text) LANGUAGE sql AS
    'SELECT item, detail, fix FROM evsched.check() WHERE NOT ok';
DELETE FROM evsched.event;
DELETE FROM evsched.dead;
-- a scheduler that has just been started for an extension made anew may be on its way
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (SELECT ok FROM evsched.check() WHERE item = 'scheduler');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT item, ok, fix FROM evsched.check();

-- for whom it is
CREATE ROLE regress_evsched_app;
SELECT evsched.grant_usage('regress_evsched_app');
SET ROLE regress_evsched_app;
SELECT * FROM evsched.check();
RESET ROLE;
GRANT pg_monitor TO regress_evsched_app;
SET ROLE regress_evsched_app;
SELECT count(*) FROM evsched.check();
RESET ROLE;

SELECT evsched.post('1', queue => 'check') AS id \gset
SELECT evsched.reject(:id);
SELECT item, regexp_replace(detail, ' at .*', ''), fix FROM pg_temp.wrong();
SELECT evsched.discard(ARRAY[:id]);

SELECT evsched.stop('0');
SELECT * FROM pg_temp.wrong();
SELECT evsched.start();

SELECT evsched.pause_queue('check');
SELECT * FROM evsched.check() WHERE item = 'paused queues';
SELECT evsched.resume_queue('check');

-- the poster of an event may not post any more
SELECT evsched.create_queue('check');
SELECT evsched.grant_queue('check', 'regress_evsched_app', 'post');
SET ROLE regress_evsched_app;
SELECT evsched.post('1', queue => 'check') > 0 AS posted;
RESET ROLE;
SELECT * FROM pg_temp.wrong();
SELECT evsched.revoke_queue('check', 'regress_evsched_app', 'post');
SELECT * FROM pg_temp.wrong();

-- it is gone
DROP OWNED BY regress_evsched_app;
DROP ROLE regress_evsched_app;
SELECT * FROM pg_temp.wrong();
DELETE FROM evsched.event;
SELECT * FROM pg_temp.wrong();

-- events came from elsewhere, of one who is here and of one who is not
INSERT INTO evsched.role (n, name, origin) VALUES (1, current_user, 'elsewhere'), (2, 'regress_evsched_nobody', 'elsewhere');
INSERT INTO evsched.event (owner, queue, payload) VALUES (1, 'restored', '1'), (2, 'restored', '2');
SELECT item, replace(detail, current_user, 'SELF') AS detail, fix FROM pg_temp.wrong();
SELECT count(*) FROM evsched.take('restored', 9);
SELECT evsched.start();
SELECT item, detail, fix FROM pg_temp.wrong();
SELECT payload FROM evsched.take('restored', 9);
DELETE FROM evsched.event;
DELETE FROM evsched.role WHERE n = 2;

ALTER TABLE evsched.event ENABLE TRIGGER note_insert;
SELECT * FROM pg_temp.wrong();
ALTER TABLE evsched.event ENABLE ALWAYS TRIGGER note_insert;
SELECT * FROM pg_temp.wrong();
DELETE FROM evsched.queue;

-- jobs: room for workers
SELECT detail ~ '^evsched.pools: 14 jobs at once; room for \d+ workers here: evsched.max_workers = 64, other databases have 0; max_worker_processes = 24, not in use or workers here: \d+$' AS detail
FROM evsched.check() WHERE item = 'workers';
SELECT item, detail FROM evsched.check() WHERE item IN ('pools', 'jobs', 'runs');

-- their owner could post them, and may not log in any more
CREATE ROLE regress_evsched_app LOGIN;
SELECT evsched.grant_usage('regress_evsched_app');
SELECT evsched.stop('0');
SET ROLE regress_evsched_app;
SELECT evsched.enqueue('SELECT 1') > 0 AS posted;
RESET ROLE;
SELECT * FROM pg_temp.wrong();
ALTER ROLE regress_evsched_app NOLOGIN;
SELECT * FROM pg_temp.wrong();
-- nor use evsched
ALTER ROLE regress_evsched_app LOGIN;
REVOKE USAGE ON SCHEMA evsched FROM regress_evsched_app;
SELECT * FROM pg_temp.wrong();
GRANT USAGE ON SCHEMA evsched TO regress_evsched_app;
SELECT * FROM pg_temp.wrong();

-- a job where no workers are, and a message where they are
UPDATE evsched.event SET queue = 'check';
SELECT item, detail, fix FROM pg_temp.wrong() WHERE item = 'pools';
INSERT INTO evsched.event (queue, payload) SELECT q, '1' FROM unnest('{check, other, passive, work}'::text[]) q;
SELECT item, detail, fix FROM pg_temp.wrong() WHERE item = 'pools';
DELETE FROM evsched.event WHERE command IS NOT NULL;
SELECT item, detail, fix FROM pg_temp.wrong() WHERE item = 'pools';
DELETE FROM evsched.event;
SELECT evsched.start();
SELECT * FROM pg_temp.wrong();
DROP OWNED BY regress_evsched_app;
DROP ROLE regress_evsched_app;

-- import_pg_cron: the jobs of a table like pg_cron's become series, each of its own role.
CREATE ROLE regress_evsched_cron_user LOGIN;
CREATE ROLE regress_evsched_cron_group;
CREATE ROLE regress_evsched_cron_stranger LOGIN;
SELECT evsched.grant_usage('regress_evsched_cron_user');
SELECT evsched.grant_usage('regress_evsched_cron_group');

\set VERBOSITY terse
SELECT * FROM evsched.import_pg_cron();

CREATE SCHEMA cron;
CREATE TABLE cron.job (
	jobid bigint PRIMARY KEY, schedule text NOT NULL, command text NOT NULL,
	nodename text NOT NULL DEFAULT 'localhost', nodeport int NOT NULL DEFAULT 5432,
	database text NOT NULL DEFAULT current_database(), username text NOT NULL DEFAULT current_user,
	active boolean NOT NULL DEFAULT true, jobname name
);
INSERT INTO cron.job (jobid, schedule, command, username, jobname) VALUES
	(1, '*/5 * * * *', 'SELECT 1', 'regress_evsched_cron_user', 'five'),
	(2, '30 seconds', 'SELECT 2', 'regress_evsched_cron_user', 'thirty'),
	(3, '0 0 $ * *', 'SELECT 3', 'regress_evsched_cron_user', NULL),
	(4, '@daily', 'SELECT 4', 'regress_evsched_cron_group', 'group'),
	(5, '@daily', 'SELECT 5', 'regress_evsched_cron_stranger', 'stranger'),
	(6, '@daily', 'SELECT 6', 'regress_evsched_nobody', 'gone'),
	(7, '0 0 */2 * 1', 'SELECT 7', 'regress_evsched_cron_user', 'both'),
	(8, '*/90 * * * *', 'SELECT 8', 'regress_evsched_cron_user', 'step'),
	(9, '@reboot', 'SELECT 9', 'regress_evsched_cron_user', 'boot'),
	(10, '1 1 * * *', 'SELECT 10', 'regress_evsched_cron_user', 'twice'),
	(11, '2 2 * * *', 'SELECT 11', 'regress_evsched_cron_user', 'twice');
INSERT INTO cron.job (jobid, schedule, command, database) VALUES (12, '@daily', 'SELECT 12', 'other');
INSERT INTO cron.job (jobid, schedule, command, nodename) VALUES (13, '@daily', 'SELECT 13', 'example.com');
INSERT INTO cron.job (jobid, schedule, command, username, active) VALUES
	(14, '@hourly', 'SELECT 14', 'regress_evsched_cron_user', false);

CREATE VIEW taken AS
SELECT s.key, s.schedule, s.period, s.time_zone, s.paused, s.missed, s.overlap, s.command, s.owner, s.queue
FROM evsched.series s ORDER BY s.command COLLATE "C";

-- To look at first: nothing changes in pg_cron.
BEGIN;
SELECT jobid, id IS NOT NULL AS taken, note FROM evsched.import_pg_cron(paused => true);
SELECT count(*) FROM cron.job WHERE active;
ROLLBACK;
SELECT * FROM taken;

-- Taken over, they end there; once more, nothing is done twice.
SELECT jobid, id IS NOT NULL AS taken, note FROM evsched.import_pg_cron() WHERE id IS NOT NULL;
SELECT * FROM taken;
SELECT jobid FROM cron.job WHERE active ORDER BY jobid;
SELECT jobid, id IS NOT NULL AS taken, note FROM evsched.import_pg_cron() WHERE id IS NOT NULL;
SELECT count(*) FROM taken;
SELECT current_user = session_user AS still_myself;

-- pg_cron's time zone.
SELECT count(evsched.cancel(id)) FROM evsched.series;
UPDATE cron.job SET active = true WHERE jobid = 1;
SET cron.timezone = 'Asia/Kathmandu';
SELECT count(*) FROM evsched.import_pg_cron() WHERE id IS NOT NULL;
SELECT key, time_zone, paused FROM taken WHERE key = 'five';

-- Not for everybody; and not from a table that anybody may have made.
SET ROLE regress_evsched_cron_user;
SELECT * FROM evsched.import_pg_cron();
RESET ROLE;
ALTER TABLE cron.job OWNER TO regress_evsched_cron_user;
SELECT * FROM evsched.import_pg_cron();

DROP VIEW taken;
DROP SCHEMA cron CASCADE;
SELECT count(evsched.cancel(id)) FROM evsched.series;
DROP OWNED BY regress_evsched_cron_user, regress_evsched_cron_group;
DROP ROLE regress_evsched_cron_user, regress_evsched_cron_group, regress_evsched_cron_stranger;

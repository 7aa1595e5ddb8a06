-- Counters: what a session has done is counted for its queue when it commits.
-- (What turns do is in test/t/020_stat.pl.)
\set counters 'SELECT posted, delivered, taken, received, confirmed, failed, dead, cancelled FROM evsched.stat_queue WHERE queue = ''stat'''

-- a queue is there once it is used
:counters;
SELECT evsched.post('1', queue => 'stat') > 0 AS posted;
:counters;

-- every way to post counts, each event once
BEGIN;
SELECT evsched.post_at('2', '-infinity', 'stat', key => 'k', max_retries => 1) > 0 AS with_key;
SELECT count(*) FROM evsched.post_many('{3, 4}', queue => 'stat');
SELECT count(*) FROM evsched.post_many('{5, 6}', queue => 'stat', keys => '{a, NULL}');
SELECT count(*) FROM evsched.post_many('{}', queue => 'stat');
INSERT INTO evsched.event (queue, payload) SELECT 'stat', '7' FROM generate_series(1, 10);
COPY evsched.event (queue, payload) FROM stdin;
stat	8
stat	9
\.
-- not before the commit
:counters;
COMMIT;
:counters;

-- replaced or kept: no new event
SELECT evsched.post('2', queue => 'stat', key => 'k', max_retries => 1) > 0 AS replaced;
SELECT evsched.post('2', queue => 'stat', key => 'k', on_conflict => 'keep') > 0 AS kept;
SELECT evsched.change_delay('k', '-1 s', 'stat');
UPDATE evsched.event SET payload = '8' WHERE queue = 'stat' AND payload = '9';
:counters;

-- rolled back, as a whole or in part: not counted
BEGIN;
SELECT evsched.post('10', queue => 'stat') > 0 AS posted;
SELECT evsched.cancel('a', 'stat');
SELECT count(*) FROM evsched.take('stat', 5);
ROLLBACK;
:counters;
BEGIN;
SAVEPOINT a;
SELECT evsched.post('10', queue => 'stat') > 0 AS rolled_back;
SELECT count(*) FROM evsched.take('stat', 2);
INSERT INTO evsched.event (queue, payload) VALUES ('stat', '11');
ROLLBACK TO a;
SELECT evsched.post('12', queue => 'stat') > 0 AS posted;
SAVEPOINT b;
SELECT evsched.post('13', queue => 'stat') > 0 AS posted;
SAVEPOINT c;
SELECT evsched.post('14', queue => 'stat') > 0 AS rolled_back;
ROLLBACK TO c;
RELEASE b;
COMMIT;
:counters;
DO $$
BEGIN
    PERFORM evsched.post('15', queue => 'stat');
    BEGIN
        PERFORM evsched.post('16', queue => 'stat');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        PERFORM evsched.post('17', queue => 'stat');
    END;
END $$;
:counters;

-- take, receive, confirm, cancel and plain DELETE
SELECT count(*) FROM evsched.take('stat', 3);
SELECT count(*) FROM evsched.take('stat', 0);
SELECT count(*) FROM evsched.receive('stat', 4);
SELECT evsched.post('18', '-1 min', 'stat', max_retries => 1) AS id \gset
SELECT count(*) FROM evsched.receive('stat', 1);
SELECT evsched.confirm(:id), evsched.confirm(:id) AS again;
SELECT evsched.confirm(ARRAY[:id, NULL, -1]);
SELECT evsched.cancel('a', 'stat') AS gone, evsched.cancel(:id) AS again;
SELECT evsched.post('19', '1 h', 'stat') AS id \gset
SELECT evsched.confirm(:id), evsched.cancel(:id);
DELETE FROM evsched.event WHERE queue = 'stat' AND payload = '17';
:counters;

-- failed and dead; who comes back is posted again
SELECT evsched.post('20', queue => 'stat', max_retries => 1) AS id \gset
SELECT evsched.reject(:id) AS retry;
SELECT evsched.reject(:id) AS dead, evsched.reject(:id) AS again;
:counters;
SELECT evsched.redrive('stat');
SELECT evsched.cancel(:id);
:counters;

-- a prepared transaction is counted when it is prepared
BEGIN;
SELECT evsched.post('21', queue => 'stat') > 0 AS posted;
PREPARE TRANSACTION 'evsched_stat';
:counters;
COMMIT PREPARED 'evsched_stat';
:counters;

-- so far nothing was handed to a listener
SELECT listeners, unconfirmed, lateness_p50, lateness_p99, lateness_max, lateness_counts, lateness_bounds,
       stats_since <= now() AS since
FROM evsched.stat_queue WHERE queue = 'stat';
SELECT cardinality(lateness_counts) - cardinality(lateness_bounds) AS beyond FROM evsched.stat_queue WHERE queue = 'stat';

-- of the scheduler there is one row, from when it first runs
DO $$
BEGIN
    WHILE NOT EXISTS (SELECT FROM evsched.stat_scheduler WHERE pid > 0) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT pid > 0 AS pid, started_at >= stats_since AS started, starts > 0 AS starts, busy_turns <= turns AS turns,
       wakeups >= 0 AS wakeups, clock_steps, last_clock_step_at, stats_since <= now() AS since
FROM evsched.stat_scheduler;

-- the text for Prometheus: names are escaped
SELECT evsched.post('1', queue => E'st"a\\t\nus') > 0 AS posted;
SELECT line FROM regexp_split_to_table(evsched.metrics(), '\n') line
WHERE line ~ 'posted_total' AND line ~ '#|st.{1,2}a.{3,}us' ORDER BY line COLLATE "C";
SELECT line FROM regexp_split_to_table(evsched.metrics(), '\n') line
WHERE line ~ 'lateness' AND line ~ '#|"stat"';
SELECT DISTINCT regexp_replace(line, '[{ ].*', '') AS name FROM regexp_split_to_table(evsched.metrics(), '\n') line
WHERE line !~ '^(#|$)' ORDER BY 1;

SELECT line FROM regexp_split_to_table(evsched.metrics(), '\n') line
WHERE line ~ 'evsched_(runs|workers)' AND line ~ '#|"stat"';

-- a run is counted for its pool, and of the worker; how it ends, and how late it began
SELECT coalesce(max(succeeded), 0) AS succeeded, coalesce(max(failed), 0) AS failed
FROM evsched.stat_queue WHERE queue = 'active' \gset
SELECT evsched.enqueue('SELECT 1', 'active') > 0 AS posted FROM generate_series(1, 2);
SELECT evsched.enqueue('SELECT 1/0', 'active') > 0 AS posted;
DO $$
BEGIN
    WHILE EXISTS (SELECT FROM evsched.event WHERE queue = 'active')
          OR EXISTS (SELECT FROM evsched.stat_worker WHERE role = current_user AND state <> 'idle') LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT succeeded - :succeeded AS succeeded, failed - :failed AS failed, lost FROM evsched.stat_queue WHERE queue = 'active';
SELECT bool_and(runs = (SELECT sum(n) FROM unnest(lateness_counts) n)) AS all_late,
       bool_and(lateness_p50 <= lateness_p99 AND lateness_p99 <= lateness_max) AS quantiles,
       bool_and(lateness_bounds = (SELECT lateness_bounds FROM evsched.stat_scheduler)) AS bounds,
       bool_and(pid > 0 AND started_at < now()) AND bool_or(busy_ms > 0) AS alive, bool_or(failed > 0) AS failed
FROM evsched.stat_worker WHERE role = current_user;

DELETE FROM evsched.event WHERE queue ~ '^st';

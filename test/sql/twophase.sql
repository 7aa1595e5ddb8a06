-- PREPARE TRANSACTION: what is done in it happens when it is committed, whoever does that,
-- and never happened when it is rolled back.

-- not a temporary one: a prepared transaction must not have touched anything temporary
CREATE VIEW twophase_live AS
    SELECT id, payload, state, num_retries AS failed FROM evsched.events WHERE queue = 'twophase' ORDER BY id;

-- post: the queue was seen to be empty before
SELECT count(*) FROM evsched.post('1', NULL, 'twophase');
SELECT count(*) FROM evsched.take('twophase', 10);
BEGIN;
SELECT evsched.post_at('"committed"', '2001-01-01', 'twophase') > 0 AS posted;
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
COMMIT PREPARED 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
BEGIN;
SELECT evsched.post_at('"rolled back"', '2001-01-01', 'twophase') > 0 AS posted;
PREPARE TRANSACTION 'evsched_a';
ROLLBACK PREPARED 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
BEGIN;
INSERT INTO evsched.event (queue, due_at, payload) VALUES ('twophase', '2001-01-01', '"inserted"');
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
\c
COMMIT PREPARED 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);

-- take, passed over meanwhile
SELECT count(*) FROM evsched.post_many('{1,2}', '{-2 h,-1 h}', 'twophase', max_retries => 3);
BEGIN;
SELECT payload FROM evsched.take('twophase');
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
SELECT payload FROM evsched.take('twophase', 10);
ROLLBACK PREPARED 'evsched_a';
SELECT payload, num_retries FROM evsched.take('twophase', 10);
SELECT count(*) FROM evsched.post_many('{3,4}', '{-2 h,-1 h}', 'twophase', max_retries => 3);
BEGIN;
SELECT payload FROM evsched.take('twophase');
PREPARE TRANSACTION 'evsched_a';
COMMIT PREPARED 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);

-- cancel
SELECT evsched.post('"cancelled"', '-1 h', 'twophase') AS a \gset
BEGIN;
SELECT evsched.cancel(:a);
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);
ROLLBACK PREPARED 'evsched_a';
BEGIN;
SELECT evsched.cancel(:a);
PREPARE TRANSACTION 'evsched_a';
COMMIT PREPARED 'evsched_a';
SELECT payload FROM evsched.take('twophase', 10);

-- confirm and reject of an event that is delivered
SELECT evsched.post('"confirmed"', '-2 h', 'twophase', NULL, 3) AS a \gset
SELECT evsched.post('"rejected"', '-1 h', 'twophase', NULL, 3) AS b \gset
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
BEGIN;
SELECT evsched.confirm(:a), evsched.reject(:b, '-1 s');
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
ROLLBACK PREPARED 'evsched_a';
SELECT payload, state, failed FROM twophase_live;
BEGIN;
SELECT evsched.confirm(:a), evsched.reject(:b, '-1 s');
PREPARE TRANSACTION 'evsched_a';
COMMIT PREPARED 'evsched_a';
SELECT payload, state, failed FROM twophase_live;
SELECT payload, num_retries FROM evsched.receive('twophase', 10, '1 h');
-- its lease ends, it is scheduled anew
BEGIN;
SELECT evsched.change_delay(:b, '-1 s');
PREPARE TRANSACTION 'evsched_a';
COMMIT PREPARED 'evsched_a';
SELECT payload, state, failed FROM twophase_live;
SELECT payload, num_retries FROM evsched.take('twophase', 10);
SELECT evsched.cancel(:b) AS left;

-- receive: leased when committed, given back at once when rolled back
SELECT evsched.post('"received"', '-1 h', 'twophase', NULL, 3) AS a \gset
BEGIN;
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
ROLLBACK PREPARED 'evsched_a';
SELECT payload, state, failed FROM twophase_live;
SELECT evsched.change_delay(:a, '-1 h');
BEGIN;
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
PREPARE TRANSACTION 'evsched_a';
COMMIT PREPARED 'evsched_a';
SELECT payload FROM evsched.receive('twophase', 10, '1 h');
SELECT payload, state, failed FROM twophase_live;
SELECT evsched.confirm(:a);

-- finished by another session
SELECT evsched.post('"received"', '-2 h', 'twophase', NULL, 3) AS a \gset
SELECT evsched.post('"confirmed"', '-1 h', 'twophase', NULL, 3) AS b \gset
BEGIN;
SELECT payload FROM evsched.receive('twophase', 1, '1 h');
PREPARE TRANSACTION 'evsched_a';
SELECT payload FROM evsched.receive('twophase', 1, '1 h');
BEGIN;
SELECT evsched.confirm(:b);
PREPARE TRANSACTION 'evsched_b';
\c
SELECT payload, state FROM twophase_live WHERE id = :b;
ROLLBACK PREPARED 'evsched_a';
ROLLBACK PREPARED 'evsched_b';
SELECT payload, state, failed FROM twophase_live;
SELECT payload, num_retries FROM evsched.receive('twophase', 10, '1 h');
BEGIN;
SELECT evsched.change_delay(:a, '-1 s');
SAVEPOINT s;
SELECT evsched.cancel(:b);
ROLLBACK TO s;
PREPARE TRANSACTION 'evsched_a';
\c
COMMIT PREPARED 'evsched_a';
SELECT payload, state, failed FROM twophase_live;
SELECT payload FROM evsched.take('twophase', 10);
SELECT evsched.confirm(:a), evsched.confirm(:b);

-- join listens, and that cannot be prepared
\set VERBOSITY sqlstate
BEGIN;
SELECT evsched.join('me', 'twophase2') IS NOT NULL AS joined;
PREPARE TRANSACTION 'evsched_a';
\set VERBOSITY default
SELECT count(*) FROM evsched.listeners WHERE queue = 'twophase2';
SELECT count(*) FROM pg_prepared_xacts;
DROP VIEW twophase_live;

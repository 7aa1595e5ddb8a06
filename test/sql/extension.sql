-- The extension is dropped and made again: nothing of the older one is left in shared
-- memory, though ids begin anew.

SELECT evsched.post('"older"', NULL, 'extension', NULL, 3) AS older \gset
SELECT payload FROM evsched.receive('extension', 1, '1 h');
SELECT evsched.join('me', 'extension2') IS NOT NULL AS joined;
SELECT count(*) FROM evsched.post_many('{1,2,3}', '{-1 h}', 'extension3');
SELECT count(*) FROM evsched.take('extension3', 10);

BEGIN;
DROP EXTENSION evsched;
ROLLBACK;
SELECT payload, state FROM evsched.events WHERE queue ~ '^extension';
SELECT count(*) FROM evsched.listeners WHERE queue = 'extension2';

DROP EXTENSION evsched;
CREATE EXTENSION evsched;
SELECT count(*) FROM evsched.events;
SELECT count(*) FROM evsched.listeners WHERE queue = 'extension2';
SELECT evsched.leave('extension2');
SELECT evsched.confirm(:older), evsched.extend(:older, '1 h');

-- events get ids that were leased, and stand before where take had stopped
INSERT INTO evsched.event (id, queue, payload, max_retries) VALUES (:older, 'extension', '"same id"', 3);
SELECT payload, state FROM evsched.events;
SELECT payload FROM evsched.receive('extension', 1, '1 h');
SELECT evsched.confirm(:older);
SELECT evsched.post_at('"older"', '2001-01-01', 'extension3') > 0 AS posted;
SELECT payload FROM evsched.take('extension3', 10);

-- made and used in one transaction; dropped in one that posts
BEGIN;
DROP EXTENSION evsched;
CREATE EXTENSION evsched;
SELECT evsched.post('"at once"', NULL, 'extension') > 0 AS posted;
SELECT payload FROM evsched.take('extension');
SELECT evsched.post('"kept"', NULL, 'extension') > 0 AS posted;
COMMIT;
SELECT payload FROM evsched.take('extension', 5);
BEGIN;
SELECT evsched.post('"dropped"', NULL, 'extension') > 0 AS posted;
DROP EXTENSION evsched;
COMMIT;
CREATE EXTENSION evsched;
SELECT count(*) FROM evsched.take('extension', 5);
BEGIN;
SELECT evsched.post('"undropped"', NULL, 'extension') > 0 AS posted;
SAVEPOINT s;
DROP EXTENSION evsched;
CREATE EXTENSION evsched;
SELECT evsched.post('"undone"', NULL, 'extension') > 0 AS posted;
ROLLBACK TO s;
COMMIT;
SELECT payload FROM evsched.take('extension', 5);

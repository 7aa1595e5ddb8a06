-- Listeners: join, leave, set_max_events. What they are sent is seen elsewhere: a
-- notification has a process id and a random channel in it, so nothing becomes due here.

-- What a command comes to: ok, or its SQLSTATE and hint.
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;

-- This session's listeners.
CREATE TEMP VIEW mine AS
    SELECT replace(node, pg_backend_pid()::text, '<pid>') AS node, queue, max_events, unconfirmed,
           joined_at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp() AS just_now, last_confirmed_at
    FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue, node;

--
-- join, with defaults: one channel with a name nobody guesses
--
SELECT evsched.join() AS channel \gset
SELECT :'channel' ~ '^[a-z_][a-z0-9_]{23,62}$' AS plain_and_long;
SELECT channel = :'channel' AS told_true FROM pg_listening_channels() channel;
SELECT * FROM mine;
-- the same one for whatever this session joins
SELECT evsched.join('me', 'join', 3, '1 min', '10 ms') = :'channel' AS same;
SELECT evsched.join(linger => '0', conf_timeout => '1 s', max_events => 0, queue => 'join2', node => 'me') = :'channel' AS same;
SELECT evsched.join(NULL, 'join3', NULL, NULL, NULL) = :'channel' AS same;
SELECT count(*) FROM pg_listening_channels();
SELECT * FROM mine;
-- one of its own for each session
\c
CREATE TEMP VIEW mine AS
    SELECT replace(node, pg_backend_pid()::text, '<pid>') AS node, queue, max_events, unconfirmed,
           joined_at BETWEEN clock_timestamp() - interval '1 min' AND clock_timestamp() AS just_now, last_confirmed_at
    FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue, node;
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;
SELECT * FROM mine;
SELECT evsched.join('me', 'join') <> :'channel' AS another;
SELECT * FROM mine;

-- same node and queue again: in place of the older one
SELECT evsched.join('me', 'join', 5) AS channel \gset
SELECT * FROM mine;
SELECT count(*) FROM pg_listening_channels();

--
-- effective at commit, and not at all when rolled back
--
SELECT evsched.leave('join');
BEGIN;
SELECT evsched.join('me', 'join') = :'channel' AS same;
SELECT count(*) FROM mine;
ROLLBACK;
SELECT count(*) FROM mine;
BEGIN;
SAVEPOINT s;
SELECT evsched.join('me', 'join') = :'channel' AS same;
ROLLBACK TO s;
SELECT evsched.join('me', 'join2') = :'channel' AS same;
SELECT count(*) FROM mine;
COMMIT;
SELECT node, queue FROM mine;
\c
SELECT evsched.leave('join2') AS of_another_session;
BEGIN;
SELECT evsched.join('me', 'join') IS NOT NULL AS joined;
SELECT count(*) FROM pg_listening_channels();
ROLLBACK;
SELECT count(*) FROM pg_listening_channels();
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
-- a replacement that is rolled back leaves the older one
SELECT evsched.join('me', 'join', 4) IS NOT NULL AS joined;
BEGIN;
SELECT evsched.join('me', 'join', 7) IS NOT NULL AS joined;
ROLLBACK;
SELECT node, queue, max_events FROM evsched.listeners WHERE pid = pg_backend_pid();

--
-- leave
--
SELECT evsched.leave('unknown'), evsched.leave();
SELECT evsched.leave('join');
SELECT evsched.leave('join') AS again;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT evsched.join('me') IS NOT NULL AS joined, evsched.join('me', 'join') IS NOT NULL AS joined;
BEGIN;
SELECT evsched.leave();
ROLLBACK;
SELECT queue FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue;
BEGIN;
SAVEPOINT s;
SELECT evsched.leave();
ROLLBACK TO s;
COMMIT;
SELECT queue FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue;
SELECT evsched.leave(NULL, NULL) AS default_queue;
SELECT queue FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue;
SELECT evsched.leave(release => true, queue => 'join');
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
-- joined and left at once, and the other way about
BEGIN;
SELECT evsched.join('me', 'join') IS NOT NULL AS joined;
SELECT evsched.leave('join') IS NOT NULL AS told;
COMMIT;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT evsched.join('me', 'join', 2) IS NOT NULL AS joined;
BEGIN;
SELECT evsched.leave('join');
SELECT evsched.join('me', 'join', 6) IS NOT NULL AS joined;
COMMIT;
SELECT node, queue, max_events FROM evsched.listeners WHERE pid = pg_backend_pid();

--
-- out of the ring at once: UNLISTEN *, DISCARD ALL
--
BEGIN;
UNLISTEN *;
ROLLBACK;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
UNLISTEN *;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT evsched.leave('join');
SELECT evsched.join('me', 'join') IS NOT NULL AS joined;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT count(*) FROM pg_listening_channels();
DISCARD ALL;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT count(*) FROM pg_listening_channels();
SELECT evsched.join('me', 'join') AS channel \gset
UNLISTEN :"channel";
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
LISTEN another;
SELECT evsched.join('me', 'join') IS NOT NULL AS joined;
UNLISTEN another;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
\c

--
-- set_max_events
--
CREATE FUNCTION pg_temp.outcome(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || CASE hint WHEN '' THEN '' ELSE ': ' || hint END;
END $$;
CREATE TEMP VIEW mine AS
    SELECT node, queue, max_events FROM evsched.listeners WHERE pid = pg_backend_pid() ORDER BY queue, node;
SELECT evsched.join('me', 'join', 5) IS NOT NULL AS joined, evsched.join('me') IS NOT NULL AS joined;
SELECT evsched.set_max_events(20, 'join');
SELECT * FROM mine;
SELECT evsched.set_max_events(0, 'join');
SELECT * FROM mine;
SELECT evsched.set_max_events(queue => 'join', n => 1);
SELECT evsched.set_max_events(-1, 'join');
SELECT * FROM mine;
SELECT evsched.set_max_events(3);
SELECT evsched.set_max_events(4, NULL) AS default_queue;
SELECT * FROM mine;

--
-- views of this session
--
SELECT evsched.leave(), evsched.leave('join');
SELECT evsched.join('one', 'ring') IS NOT NULL AS joined, evsched.join('two', 'ring2') IS NOT NULL AS joined;
SELECT evsched.post('"future"', '1 h', 'ring', max_retries => 2) AS a \gset
SELECT queue, listeners, unconfirmed FROM evsched.queues WHERE queue ~ '^ring' ORDER BY queue;
SELECT node, queue, max_events, unconfirmed, last_confirmed_at FROM evsched.listeners
WHERE pid = pg_backend_pid() ORDER BY queue;
SELECT evsched.leave('ring'), evsched.leave('ring2');
SELECT count(*) FROM evsched.queues WHERE queue ~ '^ring' AND listeners > 0;
SELECT evsched.cancel(:a);

--
-- wrong input: 22023, a hint, and nobody joined
--
CREATE TEMP TABLE wrong (n serial, call text);
INSERT INTO wrong (call) VALUES
    ($$join('')$$),
    ($$join(repeat('n', 256))$$),
    ($$join(repeat(U&'\00fc', 128))$$),
    ($$join(queue => '')$$),
    ($$join(queue => repeat('q', 64))$$),
    ($$join(max_events => -1)$$),
    ($$join(conf_timeout => '0')$$),
    ($$join(conf_timeout => '-1 s')$$),
    ($$leave('')$$),
    ($$leave(repeat('q', 64))$$),
    ($$set_max_events(NULL)$$),
    ($$set_max_events(1, '')$$),
    ($$set_max_events(1, repeat('q', 64))$$);
SELECT call, pg_temp.outcome('SELECT evsched.' || call) FROM wrong ORDER BY n;
SELECT count(*) FROM evsched.listeners WHERE pid = pg_backend_pid();
SELECT count(*) FROM pg_listening_channels();
-- the longest names
SELECT evsched.join(repeat('n', 255), repeat('q', 63)) IS NOT NULL AS joined;
SELECT octet_length(node), octet_length(queue) FROM mine;
SELECT evsched.leave(repeat('q', 63));

-- Nothing depends on the caller's search_path, nor on operators and functions in it that
-- look like those of the server.

CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION regress_evil.yes(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION regress_evil.no(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evil.yes);
CREATE OPERATOR regress_evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_evil.yes);
CREATE OPERATOR regress_evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = regress_evil.no);
CREATE FUNCTION regress_evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT '2000-01-01'::timestamptz$$;
CREATE FUNCTION regress_evil.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1000';
CREATE TABLE regress_evil.event (id bigint, queue text);

SET search_path = regress_evil, pg_catalog;
SELECT evsched.post('"a"', '-1 h', 'search_path', 'a', 3) AS a \gset
SELECT evsched.post('"b"', '1 h', 'search_path', 'b', 3) AS b \gset
SELECT evsched.post('"b anew"', '1 h', 'search_path', 'b', 3) OPERATOR(pg_catalog.=) :b AS same;
INSERT INTO evsched.event (queue, payload) VALUES ('search_path', '"c"');
SELECT evsched.cancel('unknown', 'search_path'), evsched.cancel('a', 'unknown'), evsched.confirm('unknown', 'search_path');
SELECT payload, state FROM evsched.events WHERE queue OPERATOR(pg_catalog.=) 'search_path' ORDER BY id;
SELECT payload FROM evsched.upcoming('search_path');
SELECT payload FROM evsched.receive('search_path', 1, '1 h');
SELECT evsched.reject(:a), evsched.reject(:a), evsched.change_delay('b', '0', 'search_path');
SELECT payload, state FROM evsched.events WHERE queue OPERATOR(pg_catalog.=) 'search_path' ORDER BY id;
SELECT evsched.reject(:a), evsched.reject(:a);
SELECT payload FROM evsched.dead_event;
SELECT evsched.redrive('unknown'), evsched.redrive(ARRAY[0::bigint]), evsched.redrive('search_path');
SELECT payload FROM evsched.take('search_path', 10) ORDER BY payload;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA regress_evil CASCADE;

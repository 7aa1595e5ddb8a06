-- Consuming events without joining.

CREATE FUNCTION evsched.take(queue text DEFAULT 'default', max_events int DEFAULT 1)
    RETURNS SETOF evsched.delivery
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_take';
COMMENT ON FUNCTION evsched.take(text, int)
    IS 'removes due events in the caller''s transaction and returns them: exactly once';

CREATE FUNCTION evsched.receive(queue text DEFAULT 'default', max_events int DEFAULT 1,
        conf_timeout interval DEFAULT '10 s') RETURNS SETOF evsched.delivery
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_receive';
COMMENT ON FUNCTION evsched.receive(text, int, interval)
    IS 'returns due events, each leased until it is confirmed or conf_timeout is over';

CREATE FUNCTION evsched.fetch(ids bigint[]) RETURNS SETOF evsched.delivery
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_fetch';
COMMENT ON FUNCTION evsched.fetch(bigint[])
    IS 'the full events behind notifications that said "fetch"';


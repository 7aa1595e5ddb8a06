-- Looking at events that wait, and changing when they are due.

CREATE FUNCTION evsched.cancel(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_cancel';
COMMENT ON FUNCTION evsched.cancel(bigint) IS 'removes an event; it will not be delivered (again)';

CREATE FUNCTION evsched.cancel(key text, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_cancel_key';
COMMENT ON FUNCTION evsched.cancel(text, text) IS 'removes the event that holds the key';

CREATE FUNCTION evsched.peek(id bigint, OUT remaining interval, OUT payload jsonb)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_peek';
COMMENT ON FUNCTION evsched.peek(bigint)
    IS 'time until an undelivered event is due (0 when overdue, NULL when infinite), and its payload';

CREATE FUNCTION evsched.peek(key text, queue text, OUT remaining interval, OUT payload jsonb)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_peek_key';
COMMENT ON FUNCTION evsched.peek(text, text)
    IS 'time until the event that holds the key is due, and its payload';

CREATE FUNCTION evsched.change_delay(id bigint, delay interval) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_change_delay';
COMMENT ON FUNCTION evsched.change_delay(bigint, interval)
    IS 'the event is due after delay from now, as if posted anew';

CREATE FUNCTION evsched.change_delay(key text, delay interval, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_change_delay_key';
COMMENT ON FUNCTION evsched.change_delay(text, interval, text)
    IS 'the event that holds the key is due after delay from now, as if posted anew';

CREATE FUNCTION evsched.upcoming(queue text DEFAULT 'default',
        start_offset interval DEFAULT NULL, duration interval DEFAULT NULL,
        max_rows int DEFAULT NULL,
        OUT id bigint, OUT key text, OUT due_at timestamptz, OUT payload jsonb)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_upcoming';
COMMENT ON FUNCTION evsched.upcoming(text, interval, interval, int)
    IS 'messages of a queue that wait for their first or next delivery, in the order of due times';


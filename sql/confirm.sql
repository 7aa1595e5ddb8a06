-- What becomes of a delivered event.

CREATE FUNCTION evsched.confirm(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_confirm';
COMMENT ON FUNCTION evsched.confirm(bigint)
    IS 'the event is done and gone; false when it was never due or is gone already';

CREATE FUNCTION evsched.confirm(ids bigint[]) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_confirm_many';
COMMENT ON FUNCTION evsched.confirm(bigint[]) IS 'confirms events; returns how many there were';

CREATE FUNCTION evsched.confirm(key text, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_confirm_key';
COMMENT ON FUNCTION evsched.confirm(text, text) IS 'confirms the event that holds the key';

CREATE FUNCTION evsched.reject(id bigint, delay interval DEFAULT NULL,
        error text DEFAULT NULL) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_reject';
COMMENT ON FUNCTION evsched.reject(bigint, interval, text)
    IS 'counts a failed delivery; the event is due again after delay (NULL: its retry_delay) or dead';

CREATE FUNCTION evsched.extend(id bigint, by interval) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_extend';
COMMENT ON FUNCTION evsched.extend(bigint, interval)
    IS 'the lease ends by from now, if that is later; at once, and not rolled back';


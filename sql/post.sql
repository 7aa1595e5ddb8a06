-- Posting events.

CREATE FUNCTION evsched.post(payload jsonb, delay interval DEFAULT NULL,
        queue text DEFAULT 'default', key text DEFAULT NULL,
        max_retries int DEFAULT NULL, on_conflict text DEFAULT 'replace',
        retry_delay interval DEFAULT NULL, every interval DEFAULT NULL,
        cron text DEFAULT NULL, time_zone text DEFAULT NULL,
        deliver text DEFAULT 'one', missed text DEFAULT 'once') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_post';
COMMENT ON FUNCTION evsched.post(jsonb, interval, text, text, int, text, interval, interval, text, text, text, text)
    IS 'posts an event that is due after delay (NULL: at once), or a series of them; returns its id';

CREATE FUNCTION evsched.post_at(payload jsonb, due_at timestamptz,
        queue text DEFAULT 'default', key text DEFAULT NULL,
        max_retries int DEFAULT NULL, on_conflict text DEFAULT 'replace',
        retry_delay interval DEFAULT NULL, every interval DEFAULT NULL,
        cron text DEFAULT NULL, time_zone text DEFAULT NULL,
        deliver text DEFAULT 'one', missed text DEFAULT 'once') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_post_at';
COMMENT ON FUNCTION evsched.post_at(jsonb, timestamptz, text, text, int, text, interval, interval, text, text, text, text)
    IS 'posts an event that is due at due_at, or a series from then on; returns its id';

CREATE FUNCTION evsched.post_many(payloads jsonb[], delays interval[] DEFAULT '{0}',
        queue text DEFAULT 'default', keys text[] DEFAULT NULL,
        max_retries int DEFAULT NULL, on_conflict text DEFAULT 'replace',
        retry_delay interval DEFAULT NULL) RETURNS SETOF bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000
    AS 'MODULE_PATHNAME', 'evsched_sql_post_many';
COMMENT ON FUNCTION evsched.post_many(jsonb[], interval[], text, text[], int, text, interval)
    IS 'posts one event for each payload; returns their ids in the order of the array';


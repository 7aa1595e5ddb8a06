-- Series of jobs, and holding events back.

CREATE FUNCTION evsched.every(period interval, command text, payload jsonb DEFAULT NULL,
        pool text DEFAULT 'passive', key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL, start_at timestamptz DEFAULT NULL,
        time_zone text DEFAULT NULL, missed text DEFAULT 'once',
        overlap text DEFAULT 'skip') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_every';
COMMENT ON FUNCTION evsched.every(interval, text, jsonb, text, text, int, text, interval, interval, timestamptz, text, text, text)
    IS 'runs a command in the background every period, from start_at on; returns the series'' id';

CREATE FUNCTION evsched.cron(schedule text, command text, payload jsonb DEFAULT NULL,
        pool text DEFAULT 'passive', key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL, time_zone text DEFAULT NULL,
        missed text DEFAULT 'once', overlap text DEFAULT 'skip') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_cron';
COMMENT ON FUNCTION evsched.cron(text, text, jsonb, text, text, int, text, interval, interval, text, text, text)
    IS 'runs a command in the background whenever a cron schedule says so; returns the series'' id';

CREATE FUNCTION evsched.pause(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_pause';
COMMENT ON FUNCTION evsched.pause(bigint) IS 'the event, or series, is not handed out, and keeps its time';

CREATE FUNCTION evsched.pause(key text, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_pause_key';
COMMENT ON FUNCTION evsched.pause(text, text) IS 'the event, or series, that holds the key is not handed out';

CREATE FUNCTION evsched.resume(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_resume';
COMMENT ON FUNCTION evsched.resume(bigint) IS 'the event, or series, goes on after pause';

CREATE FUNCTION evsched.resume(key text, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_resume_key';
COMMENT ON FUNCTION evsched.resume(text, text) IS 'the event, or series, that holds the key goes on after pause';

CREATE FUNCTION evsched.run_now(id bigint) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_run_now';
COMMENT ON FUNCTION evsched.run_now(bigint)
    IS 'the scheduled event, or one extra of the series, is due now; false while it is under way';

CREATE FUNCTION evsched.run_now(key text, queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_run_now_key';
COMMENT ON FUNCTION evsched.run_now(text, text)
    IS 'the scheduled event that holds the key, or one extra of its series, is due now';


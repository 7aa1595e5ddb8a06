-- Jobs: SQL that runs in the background.

CREATE FUNCTION evsched.after(delay interval, command text, payload jsonb DEFAULT NULL,
        pool text DEFAULT 'passive', key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_after';
COMMENT ON FUNCTION evsched.after(interval, text, jsonb, text, text, int, text, interval, interval)
    IS 'runs a command once in the background, after delay; returns the event''s id';

CREATE FUNCTION evsched.enqueue(command text, pool text DEFAULT 'passive',
        payload jsonb DEFAULT NULL, key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_enqueue';
COMMENT ON FUNCTION evsched.enqueue(text, text, jsonb, text, int, text, interval, interval)
    IS 'runs a command once in the background, as soon as a worker is free';

CREATE FUNCTION evsched.next(op text, body text, payload jsonb DEFAULT NULL,
        key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_next';
COMMENT ON FUNCTION evsched.next(text, text, jsonb, text, int, text, interval, interval)
    IS 'runs op in pool passive, and then body in pool active with what op has returned';

CREATE FUNCTION evsched.work(op text, body text, payload jsonb DEFAULT NULL,
        key text DEFAULT NULL, max_retries int DEFAULT 0,
        on_conflict text DEFAULT 'replace', retry_delay interval DEFAULT NULL,
        run_timeout interval DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_work';
COMMENT ON FUNCTION evsched.work(text, text, jsonb, text, int, text, interval, interval)
    IS 'runs op in pool work, and then body in pool active with what op has returned';

CREATE FUNCTION evsched.reschedule(id bigint, delay interval) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_change_delay';
COMMENT ON FUNCTION evsched.reschedule(bigint, interval)
    IS 'the event, or the next of the series, is due after delay from now, as if posted anew';

CREATE FUNCTION evsched.current_event(OUT id bigint, OUT recurring bigint, OUT run_id bigint,
        OUT num_retries int, OUT due_at timestamptz, OUT payload jsonb)
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_current_event';
COMMENT ON FUNCTION evsched.current_event()
    IS 'the event whose command this is; nulls outside a job';

CREATE FUNCTION evsched.size(queue text DEFAULT 'default') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_size';
COMMENT ON FUNCTION evsched.size(text) IS 'how many events of a queue or pool are due and wait';

CREATE FUNCTION evsched.on_error(command text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_on_error';
COMMENT ON FUNCTION evsched.on_error(text)
    IS 'what is run in pool active when a job of current_user has failed for good; NULL: nothing';


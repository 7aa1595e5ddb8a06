-- Coroutines: jobs that go on in steps.

CREATE FUNCTION evsched.coroutine(step regproc, state jsonb, pool text DEFAULT 'passive')
        RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_coroutine';
COMMENT ON FUNCTION evsched.coroutine(regproc, jsonb, text)
    IS 'runs step(state), and again with the state it returns, after the sleep it returns, until that is null';

CREATE FUNCTION evsched._go_on(state jsonb, sleep interval) RETURNS jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_go_on';
COMMENT ON FUNCTION evsched._go_on(jsonb, interval) IS 'internal: the next step of a coroutine';

CREATE FUNCTION evsched.sleep(delay interval) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_sleep';
COMMENT ON FUNCTION evsched.sleep(interval) IS 'returns after delay; a cancel ends it';

CREATE FUNCTION evsched.worker_id() RETURNS int
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_worker_id';
COMMENT ON FUNCTION evsched.worker_id()
    IS 'the number, from 1 on, of the worker slot of its pool that a job runs in; null elsewhere';


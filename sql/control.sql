-- Stopping and starting.

CREATE FUNCTION evsched._require_control(function text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_require_control';
COMMENT ON FUNCTION evsched._require_control(text)
    IS 'internal: raises 42501 unless current_user may control evsched in this database';

CREATE FUNCTION evsched.start() RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_start';
COMMENT ON FUNCTION evsched.start()
    IS 'hands out events in this database, also those restored from elsewhere; at once, and not rolled back';

CREATE FUNCTION evsched.stop(drain interval DEFAULT '30 s') RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_stop';
COMMENT ON FUNCTION evsched.stop(interval)
    IS 'hands out nothing more in this database, at once, and waits up to drain; does nothing run any more?';

CREATE FUNCTION evsched.force_stop() RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_force_stop';
COMMENT ON FUNCTION evsched.force_stop()
    IS 'hands out nothing more in this database and waits for nothing; does nothing run any more?';

CREATE FUNCTION evsched.pause_queue(queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_pause_queue';
COMMENT ON FUNCTION evsched.pause_queue(text)
    IS 'hands out nothing more of a queue until resume_queue; false when it was paused already';

CREATE FUNCTION evsched.resume_queue(queue text) RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_resume_queue';
COMMENT ON FUNCTION evsched.resume_queue(text)
    IS 'hands out events of a paused queue again; false when it was not paused';


-- Listeners.

CREATE FUNCTION evsched.join(node text DEFAULT NULL, queue text DEFAULT 'default',
        max_events int DEFAULT 8, conf_timeout interval DEFAULT '10 s',
        linger interval DEFAULT '0') RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_join';
COMMENT ON FUNCTION evsched.join(text, text, int, interval, interval)
    IS 'this session listens to a queue from the commit on; returns its channel';

CREATE FUNCTION evsched.leave(queue text DEFAULT 'default', release boolean DEFAULT false)
    RETURNS boolean
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_leave';
COMMENT ON FUNCTION evsched.leave(text, boolean)
    IS 'this session gets no further turn; release: what it holds is given back at once';

CREATE FUNCTION evsched.set_max_events(n int, queue text DEFAULT 'default') RETURNS int
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_set_max_events';
COMMENT ON FUNCTION evsched.set_max_events(int, text)
    IS 'changes how many events this session may hold, at once; 0 or less: what join was given';


-- Watches: jobs that run when something comes in from outside.

CREATE FUNCTION evsched.watch_channel(channel text, command text) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_watch_channel';
COMMENT ON FUNCTION evsched.watch_channel(text, text)
    IS 'runs a command in the background for each NOTIFY on a channel; returns the watch''s id';

CREATE FUNCTION evsched.watch_path(path text, command text) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_watch_path';
COMMENT ON FUNCTION evsched.watch_path(text, text)
    IS 'runs a command in the background with what is read from a FIFO or a unix socket; returns the watch''s id';

CREATE FUNCTION evsched._lost_paths(OUT id bigint, OUT path text) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_lost_paths';
COMMENT ON FUNCTION evsched._lost_paths() IS 'internal: the watches whose path is no FIFO or unix socket now';


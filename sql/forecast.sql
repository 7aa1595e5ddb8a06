-- When a schedule would come.

CREATE FUNCTION evsched.next_fires(schedule text, n int DEFAULT 5, time_zone text DEFAULT NULL,
        from_time timestamptz DEFAULT pg_catalog.now())
    RETURNS SETOF timestamptz
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_next_fires';
COMMENT ON FUNCTION evsched.next_fires(text, int, text, timestamptz)
    IS 'the first n times after from_time of a cron schedule, or of an interval counted from there';


-- What is asked of all worker slots of a pool.

CREATE FUNCTION evsched.map(expr text, pool text DEFAULT 'work', timeout interval DEFAULT '10 s',
        OUT worker int, OUT result jsonb, OUT error text) RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_map';
COMMENT ON FUNCTION evsched.map(text, text, interval)
    IS 'evaluates an expression once in every worker slot of a pool';


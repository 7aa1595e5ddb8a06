-- Dead events: bring back or throw away.

CREATE FUNCTION evsched.redrive(queue text, max_events int DEFAULT NULL) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_redrive';
COMMENT ON FUNCTION evsched.redrive(text, int)
    IS 'dead events of a queue are due now with the same ids, oldest first; returns how many';

CREATE FUNCTION evsched.redrive(ids bigint[]) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_redrive_ids';
COMMENT ON FUNCTION evsched.redrive(bigint[])
    IS 'these dead events are due now with the same ids; returns how many';

CREATE FUNCTION evsched.discard(ids bigint[]) RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_discard';
COMMENT ON FUNCTION evsched.discard(bigint[]) IS 'removes dead events for good; returns how many';


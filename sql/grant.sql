-- Giving roles rights, and taking them back.

CREATE FUNCTION evsched.grant_usage(role name, bulk boolean DEFAULT false) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_grant_usage';
COMMENT ON FUNCTION evsched.grant_usage(name, boolean)
    IS 'lets a role use evsched; bulk: also by plain INSERT and COPY into evsched.event';

CREATE FUNCTION evsched._take_over(old oid, new oid) RETURNS void
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_take_over';
COMMENT ON FUNCTION evsched._take_over(oid, oid)
    IS 'internal: who may call a function may call the one that takes its place';

CREATE FUNCTION evsched.create_queue(queue text, max_retries int DEFAULT NULL,
        retry_delay interval DEFAULT NULL) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_create_queue';
COMMENT ON FUNCTION evsched.create_queue(text, int, interval)
    IS 'makes current_user the owner of a queue, and sets what its events get that do not say';

CREATE FUNCTION evsched.grant_queue(queue text, role name, may text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_grant_queue';
COMMENT ON FUNCTION evsched.grant_queue(text, name, text)
    IS 'lets a role post to, or consume, a queue that current_user owns';

CREATE FUNCTION evsched.revoke_queue(queue text, role name, may text) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_revoke_queue';
COMMENT ON FUNCTION evsched.revoke_queue(text, name, text)
    IS 'takes back what grant_queue gave, also for what is posted already';


-- Events that were given up.

CREATE TABLE evsched.dead (
    id          bigint NOT NULL PRIMARY KEY,
    queue       text COLLATE "C" NOT NULL,
    key         text COLLATE "C",
    payload     jsonb,
    command     text,
    owner       int,
    recurring   bigint,
    max_retries int,
    num_retries int NOT NULL,
    retry_delay interval,
    died_at     timestamptz NOT NULL,
    why         text NOT NULL,
    sqlstate    text,
    run_timeout interval,
    body        text,
    handles     bigint
);
CREATE INDEX dead_queue ON evsched.dead (queue, died_at, id);
CREATE INDEX dead_died_at ON evsched.dead (died_at);
COMMENT ON TABLE evsched.dead IS 'events that were given up, until redriven, discarded or pruned after evsched.dead_age';

SELECT pg_catalog.pg_extension_config_dump('evsched.dead', '');


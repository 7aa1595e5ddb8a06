-- When the events of a series come.

CREATE TABLE evsched.recurrence (
    id        bigint NOT NULL PRIMARY KEY,
    start_at  timestamptz,
    period    interval,
    schedule  text COLLATE "C",
    time_zone text COLLATE "C" NOT NULL,
    missed    text COLLATE "C" NOT NULL CHECK (missed IN ('once', 'skip', 'all')),
    overlap   text COLLATE "C" NOT NULL CHECK (overlap IN ('skip', 'queue', 'parallel')),
    CHECK ((schedule IS NOT NULL) <> (period IS NOT NULL AND start_at IS NOT NULL))
);
COMMENT ON TABLE evsched.recurrence IS 'the schedules of series, by the id of the event that stands for the series';

SELECT pg_catalog.pg_extension_config_dump('evsched.recurrence', '');


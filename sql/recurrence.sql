-- When the events of a series come: by the clock, or when something comes in (a watch).

CREATE TABLE evsched.recurrence (
    id        bigint NOT NULL PRIMARY KEY,
    start_at  timestamptz,
    period    interval,
    schedule  text COLLATE "C",
    time_zone text COLLATE "C",
    missed    text COLLATE "C" NOT NULL CHECK (missed IN ('once', 'skip', 'all')),
    overlap   text COLLATE "C" NOT NULL CHECK (overlap IN ('skip', 'queue', 'parallel')),
    channel   text COLLATE "C" CHECK (pg_catalog.octet_length(channel) BETWEEN 1 AND 63),
    path      text COLLATE "C" CHECK (path <> ''),
    CHECK (pg_catalog.num_nonnulls(schedule, period, channel, path) = 1),
    CHECK ((start_at IS NOT NULL) = (period IS NOT NULL)),
    CHECK ((time_zone IS NOT NULL) = (channel IS NULL AND path IS NULL))
);
CREATE UNIQUE INDEX recurrence_channel ON evsched.recurrence (channel) WHERE channel IS NOT NULL;
CREATE UNIQUE INDEX recurrence_path ON evsched.recurrence (path) WHERE path IS NOT NULL;
COMMENT ON TABLE evsched.recurrence IS 'the schedules of series, and what is watched, by the id of the event that stands for the series or watch';

SELECT pg_catalog.pg_extension_config_dump('evsched.recurrence', '');

-- A restore of data brings again what is here already, or watches what is watched here:
-- that stays as it is, and the other series are restored.

CREATE TRIGGER skip_known BEFORE INSERT ON evsched.recurrence
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
ALTER TABLE evsched.recurrence ENABLE ALWAYS TRIGGER skip_known;


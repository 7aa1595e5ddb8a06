-- The yardstick: a table of the same columns, indexes and storage as evsched.event, with
-- nothing else on it. The psql variable `role` is who posts and consumes.
CREATE SCHEMA bench;

CREATE TABLE bench.event (LIKE evsched.event);

CREATE SEQUENCE bench.event_id AS bigint CACHE 32 OWNED BY bench.event.id;
ALTER TABLE bench.event ALTER id SET DEFAULT nextval('bench.event_id');
ALTER TABLE bench.event ALTER num_retries SET DEFAULT 0;

ALTER TABLE bench.event ADD PRIMARY KEY (id, queue);
CREATE INDEX event_due ON bench.event (queue, due_at, id);
CREATE UNIQUE INDEX event_key ON bench.event (queue, key) WHERE key IS NOT NULL;

-- The sequence's cache and the table's storage parameters as evsched has them.
SELECT format('ALTER SEQUENCE bench.event_id CACHE %s', seqcache)
FROM pg_sequence
WHERE seqrelid = pg_get_serial_sequence('evsched.event', 'id')::regclass
UNION ALL
SELECT format('ALTER TABLE bench.event SET (%s)', option)
FROM pg_class, unnest(reloptions) AS option
WHERE oid = 'evsched.event'::regclass
\gexec

GRANT USAGE ON SCHEMA bench TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON bench.event TO :"role";
GRANT USAGE ON SEQUENCE bench.event_id TO :"role";

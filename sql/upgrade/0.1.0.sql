-- From 0.1.0
\echo Use "ALTER EXTENSION evsched UPDATE" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- What was said of queues, and of the database.  A queue exists once it is used; it
-- has a row here only when somebody owns or has paused it.

CREATE TABLE evsched.queue (
    name        text COLLATE "C" NOT NULL PRIMARY KEY
                CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63),
    owner       int,
    max_retries int CHECK (max_retries >= -1),
    retry_delay interval CHECK (retry_delay >= '0'::interval),
    paused      boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE evsched.queue IS 'settings of queues: owner, what events get that do not say, whether it is paused';

CREATE TABLE evsched.queue_grant (
    queue text COLLATE "C" NOT NULL,
    role  int  NOT NULL,
    may   text COLLATE "C" NOT NULL CHECK (may IN ('post', 'consume')),
    PRIMARY KEY (queue, role, may)
);
COMMENT ON TABLE evsched.queue_grant IS 'who may use the queues of others';

CREATE TABLE evsched.control (
    here    boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (here),
    stopped boolean NOT NULL
);
COMMENT ON TABLE evsched.control IS 'whether this database is stopped; not dumped';

SELECT pg_catalog.pg_extension_config_dump('evsched.queue', '');
SELECT pg_catalog.pg_extension_config_dump('evsched.queue_grant', '');

-- A restore of data brings again what is here already: that stays as it is.

CREATE FUNCTION evsched._skip_known() RETURNS trigger
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'evsched_sql_skip_known';
COMMENT ON FUNCTION evsched._skip_known() IS 'internal: passes over a setting or role that is there already';

CREATE TRIGGER skip_known BEFORE INSERT ON evsched.queue
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
CREATE TRIGGER skip_known BEFORE INSERT ON evsched.queue_grant
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
CREATE TRIGGER skip_known BEFORE INSERT ON evsched.role
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
ALTER TABLE evsched.queue ENABLE ALWAYS TRIGGER skip_known;
ALTER TABLE evsched.queue_grant ENABLE ALWAYS TRIGGER skip_known;
ALTER TABLE evsched.role ENABLE ALWAYS TRIGGER skip_known;

-- Every process keeps these in mind until they change.

CREATE FUNCTION evsched._note_setting() RETURNS trigger
    LANGUAGE C
    AS 'MODULE_PATHNAME', 'evsched_sql_note_setting';
COMMENT ON FUNCTION evsched._note_setting() IS 'internal: what was known of settings and roles holds no longer';

CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.queue
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.queue_grant
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.control
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.role
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.role_binding
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.queue
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.queue_grant
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
ALTER TABLE evsched.queue ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.queue_grant ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.control ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.role ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.role_binding ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.queue ENABLE ALWAYS TRIGGER note_truncate;
ALTER TABLE evsched.queue_grant ENABLE ALWAYS TRIGGER note_truncate;


-- Rules: what sessions run that call run_rules.  A set belongs to one role, with whose
-- rights its rules run; slot_function is the quoted name of a function.

CREATE TABLE evsched.rule_set (
    name          text COLLATE "C" NOT NULL PRIMARY KEY
                  CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63),
    owner         int  NOT NULL,
    slot_function text,
    slot_path     text,
    CHECK ((slot_function IS NULL) = (slot_path IS NULL))
);
COMMENT ON TABLE evsched.rule_set IS 'the sets of rules, and whose they are';

CREATE TABLE evsched.rule_grant (
    rule_set text COLLATE "C" NOT NULL,
    owner    int  NOT NULL,
    role     int  NOT NULL,
    PRIMARY KEY (rule_set, owner, role)
);
COMMENT ON TABLE evsched.rule_grant IS 'who may run the rules of others';

-- In the order of their positions; nth tells those of one identifier apart.  While a set
-- is loaded, what it had before has positions below zero.  A rule is run, a grant or slot
-- counts, only when its owner is that of the set: a restore may bring one into somebody
-- else's.

CREATE TABLE evsched.rule (
    rule_set    text COLLATE "C" NOT NULL,
    identifier  text COLLATE "C" NOT NULL
                CHECK (pg_catalog.octet_length(identifier) BETWEEN 1 AND 255),
    nth         int  NOT NULL,
    id          bigint NOT NULL DEFAULT pg_catalog.nextval('evsched.event_id_seq') PRIMARY KEY,
    position    int  NOT NULL,
    owner       int  NOT NULL,
    period      interval NOT NULL CHECK (period > '0'::interval),
    mode        text COLLATE "C" NOT NULL CHECK (mode IN ('once', 'each')),
    filter      text,
    command     text NOT NULL CHECK (command <> ''),
    search_path text NOT NULL,
    UNIQUE (rule_set, identifier, nth)
);
CREATE INDEX rule_position ON evsched.rule (rule_set, position);
COMMENT ON TABLE evsched.rule IS 'the rules of all sets';

-- The highest slot of each name that was run, nth being 0 where a function names them.

CREATE TABLE evsched.rule_slot (
    rule_set text COLLATE "C" NOT NULL,
    name     text COLLATE "C" NOT NULL CHECK (pg_catalog.octet_length(name) <= 255),
    nth      int  NOT NULL,
    owner    int  NOT NULL,
    slot     bigint NOT NULL,
    ran_at   timestamptz NOT NULL,
    PRIMARY KEY (rule_set, name, nth)
) WITH (fillfactor = 50, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
COMMENT ON TABLE evsched.rule_slot IS 'which slots of rules are spent';

SELECT pg_catalog.pg_extension_config_dump('evsched.rule_set', '');
SELECT pg_catalog.pg_extension_config_dump('evsched.rule_grant', '');
SELECT pg_catalog.pg_extension_config_dump('evsched.rule', '');
SELECT pg_catalog.pg_extension_config_dump('evsched.rule_slot', '');

-- As with the settings: what is here stays.

CREATE TRIGGER skip_known BEFORE INSERT ON evsched.rule_set
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
CREATE TRIGGER skip_known BEFORE INSERT ON evsched.rule_grant
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
CREATE TRIGGER skip_known BEFORE INSERT ON evsched.rule
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
CREATE TRIGGER skip_known BEFORE INSERT ON evsched.rule_slot
    FOR EACH ROW EXECUTE FUNCTION evsched._skip_known();
ALTER TABLE evsched.rule_set ENABLE ALWAYS TRIGGER skip_known;
ALTER TABLE evsched.rule_grant ENABLE ALWAYS TRIGGER skip_known;
ALTER TABLE evsched.rule ENABLE ALWAYS TRIGGER skip_known;
ALTER TABLE evsched.rule_slot ENABLE ALWAYS TRIGGER skip_known;

-- Every process keeps these in mind until they change; of slots, those that are spent.

CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.rule_set
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.rule_grant
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER INSERT OR UPDATE OR DELETE ON evsched.rule
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_setting AFTER DELETE ON evsched.rule_slot
    FOR EACH ROW EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.rule_set
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.rule_grant
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.rule
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON evsched.rule_slot
    FOR EACH STATEMENT EXECUTE FUNCTION evsched._note_setting();
ALTER TABLE evsched.rule_set ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.rule_grant ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.rule ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.rule_slot ENABLE ALWAYS TRIGGER note_setting;
ALTER TABLE evsched.rule_set ENABLE ALWAYS TRIGGER note_truncate;
ALTER TABLE evsched.rule_grant ENABLE ALWAYS TRIGGER note_truncate;
ALTER TABLE evsched.rule ENABLE ALWAYS TRIGGER note_truncate;
ALTER TABLE evsched.rule_slot ENABLE ALWAYS TRIGGER note_truncate;


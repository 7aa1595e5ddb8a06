-- Owners of events: small numbers that survive a dump.

CREATE TABLE evsched.role (
    n      int  NOT NULL PRIMARY KEY,
    name   name NOT NULL,
    origin text COLLATE "C" NOT NULL
);
COMMENT ON TABLE evsched.role IS 'owners of events, by number; origin is the system and database in which the name was bound';

CREATE TABLE evsched.role_binding (
    n    int NOT NULL PRIMARY KEY,
    role oid NOT NULL
);
CREATE INDEX role_binding_role ON evsched.role_binding (role);
COMMENT ON TABLE evsched.role_binding IS 'which role of this system a number stands for; not dumped';

SELECT pg_catalog.pg_extension_config_dump('evsched.role', '');

CREATE FUNCTION evsched._owner() RETURNS int
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_owner';
COMMENT ON FUNCTION evsched._owner() IS 'internal: the number of current_user';


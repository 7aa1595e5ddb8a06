\echo Use "CREATE EXTENSION evsched" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- A schema that somebody else has made ready could hold what is to be run as ours.

DO $$
DECLARE
    maker name;
BEGIN
    SELECT a.rolname INTO maker
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_authid a ON a.oid = n.nspowner
    WHERE n.nspname = 'evsched' AND NOT a.rolsuper AND a.rolname <> current_user;
    IF FOUND THEN
        RAISE EXCEPTION 'schema evsched belongs to role %', maker
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Drop it, or rename it: CREATE EXTENSION makes the schema.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n ON n.oid = d.refobjid
               WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                 AND n.nspname = 'evsched'
                 AND d.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass) THEN
        RAISE EXCEPTION 'schema evsched is not empty'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Move what is in it to another schema, or drop the schema.';
    END IF;
END $$;


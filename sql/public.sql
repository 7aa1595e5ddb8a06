-- Nothing is for everybody.  Only what was made just now is for PUBLIC: what an earlier
-- version has made keeps the rights that roles were given since, and in a dump they
-- stay these roles' own.

SET LOCAL search_path TO pg_catalog, pg_temp;

DO $$
DECLARE
    object text;
BEGIN
    FOR object IN
        SELECT 'FUNCTION ' || p.oid::pg_catalog.regprocedure::text
        FROM pg_catalog.pg_proc p,
             LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
        WHERE p.pronamespace = 'evsched'::pg_catalog.regnamespace AND a.grantee = 0
        UNION
        SELECT 'TABLE ' || c.oid::pg_catalog.regclass::text
        FROM pg_catalog.pg_class c, LATERAL pg_catalog.aclexplode(c.relacl) a
        WHERE c.relnamespace = 'evsched'::pg_catalog.regnamespace
          AND c.relkind IN ('r', 'v') AND a.grantee = 0
        UNION
        SELECT 'SEQUENCE ' || c.oid::pg_catalog.regclass::text
        FROM pg_catalog.pg_class c, LATERAL pg_catalog.aclexplode(c.relacl) a
        WHERE c.relnamespace = 'evsched'::pg_catalog.regnamespace
          AND c.relkind = 'S' AND a.grantee = 0
        UNION
        SELECT 'SCHEMA evsched'
        FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a
        WHERE n.oid = 'evsched'::pg_catalog.regnamespace AND a.grantee = 0
        UNION
        SELECT 'TYPE ' || t.oid::pg_catalog.regtype::text
        FROM pg_catalog.pg_type t,
             LATERAL pg_catalog.aclexplode(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) a
        WHERE t.typname = 'delivery' AND t.typnamespace = 'evsched'::pg_catalog.regnamespace
          AND a.grantee = 0
    LOOP
        EXECUTE 'REVOKE ALL ON ' || object || ' FROM PUBLIC';
    END LOOP;
END $$;

-- What an update has replaced by a function with other arguments is called _old_ and its
-- name here: whoever was granted it is granted the new one.

DO $$
DECLARE
    old oid;
    new oid;
BEGIN
    FOR old, new IN
        SELECT o.oid, n.oid
        FROM pg_catalog.pg_proc o
        JOIN pg_catalog.pg_proc n ON n.pronamespace = o.pronamespace
            AND o.proname = '_old_' || n.proname
        WHERE o.pronamespace = 'evsched'::pg_catalog.regnamespace
    LOOP
        PERFORM evsched._take_over(old, new);
        EXECUTE 'DROP FUNCTION ' || old::pg_catalog.regprocedure::text;
    END LOOP;
END $$;

-- The owner of the database controls evsched in it.

DO $$
DECLARE
    owner name;
BEGIN
    SELECT a.rolname INTO owner
    FROM pg_catalog.pg_database d JOIN pg_catalog.pg_authid a ON a.oid = d.datdba
    WHERE d.datname = pg_catalog.current_database() AND NOT a.rolsuper
      AND NOT pg_catalog.has_schema_privilege(a.rolname, 'evsched', 'USAGE');
    IF FOUND THEN
        PERFORM evsched.grant_usage(owner);
    END IF;
END $$;

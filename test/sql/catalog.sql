-- What CREATE EXTENSION has made, seen from the catalog.

-- what the contract promises to callers: names, arguments, defaults, results
\pset format unaligned
SELECT proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || pg_get_function_result(p.oid) AS signature
FROM pg_proc p
WHERE pronamespace = 'evsched'::regnamespace AND proname !~ '^_'
ORDER BY proname, pronargs, 1;
\pset format aligned
-- none is strict (NULL is a default, or an error), none runs in parallel, none does what its caller may not
SELECT proname, proisstrict, proparallel, provolatile, prosecdef
FROM pg_proc
WHERE pronamespace = 'evsched'::regnamespace AND proname !~ '^_'
  AND (proisstrict OR proparallel <> 'u' OR provolatile <> 'v' OR prosecdef);

-- the form of a delivery, and of what can be looked at
\pset format unaligned
SELECT attrelid::regclass || ': ' || string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) AS form
FROM pg_attribute
WHERE attrelid IN ('evsched.delivery'::regclass, 'evsched.dead_event'::regclass, 'evsched.listeners'::regclass,
                   'evsched.stat_queue'::regclass, 'evsched.stat_scheduler'::regclass)
GROUP BY attrelid ORDER BY attrelid::regclass::text;
\pset format aligned
SELECT relname, relkind FROM pg_class
WHERE relnamespace = 'evsched'::regnamespace AND relkind = 'v' ORDER BY relname;

-- nothing is granted to PUBLIC: functions, tables, views, sequences, columns, types, the schema
SELECT 'function' AS kind, p.oid::regprocedure::text AS name, privilege_type
FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE pronamespace = 'evsched'::regnamespace AND grantee = 0
UNION ALL
SELECT 'relation', c.oid::regclass::text, privilege_type
FROM pg_class c, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
WHERE relnamespace = 'evsched'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND grantee = 0
UNION ALL
SELECT 'column', attrelid::regclass || '.' || attname, privilege_type
FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl)
WHERE relnamespace = 'evsched'::regnamespace AND grantee = 0
UNION ALL
SELECT 'type', t.oid::regtype::text, privilege_type
FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid, aclexplode(coalesce(typacl, acldefault('T', typowner)))
WHERE typnamespace = 'evsched'::regnamespace AND typtype <> 'b' AND (typrelid = 0 OR relkind = 'c') AND grantee = 0
UNION ALL
SELECT 'schema', nspname, privilege_type
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE nspname = 'evsched' AND grantee = 0
ORDER BY 1, 2, 3;
-- and so a role that was granted nothing can do nothing
CREATE ROLE regress_evsched_nobody;
SET ROLE regress_evsched_nobody;
\set VERBOSITY sqlstate
SELECT evsched.post('1');
SELECT evsched.take();
SELECT * FROM evsched.event;
SELECT * FROM evsched.events;
\set VERBOSITY default
RESET ROLE;
DROP ROLE regress_evsched_nobody;

-- every function, table, view and type that users see says what it is
SELECT p.oid::regprocedure::text AS without_comment FROM pg_proc p
WHERE pronamespace = 'evsched'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c
WHERE relnamespace = 'evsched'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL
SELECT t.oid::regtype::text FROM pg_type t JOIN pg_class c ON c.oid = typrelid
WHERE typnamespace = 'evsched'::regnamespace AND relkind = 'c' AND obj_description(t.oid, 'pg_type') IS NULL;

-- everything in the schema belongs to the extension
SELECT p.oid::regprocedure::text AS stranger FROM pg_proc p
WHERE pronamespace = 'evsched'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = refobjid
    WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e'
      AND refclassid = 'pg_extension'::regclass AND extname = 'evsched')
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c
WHERE relnamespace = 'evsched'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = refobjid
    WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'
      AND refclassid = 'pg_extension'::regclass AND extname = 'evsched');
SELECT n.nspname, extrelocatable FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname = 'evsched';
SELECT superuser, trusted, relocatable, schema FROM pg_available_extension_versions
WHERE name = 'evsched' AND installed;

-- what is dumped has no column of oids: they mean nothing elsewhere
SELECT c::regclass AS dumped FROM pg_extension, unnest(extconfig) c WHERE extname = 'evsched' ORDER BY c::regclass::text;
SELECT attrelid::regclass, attname, atttypid::regtype
FROM pg_extension, unnest(extconfig) c JOIN pg_attribute ON attrelid = c
WHERE extname = 'evsched' AND attnum > 0 AND NOT attisdropped
  AND (atttypid = 'oid'::regtype OR atttypid::regtype::text ~ '^reg');

-- no foreign keys, no state column: the table of events can be distributed by queue
SELECT conname FROM pg_constraint WHERE conrelid = 'evsched.event'::regclass AND contype = 'f';
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'evsched.event'::regclass AND contype = 'p';
SELECT count(*) FROM pg_attribute WHERE attrelid = 'evsched.event'::regclass AND attname = 'state';

-- its triggers fire under session_replication_role = replica as well
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'evsched.event'::regclass AND NOT tgisinternal ORDER BY 1;

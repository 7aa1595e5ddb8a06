-- Taking over the jobs of pg_cron.

CREATE FUNCTION evsched.import_pg_cron(paused boolean DEFAULT false,
        OUT jobid bigint, OUT id bigint, OUT note text) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path TO pg_catalog, pg_temp
    AS $$
DECLARE
    role_before text := current_setting('role');
    zone        text := coalesce(nullif(current_setting('cron.timezone', true), ''), 'GMT');
    seconds     text;
    fields      text[];
    job_key     text;
    job         record;
BEGIN
    PERFORM evsched._require_control('import_pg_cron()');
    -- Whoever has made the table says what is run by whom.
    PERFORM FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
        JOIN pg_roles t ON t.oid = c.relowner JOIN pg_roles o ON o.oid = s.nspowner
    WHERE s.nspname = 'cron' AND c.relname = 'job' AND c.relkind = 'r'
      AND (t.rolsuper OR t.rolname = current_user) AND (o.rolsuper OR o.rolname = current_user);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no table cron.job of a superuser'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Call it in the database in which pg_cron is installed.';
    END IF;

    FOR job IN EXECUTE 'SELECT j.jobid, j.schedule, j.command, j.nodename, j.database, j.username, j.active,'
        ' j.jobname, count(*) OVER (PARTITION BY j.jobname) AS namesakes FROM cron.job j ORDER BY j.jobid'
    LOOP
        jobid := job.jobid;
        id := NULL;
        note := NULL;
        seconds := substring(job.schedule FROM '^\s*(\d+)\s+seconds?\s*$');
        fields := regexp_split_to_array(btrim(job.schedule), '\s+');
        job_key := 'pg_cron:' || job.jobid;
        IF job.namesakes = 1 AND octet_length(job.jobname) BETWEEN 1 AND 255 THEN
            job_key := job.jobname;
        END IF;

        IF job.database <> current_database() THEN
            note := format('not taken over: it runs in database %s', job.database);
        ELSIF job.nodename NOT IN ('localhost', '127.0.0.1', '::1', '') AND job.nodename NOT LIKE '/%' THEN
            note := format('not taken over: it runs on server %s', job.nodename);
        ELSIF btrim(job.schedule) = '@reboot' THEN
            note := 'not taken over: it runs when the server starts';
        ELSIF cardinality(fields) = 5 AND (fields[3] LIKE '*/%' AND fields[5] <> '*' OR
                                           fields[5] LIKE '*/%' AND fields[3] <> '*') THEN
            note := 'not taken over: pg_cron wants both the day of month and the day of week to match, here either is enough';
        ELSE
            BEGIN
                EXECUTE format('SET LOCAL ROLE %I', job.username);
                IF NOT has_schema_privilege('evsched', 'USAGE') THEN
                    RAISE EXCEPTION 'role % may not use evsched, see evsched.grant_usage', job.username;
                END IF;
                SELECT s.id, 'is here already' INTO id, note FROM evsched.series s
                WHERE s.queue = 'passive' AND s.key = job_key;
                IF id IS NOT NULL THEN
                    NULL;
                ELSIF seconds IS NOT NULL THEN
                    id := evsched.every(make_interval(secs => seconds::int), job.command, key => job_key,
                                        time_zone => zone, missed => 'skip', overlap => 'queue');
                ELSE
                    id := evsched.cron(job.schedule, job.command, key => job_key,
                                       time_zone => zone, missed => 'skip', overlap => 'queue');
                END IF;
                IF note IS NULL AND (paused OR NOT job.active) THEN
                    PERFORM evsched.pause(id);
                    note := 'paused';
                END IF;
                EXECUTE format('SET LOCAL ROLE %s', CASE role_before WHEN 'none' THEN 'none'
                                                    ELSE quote_ident(role_before) END);
                IF job.active AND note IS NULL THEN
                    EXECUTE 'UPDATE cron.job SET active = false WHERE jobid = $1' USING job.jobid;
                END IF;
            EXCEPTION WHEN OTHERS THEN
                id := NULL;
                note := 'not taken over: ' || SQLERRM;
            END;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION evsched.import_pg_cron(boolean)
    IS 'takes over the jobs of pg_cron in this database, which end there; paused: they go on there, and wait here';


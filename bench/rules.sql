-- Rules in plain SQL: what one would write without evsched. No rights of an owner, no failure
-- kept to itself, no clock that is set back.
CREATE TABLE bench.rule (
    id      int PRIMARY KEY,
    period  interval NOT NULL,
    slot    bigint NOT NULL DEFAULT -1,
    command text NOT NULL
);
INSERT INTO bench.rule (id, period, command)
    SELECT g, '1 day', 'SELECT 1' FROM generate_series(1, 10) g;
CREATE FUNCTION bench.run_rules(response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rule bench.rule;
    now_at timestamptz := clock_timestamp();
BEGIN
    FOR rule IN
        SELECT * FROM bench.rule r
        WHERE floor(extract(epoch FROM now_at) / extract(epoch FROM r.period)) > r.slot
        ORDER BY r.id
    LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(rule.id);
        UPDATE bench.rule r
        SET slot = floor(extract(epoch FROM now_at) / extract(epoch FROM r.period))
        WHERE r.id = rule.id
          AND r.slot < floor(extract(epoch FROM now_at) / extract(epoch FROM r.period));
        CONTINUE WHEN NOT FOUND;
        EXECUTE rule.command USING response;
    END LOOP;
    RETURN response;
END $$;
CREATE FUNCTION bench.rewrite(response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT $1 || ''{"b": 2}''' INTO response USING response;
    RETURN response;
END $$;
GRANT SELECT, UPDATE ON bench.rule TO PUBLIC;

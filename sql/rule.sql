-- Rules: what sessions run that call run_rules.

CREATE FUNCTION evsched.add_rule(identifier text, period interval, command text,
        mode text DEFAULT 'once', filter text DEFAULT NULL,
        rule_set text DEFAULT 'default') RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_add_rule';
COMMENT ON FUNCTION evsched.add_rule(text, interval, text, text, text, text)
    IS 'adds a rule: a command that whoever calls run_rules runs once in each period, all sessions together or each for itself';

CREATE FUNCTION evsched.remove_rule(identifier text, rule_set text DEFAULT 'default') RETURNS int
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_remove_rule';
COMMENT ON FUNCTION evsched.remove_rule(text, text) IS 'removes all rules of that name; returns how many';

CREATE FUNCTION evsched.load_rules(rules jsonb, rule_set text DEFAULT 'default') RETURNS int
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_load_rules';
COMMENT ON FUNCTION evsched.load_rules(jsonb, text) IS 'replaces a set of rules, in one transaction; returns how many there are';

CREATE FUNCTION evsched.run_rules(response jsonb DEFAULT NULL, rule_set text DEFAULT 'default')
        RETURNS jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_run_rules';
COMMENT ON FUNCTION evsched.run_rules(jsonb, text)
    IS 'runs the rules that are due, in this transaction; returns the response as they have rewritten it';

CREATE FUNCTION evsched.set_slot_function(f regproc, rule_set text DEFAULT 'default') RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_set_slot_function';
COMMENT ON FUNCTION evsched.set_slot_function(regproc, text)
    IS 'has a function say which slot a time is in, and under which name; null: the default';

CREATE FUNCTION evsched.grant_rules(rule_set text, role name) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_grant_rules';
COMMENT ON FUNCTION evsched.grant_rules(text, name) IS 'lets a role run a set of rules, with the rights of its owner';

CREATE FUNCTION evsched.revoke_rules(rule_set text, role name) RETURNS void
    LANGUAGE C VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'evsched_sql_revoke_rules';
COMMENT ON FUNCTION evsched.revoke_rules(text, name) IS 'takes back what grant_rules gave';

CREATE VIEW evsched.rules WITH (security_barrier) AS
    SELECT r.id, r.rule_set, r.position, r.identifier, r.period, r.mode, r.filter, r.command, n.name AS owner,
           l.slot AS last_slot, l.ran_at AS last_run_at
    FROM evsched.rule r
    JOIN evsched.rule_set s ON s.name = r.rule_set
    LEFT JOIN evsched.rule_slot l ON s.slot_function IS NULL AND l.rule_set = r.rule_set
         AND l.owner = r.owner
         AND l.name = r.identifier AND l.nth = r.nth AND r.mode = 'once'
    LEFT JOIN evsched.role n ON n.n = r.owner
    WHERE evsched._sees(r.owner, NULL);
COMMENT ON VIEW evsched.rules IS 'the rules of all sets, and when those of mode once were run last';


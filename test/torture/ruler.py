"""Runs rules, several sessions at a time, and loads them anew meanwhile.

Two sets of alice's, who lets bob run them: `plain` has the slots of their periods, `named`
a function that has two rules share every other slot.  What a rule does is to write a row
into torture.ruled, and itself into the response, so whoever has called it is told.
"""
import json
import time

import scene

# Each set: rule, its period in seconds, mode, filter.
RULES = {
    "plain": [("quick", 0.2, "once", None), ("failing", 0.3, "once", None),
              ("picky", 0.2, "once", "($1->>'n')::int % 2 = 0"),
              ("mine", 0.3, "each", None), ("slow", 1, "once", None),
              ("mine too", 0.7, "each", None)],
    "named": [("left", 0.2, "once", None), ("right", 0.2, "once", None),
              ("mine", 0.5, "each", None)]}
OWNER, GUEST = "alice", "bob"

# One more that is there at times, and whose slots are forgotten when it is not.
ONE_MORE = ("fleeting", 0.2, "once", None)

SETUP = """
CREATE TABLE torture.ruled (
    rule_set text, rule text, slot bigint, name text, call text, n int, who name,
    asked timestamptz, at timestamptz);
CREATE TABLE torture.slotted (
    n bigint GENERATED ALWAYS AS IDENTITY, xact xid8, rule text, slot bigint, name text);
CREATE INDEX ON torture.slotted (xact);

CREATE FUNCTION torture.name_slot(identifier text, period interval, at timestamptz,
                                  OUT slot bigint, OUT name text)
LANGUAGE plpgsql AS $$
BEGIN
    slot := floor(extract(epoch FROM at) / extract(epoch FROM period));
    IF slot % 2 = 0 THEN
        name := 'both';
    END IF;
    INSERT INTO torture.slotted (xact, rule, slot, name)
    VALUES (pg_current_xact_id(), identifier, slot, coalesce(name, identifier));
END
$$;

-- The one that was spent for it just now.  A transaction with an old snapshot sees, beside
-- that, the row that another one has changed since; an index would show it the older one only.
CREATE FUNCTION torture.last_slot(its_set text, its_rule text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
SET enable_indexscan = off SET enable_bitmapscan = off SET enable_indexonlyscan = off AS
    'SELECT max(slot) FROM evsched.rule_slot WHERE rule_set = its_set AND name = its_rule';

-- Which slot it is run for.
CREATE FUNCTION torture.slot_of(its_set text, its_rule text, OUT slot bigint, OUT name text)
LANGUAGE plpgsql AS $$
BEGIN
    IF its_set = 'named' THEN
        SELECT s.slot, s.name INTO slot_of.slot, slot_of.name FROM torture.slotted s
        WHERE s.xact = pg_current_xact_id() AND s.rule = its_rule ORDER BY n DESC LIMIT 1;
    ELSE
        slot := torture.last_slot(its_set, its_rule);
        name := its_rule;
    END IF;
END
$$;

CREATE FUNCTION torture.rule(its_set text, its_rule text, once boolean, response jsonb)
RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    slot bigint;
    name text;
BEGIN
    IF once THEN
        SELECT s.slot, s.name INTO slot, name FROM torture.slot_of(its_set, its_rule) s;
    END IF;
    INSERT INTO torture.ruled VALUES (its_set, its_rule, slot, name, response->>'call',
        (response->>'n')::int, current_user, statement_timestamp(), clock_timestamp());
    IF its_rule = 'failing' THEN
        RAISE EXCEPTION 'torture: as it was told to' USING ERRCODE = 'TT001';
    END IF;
    IF random() < 0.05 THEN
        PERFORM pg_sleep(random() * 0.3);
    END IF;
    RETURN jsonb_set(response, '{ran}',
                     response->'ran' || jsonb_build_array(jsonb_build_array(its_rule, slot)));
END
$$;
"""

# Of the run records, those of rules.
RULED = """
SELECT rule_set, rule, slot, name, call, n, who, extract(epoch FROM asked)::float8 AS asked,
       extract(epoch FROM at)::float8 AS at
FROM torture.ruled ORDER BY at"""
FAILED = """
SELECT run_id AS id, command, state, sqlstate, owner,
       extract(epoch FROM started_at)::float8 AS began
FROM evsched.run WHERE pool IS NULL ORDER BY started_at"""


def load(ask, name, fleeting=False):
    """Has the server know the rules of a set, through ask(sql, args)."""
    rules = [{"identifier": rule, "period": f"{period} s", "mode": mode, "filter": condition,
              "command": f"SELECT torture.rule('{name}', '{rule}', {mode == 'once'}, $1)"}
             for rule, period, mode, condition in RULES[name] + [ONE_MORE] * fleeting]
    return ask("SELECT evsched.load_rules(%s, %s)", (json.dumps(rules), name))


def setup(ask):
    """As their owner: who first says something of a set."""
    ask(f"SET ROLE {OWNER}")
    for name in RULES:
        load(ask, name)
        ask("SELECT evsched.grant_rules(%s, %s)", (name, GUEST))
    ask("SELECT evsched.set_slot_function('torture.name_slot', 'named')")
    ask("RESET ROLE")


class Ruler:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders
        self.calls = 0

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 12, 4, 4])[0]
        isolation = self.random.choice(["READ COMMITTED"] * 9 + ["REPEATABLE READ"])
        self.session.transact(self.work, end, isolation)
        time.sleep(self.random.choice([0, 0.05, 0.2]) * self.random.random())

    def work(self, facts):
        name = self.random.choice(list(RULES))
        if self.random.random() < 0.03:
            self.load(facts, name)
            return
        for _ in range(self.random.choice([1, 1, 1, 2])):
            if self.random.random() > 0.1:
                self.call(facts, name)
            else:
                self.try_out(facts, name)
        if self.random.random() < 0.1:
            time.sleep(self.random.uniform(0, 0.4))

    def announce(self, name):
        """So it is known of, whatever becomes of this process."""
        self.calls += 1
        call, began = f"{self.session.prefix}:{self.calls}", time.time()
        self.session.ledger.note("called", set=name, call=call, began=began)
        return call, began

    def call(self, facts, name, word="rules"):
        self.session.run(f"SET LOCAL ROLE {self.random.choice(scene.ROLES)}")
        call, began = self.announce(name)
        (response,), = self.session.run(
            "SELECT evsched.run_rules(%s, %s)",
            (json.dumps({"call": call, "n": self.calls, "ran": []}), name))
        facts.append([word, name, call, response["ran"], time.time(), began])
        self.session.run("RESET ROLE")

    def try_out(self, facts, name):
        """In a part of the transaction that is rolled back: then nothing was run."""
        self.session.run("SAVEPOINT part")
        self.call(facts, name, "tried")
        self.session.run("ROLLBACK TO part")

    def load(self, facts, name):
        """The same again: their slots are as spent as before."""
        call, began = self.announce(name)
        self.session.run(f"SET LOCAL ROLE {OWNER}")
        load(self.session.run, name, self.random.random() < 0.5)
        self.session.run("RESET ROLE")
        facts.append(["loaded", name, call, [], time.time(), began])

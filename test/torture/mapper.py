"""Asks all worker slots of a pool for the value of an expression that is this call's own."""
import json
import time

import psycopg2

import scene

# What an expression may do besides: nothing, take its time, fail, be a lot, be null.
KINDS = {
    "plain": "{told}",
    "slow": "(SELECT {told} FROM pg_sleep(random() * 0.3))",
    "stuck": "(SELECT {told} FROM pg_sleep(100))",
    "failing": "(SELECT {told} FROM torture.fail({mark}))",
    "large": "{told} || to_jsonb(repeat('x', 100000))",
    "null": "(SELECT {told} WHERE {mark} = '')",
    "ending": "(SELECT {told} WHERE pg_terminate_backend(pg_backend_pid()))"}

# Who, of those that run them, gets this answer.
TOLD = "jsonb_build_array({mark}, evsched.worker_id(), current_user)"

SETUP = """
CREATE FUNCTION torture.fail(mark text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'torture: as it was told to, %', mark USING ERRCODE = 'TT001';
END
$$;
"""


class Mapper:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queues = queues
        self.orders = session.orders
        self.calls = 0

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        end = self.random.choices(["commit", "rollback"], [80, 20])[0]
        self.session.transact(self.work, end)
        time.sleep(self.random.uniform(0, 0.5))

    def work(self, facts):
        """What it is told holds, whatever becomes of its transaction."""
        self.calls += 1
        kind = self.random.choices(list(KINDS), [10, 5, 1, 2, 2, 1, 0.3])[0]
        pool, role = self.random.choice(self.queues), self.random.choice(scene.ROLES)
        timeout = self.random.choice([0.01, 0.5, 2] if kind == "stuck" else [0.05, 1, 3, 5])
        mark = f"{self.session.prefix}:{self.calls}"
        expression = KINDS[kind].format(told=TOLD, mark="{mark}").format(mark=f"'{mark}'")
        note = {"conn": self.session.id, "mark": mark, "kind": kind, "pool": pool,
                "role": role, "timeout": timeout, "began": time.time()}
        self.session.run(f"SET LOCAL ROLE {role}")
        self.session.ledger.note("mapped", rows=None, **note)
        self.session.run("SAVEPOINT part")
        try:
            rows = self.session.run(
                "SELECT worker, left(result::text, 1000), error"
                " FROM evsched.map(%s, %s, make_interval(secs => %s))",
                (expression, pool, timeout))
        except psycopg2.Error as error:
            # Stopped, or no room for it: it has its answer.
            if error.pgcode not in ("55000", "53400"):
                raise
            self.session.ledger.note("mapped", rows=[], **note)
            self.session.run("ROLLBACK TO part")
            return
        self.session.ledger.note("mapped", rows=rows, **note)

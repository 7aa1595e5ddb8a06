"""Posts coroutines, cancels and moves some of them; what their steps do, as the server has it.

Each step writes its effect (workshop.py), of kind step and with its number.  The state of a
coroutine tells, beside the number of the step:

    version   who posted it, and as the how manieth
    pool      where it is run
    steps     how many there are
    naps      how long each takes, in seconds
    sleeps    how long it sleeps after each
    fails     the number of the step that fails, after its effect has been written
    lock      a row that others want, too
"""
import json
import time

import scene
from jobber import BACKLOG

SETUP = """
CREATE FUNCTION torture.step(given jsonb, OUT state jsonb, OUT sleep interval)
LANGUAGE plpgsql AS $$
DECLARE
    n int := given->'n';
BEGIN
    PERFORM torture.effect('step', given->>'version', given->>'pool', n);
    PERFORM torture.toil(jsonb_strip_nulls(jsonb_build_object(
        'sleep', given->'naps'->n, 'lock', given->'lock',
        'fails', CASE WHEN given->'fails' = to_jsonb(n) THEN 99 ELSE 0 END)));
    state := given || jsonb_build_object('n', n + 1);
    IF n + 1 < (given->>'steps')::int THEN
        sleep := make_interval(secs => (given->'sleeps'->>n)::float8);
    END IF;
END
$$;
"""

SOME = ("SELECT id FROM evsched.event WHERE queue = %s AND payload ? 'steps'"
        " ORDER BY random() LIMIT 1")


class Stepper:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queues = queues
        self.orders = session.orders
        self.posted = 0
        self.ways = [self.post] * 14 + [self.cancel] * 2 + [self.move] * 3

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 10, 3, 3])[0]
        self.session.transact(self.work, end)
        time.sleep(self.random.uniform(0, 0.6))
        (backlog,), = self.session.run(
            "SELECT count(*) FROM evsched.event WHERE command IS NOT NULL")
        if backlog > BACKLOG:
            time.sleep(self.random.uniform(0.5, 1.5))

    def work(self, facts):
        self.random.choice(self.ways)(facts, self.random.choice(self.queues))

    def post(self, facts, pool):
        self.posted += 1
        dice, steps = self.random, self.random.choice([1, 3, 3, 8])
        naps = [0, 0, 0.005] if pool == "active" else [0, 0, 0.02, 0.2]
        spec = {"version": f"{self.session.prefix}:{self.posted}", "pool": pool,
                "steps": steps, "naps": [dice.choice(naps) for _ in range(steps)],
                "sleeps": [dice.choice([-1, 0, 0, 0.01, 0.1, 0.5]) for _ in range(steps)],
                "fails": dice.choice([None] * 5 + [dice.randrange(steps)]),
                "lock": dice.choice([None] * 6 + [dice.randrange(3)])}
        role = dice.choice(scene.ROLES)
        self.session.run(f"SET LOCAL ROLE {role}")
        began = time.time()
        (event,), = self.session.run("SELECT evsched.coroutine('torture.step', %s, %s)",
                                     (json.dumps({**spec, "n": 0}), pool))
        self.session.run("RESET ROLE")
        facts.append(["coroutine", event, spec["version"], pool, spec, role, began])

    def some(self, pool):
        rows = self.session.run(SOME, (pool,))
        return rows[0][0] if rows else None

    def cancel(self, facts, pool):
        event, began = self.some(pool), time.time()
        (done,), = self.session.run("SELECT evsched.cancel(%s::bigint)", (event,))
        facts.append(["cancel", event, done, began])

    def move(self, facts, pool):
        event, delay = self.some(pool), self.random.choice([0, 0, 0.1, 0.5])
        began = time.time()
        (done,), = self.session.run(
            "SELECT evsched.reschedule(%s, make_interval(secs => %s))", (event, delay))
        facts.append(["move", event, done, began + delay, time.time() + delay, began])

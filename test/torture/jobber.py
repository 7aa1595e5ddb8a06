"""Posts jobs in every way there is; workshop.py tells what they do."""
import json
import time

import psycopg2

import scene
import workshop
from poster import Poster

BACKLOG = 60        # jobs that may wait


class Jobber(Poster):
    def __init__(self, session, queues):
        super().__init__(session, queues)
        self.ways = [self.enqueue] * 12 + [self.after] * 8 + [self.with_key] * 6 + \
            [self.again] * 3 + [self.in_two] * 3 + [self.sweep] + [self.slow] + \
            [self.with_body] * 4

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 10, 3, 3])[0]
        self.session.transact(self.work, end)
        time.sleep(self.random.uniform(0, 0.3))
        self.wait_for_others()

    def wait_for_others(self):
        (backlog,), = self.session.run(
            "SELECT count(*) FROM evsched.event WHERE command IS NOT NULL")
        if backlog > BACKLOG:
            time.sleep(self.random.uniform(0.5, 1.5))

    def spec(self, pool, **more):
        """What a new job is to do."""
        self.posted += 1
        spec = {"version": f"{self.session.prefix}:{self.posted}", "pool": pool, "again": 0,
                "fails": self.random.choice([0, 0, 0, 1, 2, 5]),
                "sleep": self.nap(pool), "job": True, **more}
        if self.random.random() < 0.15:
            spec["lock"] = self.random.randrange(3)
        return spec

    def nap(self, pool):
        naps = [0, 0, 0, 0.01] if pool == "active" else [0, 0, 0.01, 0.1, 0.1, 0.5]
        return self.random.choice(naps) * self.random.random()

    def give(self, facts, pool, command, spec, how="enqueue", delay=0, role=None, key=None,
             retries=None, conflict="replace", timeout=None):
        """Posts it as one of the roles."""
        role = role or self.random.choice(scene.ROLES)
        if retries is None:
            retries = self.random.choice([0, 3])
        wait = self.random.choice(["0", "20 ms", "100 ms", None])
        args = (json.dumps(spec), key, retries, conflict, wait, timeout)
        named = "payload => %s, key => %s, max_retries => %s, on_conflict => %s," \
            " retry_delay => %s, run_timeout => %s"
        self.session.run(f"SET LOCAL ROLE {role}")
        began = time.time()
        if how == "enqueue":
            sql, first = "enqueue(%s, %s", (command, pool)
        elif how == "after":
            sql, first = "after(make_interval(secs => %s), %s, pool => %s", (delay, command, pool)
        else:
            sql, first = f"{how}(%s, %s", (command, workshop.BODY)
        (event,), = self.session.run(f"SELECT evsched.{sql}, {named})", (*first, *args))
        facts.append(["job", event, spec["version"], pool, key, retries, spec, role,
                      began + delay, time.time() + delay, conflict if key else "new", began])
        self.session.run("RESET ROLE")

    def enqueue(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, self.random.choice([workshop.PLAIN] * 3 + [workshop.SPLIT]),
                  self.spec(pool))

    def after(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, workshop.PLAIN, self.spec(pool), "after", self.delay())

    def with_key(self, facts):
        """In a part of a transaction that may fail: 'error' may find the key held."""
        pool, key = self.random.choice(self.queues), self.random.choice(scene.JOB_KEYS)
        conflict = self.random.choice(["replace", "replace", "replace", "keep", "error"])
        spec = self.spec(pool, fails=self.random.choice([0, 0, 1]))
        self.session.run("SAVEPOINT key")
        try:
            self.give(facts, pool, workshop.PLAIN, spec, "after", self.delay(),
                      scene.role_of_key(key), key, 3, conflict)
        except psycopg2.Error as error:
            if error.pgcode != "23505" or conflict != "error":
                raise
            self.session.run("ROLLBACK TO key")

    def again(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, workshop.PLAIN, self.spec(pool, again=self.random.choice([1, 4])))

    def in_two(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, workshop.IN_TWO, self.spec(pool, parts=True))

    def sweep(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, workshop.SWEEP, self.spec(pool, parts=True), role="postgres")

    def slow(self, facts):
        pool = self.random.choice(self.queues)
        self.give(facts, pool, workshop.PLAIN, self.spec(pool, slow=True, fails=99),
                  timeout="100 ms")

    def with_body(self, facts):
        how = self.random.choice(["next", "work"])
        pool = {"next": "passive", "work": "work"}[how]
        self.give(facts, pool, workshop.PLAIN, self.spec(pool, op=True), how)

"""Posts series, of messages and of jobs, changes, pauses and ends them; and takes what comes.

A series has a key; what kind it is, follows from that (KINDS).
"""
import json
import time

import scene
import workshop

# of each key: queue, how, schedule or period, missed, overlap
KINDS = [
    (scene.BEAT, "every", "0.2 s", "all", None),
    (scene.BEAT, "cron", "* * * * * *", "once", None),
    (scene.BEAT, "every", "0.3 s", "skip", None),
    ("passive", "every", "0.4 s", "all", "parallel"),
    ("passive", "cron", "*/2 * * * * *", "once", "skip"),
    ("active", "every", "0.7 s", "all", "queue"),
    ("work", "every", "0.5 s", "skip", "skip"),
    ("work", "cron", "* * * * * *", "all", "queue"),
]

PLAN = ("SELECT id, (extract(epoch FROM start_at) * 1000000)::bigint,"
        " (extract(epoch FROM period) * 1000000)::bigint,"
        " (extract(epoch FROM next_at) * 1000000)::bigint"
        " FROM evsched.series WHERE queue = %s AND key = %s")


class Serial:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders
        self.posted = 0
        self.ways = [self.cancel] * 3 + [self.move] * 2 + [self.run_now] * 2 + [self.post] * 2 + \
            [self.pause] * 2

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        number = self.random.randrange(len(KINDS))
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 10, 3, 3])[0]
        self.session.transact(lambda facts: self.work(facts, number), end)
        time.sleep(self.random.uniform(0, 2))

    def work(self, facts, number):
        queue, key = KINDS[number][0], f"{self.session.name}.{number}"
        found = self.session.run(PLAN, (queue, key))
        if not found:
            self.post(facts, number, key, None)
        elif self.random.random() < 0.5:
            self.random.choice(self.ways)(facts, number, key, found[0][0])

    def post(self, facts, number, key, event):
        """Anew, or in the place of the one that is there."""
        queue, how, plan, missed, overlap = KINDS[number]
        self.posted += 1
        retries = 0 if overlap is None else self.random.choice([0, 1])
        spec = {"version": f"{self.session.prefix}:{self.posted}", "pool": queue, "again": 0,
                "fails": self.random.choice([0, retries]),
                "sleep": self.nap(queue, overlap)}
        role = scene.ROLES[number % len(scene.ROLES)]
        began = time.time()
        self.session.run(f"SET LOCAL ROLE {role}")
        if overlap is None:
            self.session.run(
                f"SELECT evsched.post(%s, queue => %s, key => %s, max_retries => 0,"
                f" {how} => %s, missed => %s)", (json.dumps(spec), queue, key, plan, missed))
        else:
            self.session.run(
                f"SELECT evsched.{how}(%s, %s, %s, %s, key => %s, max_retries => %s,"
                " retry_delay => '20 ms', missed => %s, overlap => %s)",
                (plan, workshop.PLAIN, json.dumps(spec), queue, key, retries, missed, overlap))
        self.session.run("RESET ROLE")
        event, *grid = self.session.run(PLAN, (queue, key))[0]
        facts.append(["series", event, spec["version"], queue, key, role, grid, overlap,
                      missed, began])

    def nap(self, queue, overlap):
        """Some take longer than their period; but all of them must fit into their pools."""
        naps = [0, 0.02] if queue == "active" else [0, 0, 0.05]
        return self.random.choice(naps + [0.6] * (overlap == "skip"))

    def cancel(self, facts, number, key, event):
        began = time.time()
        (done,), = self.session.run("SELECT evsched.cancel(%s::bigint)", (event,))
        facts.append(["cancel", event, done, began])

    def move(self, facts, number, key, event):
        """What a period is counted from is another then."""
        began = time.time()
        (done,), = self.session.run("SELECT evsched.change_delay(%s, '0.3 s')", (event,))
        grid = self.session.run(PLAN, (KINDS[number][0], key))
        if done and grid:
            facts.append(["shift", event, grid[0][1:], began])

    def run_now(self, facts, number, key, event):
        began = time.time()
        (done,), = self.session.run("SELECT evsched.run_now(%s::bigint)", (event,))
        if done:
            rows = self.session.run("SELECT id FROM evsched.event WHERE recurring = %s"
                                    " AND planned_at IS NULL", (event,))
            facts.append(["extra", event, [extra for extra, in rows], began])

    def pause(self, facts, number, key, event):
        """Until the next time it is here, or the driver wants to see it alive."""
        self.session.run("SELECT evsched.pause(%s::bigint) OR evsched.resume(%s::bigint)",
                         (event, event))


class Beater:
    """Takes what the series of messages put forth, and writes it down in the same commit."""

    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders

    def begin(self):
        pass

    def step(self):
        draining = self.orders.draining
        end = "commit" if draining else self.random.choices(
            ["commit", "rollback", "prepare", "unprepare"], [80, 14, 3, 3])[0]
        self.session.transact(self.take, end)
        time.sleep(self.random.uniform(0, 0.1))

    def take(self, facts):
        self.session.run(
            "WITH taken AS MATERIALIZED (SELECT * FROM evsched.take(%s, 20))"
            " INSERT INTO torture.beat SELECT recurring, id, payload->>'version', due_at,"
            " clock_timestamp() FROM taken", (scene.BEAT,))
        if self.random.random() < 0.1 and not self.orders.draining:
            time.sleep(self.random.uniform(0, 0.2))

"""Posts events in every way there is; some of it is rolled back, in whole or in part.

The payload of each event names its version: who posted it, and as the how manieth.
"""
import json
import time

import psycopg2

import scene

# Lengths of payloads; those beyond 8000 come by fetch.
PADS = [0] * 12 + [300, 300, 3000, 9000, 30000]

INFINITE = float("inf")


class Poster:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queues = queues
        self.orders = session.orders
        self.posted = 0
        self.steps = 0
        self.ways = [self.post] * 20 + [self.post_at] * 4 + [self.post_many] * 4 + \
            [self.post_key] * 12 + [self.post_keys] * 2 + [self.insert] * 4

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            time.sleep(0.05)
            return
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 10, 3, 3])[0]
        self.session.transact(self.work, end)
        time.sleep(self.random.uniform(0, 0.06))
        self.steps += 1
        if self.steps % 20 == 0:
            self.wait_for_others()

    def wait_for_others(self):
        """Consumers that have been away are not to be drowned."""
        (backlog,), = self.session.run("SELECT count(*) FROM evsched.event")
        if backlog > 1500:
            time.sleep(self.random.uniform(0.5, 1.5))

    def work(self, facts):
        """Some posts, some of them in a savepoint that is rolled back."""
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            way = self.random.choice(self.ways)
            if self.random.random() > 0.1:
                way(facts)
                continue
            part = []
            self.session.run("SAVEPOINT part")
            way(part)
            if self.random.random() < 0.3:
                self.session.run("RELEASE part")
                facts += part
            else:
                self.session.run("ROLLBACK TO part")

    def payload(self):
        """A new version and its payload."""
        self.posted += 1
        pad = self.random.choice(PADS)
        version = f"{self.session.prefix}:{self.posted}:{pad}"
        return version, json.dumps({"version": version, "pad": "x" * pad})

    def delay(self):
        """Seconds, most of them short."""
        past = -1 if self.orders.allow("past") else 0
        return self.random.choice([0, past, self.random.uniform(0, 0.02),
                                   self.random.uniform(0, 0.3), self.random.uniform(0, 0.7)])

    def retry_delay(self):
        return self.random.choice([None, None, "0", "20 ms", "100 ms"])

    def note(self, facts, event, version, queue, key, retries, due, how, began):
        """due: a pair of times between which the event is due."""
        facts.append(["post", event, version, queue, key, retries, *due, how, began])

    def post(self, facts):
        version, payload = self.payload()
        queue, retries = self.random.choice(self.queues), self.random.choice(scene.RETRIES)
        delay, began = self.delay(), time.time()
        (event,), = self.session.run(
            "SELECT evsched.post(%s, make_interval(secs => %s), %s, max_retries => %s,"
            " retry_delay => %s)", (payload, delay, queue, retries, self.retry_delay()))
        self.note(facts, event, version, queue, None, retries,
                  (began + delay, time.time() + delay), "new", began)

    def post_at(self, facts):
        version, payload = self.payload()
        queue, retries = self.random.choice(self.queues), self.random.choice(scene.RETRIES)
        began = time.time()
        due = self.random.choice([began + self.delay(), INFINITE,
                                  -INFINITE if self.orders.allow("past") else began])
        (event,), = self.session.run(
            "SELECT evsched.post_at(%s, to_timestamp(%s), %s, max_retries => %s,"
            " retry_delay => %s)", (payload, due, queue, retries, self.retry_delay()))
        self.note(facts, event, version, queue, None, retries, (due, due), "new", began)

    def post_many(self, facts, keys=None, how="new"):
        queue = self.random.choice(self.queues)
        retries = scene.retries_of_key(keys[0]) if keys else self.random.choice(scene.RETRIES)
        size = len(keys) if keys else self.random.choice([1, 3, 20])
        versions, payloads = zip(*(self.payload() for _ in range(size)))
        delays = [self.delay() for _ in range(size)]
        began = time.time()
        rows = self.session.run(
            "SELECT evsched.post_many(%s::jsonb[],"
            " ARRAY(SELECT make_interval(secs => d) FROM unnest(%s::float8[])"
            " WITH ORDINALITY AS u (d, n) ORDER BY n), %s, %s, %s, %s)",
            (list(payloads), delays, queue, keys, retries, how if keys else None))
        done = time.time()
        for n, (event,) in enumerate(rows):
            self.note(facts, event, versions[n], queue, keys[n] if keys else None, retries,
                      (began + delays[n], done + delays[n]), how, began)

    def post_key(self, facts):
        """In a part of a transaction that may fail: 'error' may find the key held."""
        version, payload = self.payload()
        queue, key = self.random.choice(self.queues), self.random.choice(scene.KEYS)
        how = self.random.choice(["replace", "replace", "replace", "keep", "error"])
        delay = self.delay()
        self.session.run("SAVEPOINT key")
        began = time.time()
        try:
            (event,), = self.session.run(
                "SELECT evsched.post(%s, make_interval(secs => %s), %s, %s, %s, %s)",
                (payload, delay, queue, key, scene.retries_of_key(key), how))
        except psycopg2.Error as error:
            if error.pgcode != "23505" or how != "error":
                raise
            self.session.run("ROLLBACK TO key")
            return
        self.note(facts, event, version, queue, key, scene.retries_of_key(key),
                  (began + delay, time.time() + delay), how, began)

    def post_keys(self, facts):
        first = self.random.choice(scene.KEYS)
        alike = [key for key in scene.KEYS
                 if scene.retries_of_key(key) == scene.retries_of_key(first)]
        self.post_many(facts, alike, self.random.choice(["replace", "keep"]))

    def insert(self, facts):
        """As a bulk load does it."""
        version, payload = self.payload()
        queue, retries = self.random.choice(self.queues), self.random.choice(scene.RETRIES)
        delay, began = self.delay(), time.time()
        (event,), = self.session.run(
            "INSERT INTO evsched.event (queue, due_at, payload, max_retries, retry_delay)"
            " VALUES (%s, clock_timestamp() + make_interval(secs => %s), %s, %s, %s)"
            " RETURNING id", (queue, delay, payload, retries, self.retry_delay()))
        self.note(facts, event, version, queue, None, retries,
                  (began + delay, time.time() + delay), "new", began)

"""Clients that pull: takers, receivers, and those who are told when to take."""
import json
import time

from handling import DELIVERY, Handling
from session import Lost


class Taker:
    """Takes: each event exactly once.  What was taken is written down by the same commit."""

    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queues = queues
        self.orders = session.orders

    def begin(self):
        pass

    def step(self):
        draining = self.orders.draining
        queue = self.random.choice(self.queues)
        end = "commit" if draining else self.random.choices(
            ["commit", "rollback", "prepare", "unprepare"], [70, 14, 4, 4])[0]
        self.take(queue, end)
        time.sleep(self.random.uniform(0, 0.05))

    def take(self, queue, end="commit"):
        """Takes some, and at times rejects what it has not kept; was that all?"""
        wanted = self.random.choice([1, 2, 10, 50])
        ids = []
        def work(facts):
            if self.random.random() < 0.1:
                self.session.run("SAVEPOINT part")
                self.session.run("SELECT id FROM evsched.take(%s, 3)", (queue,))
                self.session.run("ROLLBACK TO part")
            began = time.time()
            rows = self.session.run(
                "WITH taken AS MATERIALIZED (SELECT * FROM evsched.take(%s, %s)),"
                " noted AS (INSERT INTO torture.taken SELECT id FROM taken)"
                f" SELECT {DELIVERY} FROM taken", (queue, wanted))
            for row in rows:
                facts.append(["take", *row, began])
                ids.append(row[0])
            if self.random.random() < 0.1 and not self.orders.draining:
                time.sleep(self.random.uniform(0, 0.2))
        done = self.session.transact(work, end, self.isolation())
        if not done and ids and self.random.random() < 0.3:
            self.reject(ids)
        return done and len(ids) < wanted

    def isolation(self):
        return self.random.choices(["READ COMMITTED", "REPEATABLE READ"], [9, 1])[0]

    def reject(self, ids):
        def work(facts):
            for event in ids[:3]:
                began = time.time()
                (done,), = self.session.run("SELECT evsched.reject(%s, '0')", (event,))
                facts.append(["reject", event, done, began])
        self.session.transact(work)


class Teller(Taker):
    """Joined with max_events 0: told when there is something, and then takes all of it."""

    def __init__(self, session, queues):
        super().__init__(session, queues)
        self.told = False
        session.hear = self.hear

    def begin(self):
        self.told = False
        self.session.ledger.note("join", conn=self.session.id, queue=self.queues[0])
        self.session.run("SELECT evsched.join(%s, %s, 0)", (self.session.name, self.queues[0]))

    def step(self):
        self.session.listen(0.05)
        while self.told:
            self.dawdle()
            end = "rollback" if self.random.random() < 0.1 and not self.orders.draining \
                else "commit"
            # The next notification may come while it takes.
            self.told = False
            if not self.take(self.queues[0], end):
                self.told = True

    def dawdle(self):
        """It may be gone, or asked to go, before it has taken what it was told of."""
        if self.orders.draining:
            return
        if self.random.random() < 0.02:
            self.session.close()
            raise Lost
        if self.random.random() < 0.1:
            time.sleep(self.random.uniform(0, 0.3))

    def hear(self, notification):
        self.told |= json.loads(notification) == []


class Receiver(Handling):
    """Receives: leases that belong to no session."""

    def __init__(self, session, queues):
        super().__init__(session)
        self.queues = queues
        self.orders = session.orders

    def begin(self):
        """What it held before its connection was lost, it still holds."""

    def step(self):
        draining = self.orders.draining
        queue = self.random.choice(self.queues)
        wanted = self.random.choice([1, 5, 30])
        timeout = "5 s" if draining else self.random.choice(
            ["100 ms", "500 ms", "2 s", "1 hour"])
        end = "commit" if draining else self.random.choices(
            ["commit", "rollback", "prepare", "unprepare"], [80, 10, 4, 4])[0]
        rows = []
        def work(facts):
            began = time.time()
            rows[:] = self.session.run(
                f"SELECT {DELIVERY} FROM evsched.receive(%s, %s, %s)", (queue, wanted, timeout))
            facts += [["receive", *row, began] for row in rows]
        if self.session.transact(work, end):
            self.held.update({row[0]: row[4] for row in rows if row[4] != 0})
        self.handle(simply=draining)
        time.sleep(self.random.uniform(0, 0.05 if draining else 0.1))

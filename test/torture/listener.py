"""A listener: joins queues, and does with what it gets all that listeners may do.

It confirms one by one, in a batch, with its work, at once or in two phases, rolls back,
rejects, extends, forgets, leaves and joins again.
"""
import json
import time
from datetime import datetime

from handling import Handling

WAIT = 0.03         # seconds to wait for notifications
HEARTBEAT = 0.5     # an idle listener asks the server something, to know what it has heard


class Listener(Handling):
    def __init__(self, session, queues):
        super().__init__(session)
        self.queues = queues
        self.orders = session.orders
        self.joined = set()
        self.draining = False
        session.hear = self.hear
        self.changes = [self.leave] * 4 + [self.release] * 4 + [self.discard_all] + \
            [self.unlisten] + [self.set_max_events] * 4 + [self.rejoin] * 4 + \
            [self.join_back] * 3

    def begin(self):
        """A new session: nothing is joined, nothing held."""
        self.held.clear()
        self.joined.clear()
        if self.random.random() < 0.1:
            time.sleep(self.random.uniform(0, 1))

    def step(self):
        if self.draining != self.orders.draining:
            self.draining = self.orders.draining
            self.joined.clear()
        for queue in self.queues:
            if queue not in self.joined:
                self.join(queue)
        if not self.draining and self.random.random() < 0.01:
            self.random.choice(self.changes)(self.random.choice(self.queues))
        self.session.listen(WAIT)
        if time.time() - self.session.quiet_at > HEARTBEAT:
            self.session.run("SELECT 1")
        self.handle(simply=self.draining)

    def terms(self):
        """In a drain plenty of credit, and no pressure of time."""
        if self.draining:
            return self.session.name, 50, "5 s", "0"
        return (self.session.name,
                self.random.choice([1, 3, 8, 50]),
                self.random.choice(["150 ms", "300 ms", "1 s", "1 s"]),
                self.random.choice(["0", "0", "5 ms", "40 ms"]))

    def join(self, queue, end="COMMIT"):
        node, *terms = self.terms()
        self.session.run("BEGIN")
        self.session.run("SELECT evsched.join(%s, %s, %s, %s, %s)", (node, queue, *terms))
        if end == "COMMIT":
            self.session.ledger.note("join", conn=self.session.id, queue=queue)
            self.joined.add(queue)
        self.session.run(end)

    def rejoin(self, queue):
        self.join(queue)

    def join_back(self, queue):
        self.join(queue, "ROLLBACK")

    def leave(self, queue):
        """What it holds stays held."""
        self.gone([queue])
        self.session.run("SELECT evsched.leave(%s)", (queue,))

    def release(self, queue):
        """What it holds, or is being sent, is given back uncounted."""
        self.gone([queue])
        def work(facts):
            began = time.time()
            self.session.run("SELECT evsched.leave(%s, release => true)", (queue,))
            facts.append(["release", queue, began])
        self.session.transact(work, self.random.choice(["commit", "commit", "rollback"]))

    def discard_all(self, queue):
        self.gone(self.queues)
        self.session.run("DISCARD ALL")
        self.session.run("SET synchronous_commit = on")

    def unlisten(self, queue):
        self.gone(self.queues)
        self.session.run("UNLISTEN *")

    def set_max_events(self, queue):
        self.session.run("SELECT evsched.set_max_events(%s, %s)",
                         (self.random.choice([0, 1, 5, 20]), queue))

    def gone(self, queues):
        """What it is sent from now on, it may not get."""
        for queue in queues:
            self.session.ledger.note("leave", conn=self.session.id, queue=queue)
            self.joined.discard(queue)

    def hear(self, notification):
        """Notes each event of a notification, and what was quiet before it came."""
        for event in json.loads(notification):
            now = time.time()
            if event.get("fetch"):
                self.to_fetch[event["id"]] = now
                self.session.ledger.note("got", conn=self.session.id, id=event["id"],
                                         fetch=True, quiet=self.session.quiet_at)
                continue
            due = event["due_at"]
            due = float(due) if due == "-infinity" else datetime.fromisoformat(due).timestamp()
            self.session.ledger.note(
                "got", conn=self.session.id, id=event["id"], queue=event["queue"],
                key=event["key"], version=self.version_of(event["payload"]),
                due=due, max=event["max_retries"], n=event["num_retries"],
                quiet=self.session.quiet_at)
            if event["max_retries"] != 0:
                self.held[event["id"]] = event["max_retries"]

"""Somebody who changes and looks at events that others deal with."""
import time

import scene

# One event of a queue that there is just now; NULL when it has none.
SOME = ("(SELECT id FROM evsched.event WHERE queue = %s AND id >= (SELECT min(id) + (random() *"
        " (max(id) - min(id)))::bigint FROM evsched.event WHERE queue = %s) ORDER BY id LIMIT 1)")


class Meddler:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queues = queues
        self.orders = session.orders
        self.ways = [self.cancel] * 8 + [self.confirm] * 3 + [self.move] * 12 + \
            [self.reject] * 3 + [self.cancel_key] * 4 + [self.confirm_key] * 2 + \
            [self.move_key] * 4 + [self.peek] * 4 + [self.upcoming] * 4 + [self.redrive] * 2 + \
            [self.discard] + [self.look] * 2 + [self.extend] * 2

    def begin(self):
        pass

    def step(self):
        if not self.orders.allow("meddle"):
            time.sleep(0.05)
            return
        if self.random.random() < 0.003:
            self.session.run("VACUUM evsched.event")
        end = self.random.choices(["commit", "rollback", "prepare", "unprepare"],
                                  [80, 12, 4, 4])[0]
        self.session.transact(self.work, end)
        time.sleep(self.random.uniform(0, 0.15))

    def work(self, facts):
        self.random.choice(self.ways)(facts, self.random.choice(self.queues))
        if self.random.random() < 0.05:
            time.sleep(self.random.uniform(0, 0.4))

    def some(self, queue):
        (event,), = self.session.run(f"SELECT {SOME}", (queue, queue))
        return event

    def key(self):
        return self.random.choice(scene.KEYS)

    def delay(self):
        return self.random.uniform(-0.1 if self.orders.allow("past") else 0, 0.4)

    def call(self, facts, fact, sql, args, delay=None):
        """A call that answers true or false; delay: when the event is due then."""
        began = time.time()
        (done,), = self.session.run(sql, args)
        due = [] if delay is None else [began + delay, time.time() + delay]
        facts.append([*fact, done, *due, began])

    def cancel(self, facts, queue):
        event = self.some(queue)
        self.call(facts, ["cancel", event], "SELECT evsched.cancel(%s::bigint)", (event,))

    def confirm(self, facts, queue):
        event = self.some(queue)
        self.call(facts, ["confirm", event], "SELECT evsched.confirm(%s::bigint)", (event,))

    def reject(self, facts, queue):
        event = self.some(queue)
        self.call(facts, ["reject", event], "SELECT evsched.reject(%s)", (event,))

    def move(self, facts, queue):
        event, delay = self.some(queue), self.delay()
        self.call(facts, ["move", event],
                  "SELECT evsched.change_delay(%s, make_interval(secs => %s))",
                  (event, delay), delay)

    def cancel_key(self, facts, queue):
        key = self.key()
        self.call(facts, ["cancel_key", queue, key], "SELECT evsched.cancel(%s, %s)",
                  (key, queue))

    def confirm_key(self, facts, queue):
        key = self.key()
        self.call(facts, ["confirm_key", queue, key], "SELECT evsched.confirm(%s, %s)",
                  (key, queue))

    def move_key(self, facts, queue):
        key, delay = self.key(), self.delay()
        self.call(facts, ["move_key", queue, key],
                  "SELECT evsched.change_delay(%s, make_interval(secs => %s), %s)",
                  (key, delay, queue), delay)

    def extend(self, facts, queue):
        self.session.run("SELECT evsched.extend(%s, '200 ms')", (self.some(queue),))

    def saw(self, ids, began):
        self.session.ledger.note("saw", conn=self.session.id, ids=ids, began=began)

    def peek(self, facts, queue):
        event = self.some(queue)
        began = time.time()
        (payload,), = self.session.run("SELECT payload FROM evsched.peek(%s::bigint)", (event,))
        if payload is not None:
            self.saw([event], began)

    def upcoming(self, facts, queue):
        began = time.time()
        rows = self.session.run("SELECT id FROM evsched.upcoming(%s, max_rows => 50)", (queue,))
        self.saw([event for event, in rows], began)

    def look(self, facts, queue):
        """At the views: they must answer, whatever happens meanwhile."""
        began = time.time()
        rows = self.session.run("SELECT id FROM evsched.events WHERE queue = %s", (queue,))
        self.saw([event for event, in rows], began)
        self.session.run("SELECT * FROM evsched.listeners")
        self.session.run("SELECT * FROM evsched.queues")

    def dead(self, queue):
        rows = self.session.run("SELECT id FROM evsched.dead_event WHERE queue = %s"
                                " ORDER BY random() LIMIT 1", (queue,))
        return rows[0][0] if rows else None

    def redrive(self, facts, queue):
        self.revive(facts, "redrive", queue)

    def discard(self, facts, queue):
        self.revive(facts, "discard", queue)

    def revive(self, facts, word, queue):
        """Of one dead event: redriven it is due at once, discarded it is gone."""
        event, began = self.dead(queue), time.time()
        if event is None:
            return
        (count,), = self.session.run(f"SELECT evsched.{word}(ARRAY[%s]::bigint[])", (event,))
        facts.append([word, event, count == 1, began, time.time(), began])

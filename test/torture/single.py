"""One event at a time, on a queue with one listener that is free: a wake-up that is
lost is not made good by the next event.
"""
import json
import time

TOO_LATE = 5        # seconds without an event after which it is given up


class Single:
    def __init__(self, session, queues, orders):
        self.session = session
        self.random = session.random
        self.queue = queues[0]
        self.orders = orders
        self.event = None           # the one that is awaited
        self.got = set()
        session.hear = self.hear

    def begin(self):
        """Whatever the last connection left behind is done away with."""
        self.got.clear()
        self.session.run("SELECT id FROM evsched.take(%s, 100)", (self.queue,))
        self.session.run("SELECT evsched.join('single', %s, 5)", (self.queue,))

    def step(self):
        if self.orders.draining:
            self.session.run("SELECT id FROM evsched.take(%s, 100)", (self.queue,))
            time.sleep(0.05)
            return
        delay = self.random.choice([0, 0, 0.001, 0.003, 0.02])
        began = time.time()
        (self.event,), = self.session.run(
            "SELECT evsched.post('1', make_interval(secs => %s), %s, max_retries => -1)",
            (delay, self.queue))
        while self.event not in self.got and time.time() - began < delay + TOO_LATE:
            self.session.listen(0.05)
        self.session.ledger.note("waited", began=began, id=self.event,
                                 heard=self.event in self.got)
        self.session.run("SELECT evsched.confirm(%s::bigint)", (self.event,))
        self.got.clear()
        time.sleep(self.random.uniform(0, 0.02))

    def hear(self, notification):
        self.got |= {event["id"] for event in json.loads(notification)}

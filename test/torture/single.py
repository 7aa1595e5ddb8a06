"""Few events at a time, on a queue with one listener that is free: a wake-up that is lost
is not made good by the next event.

Two events each time, the second of which may be committed while the first has its turn.
"""
import json
import time

import psycopg2

TOO_LATE = 5        # seconds without an event after which it is given up
POST = ("SELECT evsched.post('1', make_interval(secs => %s), %s, max_retries => -1)")


class Single:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.queue = queues[0]
        self.orders = session.orders
        self.second = None          # another connection
        self.got = set()
        session.hear = self.hear

    def begin(self):
        """Whatever the last connection left behind is done away with."""
        self.got.clear()
        self.take_all()
        self.session.run("SELECT evsched.join('single', %s, 5)", (self.queue,))
        if self.second is not None:
            self.second.close()
        self.second = self.session.another("second")

    def step(self):
        if self.orders.draining:
            self.session.listen(0.05)
            self.confirm_all()
            self.take_all()
            return
        began = time.time()
        wanted = {self.post(), self.post_second()}
        while not wanted <= self.got and time.time() - began < TOO_LATE:
            self.session.listen(0.05)
        self.session.ledger.note("waited", began=began, id=min(wanted),
                                 heard=wanted <= self.got)
        self.confirm_all()
        time.sleep(self.random.uniform(0, 0.01))

    def confirm_all(self):
        """Also what a connection that was lost has posted at the last moment."""
        ids = list(self.got)
        if ids:
            self.session.run("SELECT evsched.confirm(%s::bigint[])", (ids,))
        self.got.difference_update(ids)

    def take_all(self):
        self.session.run("SELECT id FROM evsched.take(%s, 100)", (self.queue,))

    def delay(self):
        return self.random.choice([0, 0, 0.001, 0.003, 0.02])

    def post(self):
        (event,), = self.session.run(POST, (self.delay(), self.queue))
        return event

    def post_second(self):
        try:
            with self.second.cursor() as cursor:
                cursor.execute(POST, (self.delay(), self.queue))
                return cursor.fetchone()[0]
        except psycopg2.Error as error:
            self.session.lose(error)

    def hear(self, notification):
        self.got |= {event["id"] for event in json.loads(notification)}

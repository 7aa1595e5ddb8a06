"""Somebody who cancels, reschedules and stops jobs, and looks at them."""
import time

import scene
from meddler import Meddler

SOME = ("SELECT id FROM evsched.event WHERE queue = %s AND payload ? 'job'"
        " ORDER BY due_at > clock_timestamp() + random() * interval '0.3 s', random() LIMIT 1")
RUN = ("SELECT run_id FROM evsched.run WHERE state = 'running' AND pool = %s"
       " ORDER BY random() LIMIT 1")


class Foreman(Meddler):
    def __init__(self, session, queues):
        super().__init__(session, queues)
        self.ways = [self.cancel] * 8 + [self.move] * 10 + [self.cancel_key] * 3 + \
            [self.move_key] * 3 + [self.stop_run] * 3 + [self.peek] * 2 + [self.look] * 2

    def some(self, queue):
        rows = self.session.run(SOME, (queue,))
        return rows[0][0] if rows else None

    def key(self):
        return self.random.choice(scene.JOB_KEYS)

    def stop_run(self, facts, queue):
        """Acts at once, also when it is rolled back: the records of the runs tell."""
        rows = self.session.run(RUN, (queue,))
        if rows:
            self.session.run("SELECT evsched.stop_run(%s)", rows[0])

    def look(self, facts, queue):
        self.session.run("SELECT count(*) FROM evsched.run WHERE state = 'running'")
        self.session.run("SELECT * FROM evsched.stat_worker")
        self.session.run("SELECT evsched.size(%s)", (queue,))
        self.session.run("SELECT * FROM evsched.check()")
        event = self.some(queue)
        self.session.run("SELECT * FROM evsched.result(%s)", (event,))
        time.sleep(0.05)

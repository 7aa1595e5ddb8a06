"""Those who use the server beside evsched, and get in its way."""
import time

import psycopg2


class Holder:
    """Keeps transactions open: their snapshots let no dead row be removed."""

    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders

    def begin(self):
        pass

    def step(self):
        if self.orders.allow("hold"):
            self.session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            self.session.run("SELECT count(*) FROM evsched.event")
            if self.random.random() < 0.2:
                self.session.run("SELECT FROM evsched.event ORDER BY id LIMIT 5"
                                 " FOR SHARE SKIP LOCKED")
                time.sleep(self.random.uniform(0, 0.5))
            else:
                time.sleep(self.random.uniform(0.5, 6))
            self.session.run("COMMIT")
        time.sleep(self.random.uniform(0, 0.5))


class Finisher:
    """Ends the prepared transactions that nobody else will end."""

    def __init__(self, session, queues):
        self.session = session
        self.random = session.random

    def begin(self):
        pass

    def step(self):
        rows = self.session.run("SELECT gid FROM pg_prepared_xacts"
                                " WHERE prepared < clock_timestamp() - interval '1 s'")
        for gid, in rows:
            how = self.random.choice(["COMMIT", "ROLLBACK"])
            try:
                self.session.run(f"{how} PREPARED %s", (gid,))
            except psycopg2.Error as error:
                if error.pgcode not in ("42704", "55000"):      # somebody else is at it
                    raise
        time.sleep(0.3)


class Deaf:
    """Listens, but stays in a transaction while the notification queue fills up."""

    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders

    def begin(self):
        self.session.run("LISTEN noise")

    def step(self):
        time.sleep(self.random.uniform(0.2, 1))
        if not self.orders.allow("deaf") or self.random.random() < 0.7:
            return
        began = time.time()
        noisy = self.session.another("noise")
        full = False
        try:
            self.session.run("BEGIN")
            self.session.run("SELECT 1")
            full = self.make_noise(noisy)
            time.sleep(self.random.uniform(0, 1.5))
        finally:
            noisy.close()
            self.session.ledger.note("deaf", began=began, full=full)
        self.session.run("COMMIT")

    @staticmethod
    def make_noise(noisy):
        """About 4 MB: more than the settings of the run allow; is the queue itself full?"""
        with noisy.cursor() as cursor:
            for _ in range(25):
                try:
                    cursor.execute("SELECT count(pg_notify('noise', n || repeat('x', 7900)))"
                                   " FROM generate_series(1, 20) n")
                except psycopg2.Error as error:
                    if error.pgcode != "54000":
                        raise
                    return True
        return False

"""A client's connection to the server: it comes back, and its transactions leave a mark.

Each transaction writes its name into a table of its own, torture.mark.  When the
connection breaks during COMMIT, that row tells afterwards, with the server's own
durability, whether it was committed.
"""
import os
import select
import time

import psycopg2
import psycopg2.extensions

# The server ends the session, or is not there.
ENDING = {"57P01", "57P02", "57P03", "57P05"}


class Lost(Exception):
    """The connection is gone."""


class Session:
    def __init__(self, name, ledger, random, orders):
        self.name = name
        self.ledger = ledger
        self.random = random
        self.orders = orders
        self.prefix = f"{name}.{os.getpid()}.{time.time_ns() // 1000000 % 1000000000}"
        self.count = 0
        self.conn = None
        self.id = None
        self.hear = None            # called with each notification
        self.quiet_at = 0           # what was sent before that has been heard

    def connect(self):
        """A new connection; tried for as long as the server is away."""
        while not self.orders.stopped():
            try:
                self.conn = psycopg2.connect(application_name=f"torture {self.name}")
                self.conn.autocommit = True
                self.count += 1
                self.id = f"{self.prefix}.{self.count}"
                # The checkpointer lives exactly as long as shared memory does.
                (generation,), = self.run(
                    "SELECT extract(epoch FROM backend_start)::float8 FROM pg_stat_activity"
                    " WHERE backend_type = 'checkpointer'")
                self.ledger.note("conn", conn=self.id, generation=generation,
                                 pid=self.conn.get_backend_pid())
                self.run("SET synchronous_commit = on")
                return
            except (psycopg2.Error, Lost, ValueError):
                self.close()
                time.sleep(self.random.uniform(0.01, 0.1))
        raise Lost

    def another(self, name):
        """A plain connection beside this one."""
        try:
            conn = psycopg2.connect(application_name=f"torture {name}")
        except psycopg2.Error as error:
            self.lose(error)
        conn.autocommit = True
        return conn

    def close(self):
        if self.conn is not None:
            self.ledger.note("lost", conn=self.id)
            self.conn.close()
        self.conn = None

    def lose(self, error):
        self.close()
        raise Lost from error

    def run(self, sql, args=None):
        """The rows of a statement; raises Lost, or what the server has to say."""
        began = time.time()
        try:
            with self.conn.cursor() as cursor:
                cursor.execute(sql, args)
                rows = cursor.fetchall() if cursor.description else cursor.statusmessage
            self.hear_all()
        except psycopg2.Error as error:
            if self.conn.closed or is_ending(error):
                self.lose(error)
            self.hear_all()
            raise
        if self.conn.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            self.quiet_at = began
        return rows

    def listen(self, seconds):
        """Waits for notifications, but no longer than that."""
        ready, _, _ = select.select([self.conn], [], [], seconds)
        if not ready:
            return
        try:
            self.conn.poll()
        except psycopg2.Error as error:
            self.lose(error)
        self.hear_all()

    def hear_all(self):
        while self.conn.notifies:
            notification = self.conn.notifies.pop(0)
            if self.hear is not None:
                self.hear(notification.payload)

    def transact(self, work, end="commit", isolation="READ COMMITTED"):
        """
        A transaction: work(facts) does things and appends what it was told.  `end` is
        commit, rollback, prepare (and commit) or unprepare.  True: it is committed.
        """
        self.count += 1
        tx = f"{self.prefix}.{self.count}"
        if not self.orders.allow("prepare"):
            end = {"prepare": "commit", "unprepare": "rollback"}.get(end, end)
        facts = []
        note = {"tx": tx, "conn": self.id, "began": time.time(), "facts": facts}
        asked = False
        try:
            self.run(f"BEGIN ISOLATION LEVEL {isolation}")
            work(facts)
            if end == "rollback":
                self.run("ROLLBACK")
                self.ledger.note("rolled", **note)
                return False
            self.run("INSERT INTO torture.mark VALUES (%s)", (tx,))
            self.ledger.note("asked", prepared=end != "commit", **note)
            asked = True
            return self.finish(tx, end)
        except Lost:
            if not asked:
                self.ledger.note("rolled", **note)
            raise
        except psycopg2.Error as error:
            self.complain(error)
            self.run("ROLLBACK")
            if not asked:
                self.ledger.note("rolled", **note)
            return False

    def finish(self, tx, end):
        """Ends a transaction in one of the ways that keep it, or in two steps."""
        if end == "commit":
            done = self.run("COMMIT") == "COMMIT"
        else:
            self.run("PREPARE TRANSACTION %s", (tx,))
            time.sleep(self.random.choice([0, 0, 0.01, 0.2]))
            done = end == "prepare"
            self.run(f"{'COMMIT' if done else 'ROLLBACK'} PREPARED %s", (tx,))
        self.ledger.note("ended", tx=tx, how="committed" if done else "rolled")
        return done

    def transact_at_once(self, call, args, fact):
        """
        A call that answers true or false, as a transaction of one statement.  The answer
        stands in the mark, too, should it not reach us.
        """
        self.count += 1
        tx = f"{self.prefix}.{self.count}"
        began = time.time()
        self.ledger.note("asked", tx=tx, conn=self.id, began=began,
                         facts=[[*fact, None, began]])
        try:
            (answer,), = self.run(
                f"INSERT INTO torture.mark SELECT %s, {call} RETURNING answer", (tx, *args))
        except psycopg2.Error as error:
            self.complain(error)
            self.ledger.note("ended", tx=tx, how="rolled")
            return False
        self.ledger.note("ended", tx=tx, how="committed", answer=answer)
        return answer

    def complain(self, error):
        """A statement has failed; whether it may, is judged in the end."""
        if not is_ending(error):
            self.ledger.note("error", conn=self.id, state=error.pgcode, text=str(error).strip())


def is_ending(error):
    """What libpq says by itself, when the server is gone, has no code."""
    return error.pgcode in ENDING or \
        error.pgcode is None and not isinstance(error, psycopg2.ProgrammingError)

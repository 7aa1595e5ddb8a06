"""Says things, numbered, to a FIFO and on a channel that are watched; watches them anew.

There is one such client at a time, so what it says has an order, that of its ledger.  The
jobs of the watches write what they have been told into torture.heard.  The FIFO outlives
the server: this process holds it open.
"""
import os
import time

CHANNEL = "torture"

SETUP = """
CREATE TABLE torture.heard (event bigint, watch bigint, due timestamptz, said jsonb,
                            at timestamptz);

CREATE FUNCTION torture.heard(version text, said jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM torture.effect('heard', version, 'passive');
    INSERT INTO torture.heard
    SELECT id, recurring, due_at, said, clock_timestamp() FROM evsched.current_event();
    PERFORM pg_sleep(random() * 0.02);
END
$$;
"""

# What the judge reads: what was heard, and what the jobs that have died would have heard.
HEARD = """
SELECT event, watch, said, extract(epoch FROM due)::float8 AS due FROM torture.heard
UNION ALL
SELECT id, recurring, payload, NULL FROM evsched.dead WHERE payload ?| '{data, payload}'
ORDER BY event"""

FRESH = ("SELECT count(DISTINCT said ? 'data') FROM torture.heard"
         " WHERE at > to_timestamp(%s)")


def text_of(prefix, number, pad):
    """What is said: of up to 4 kB, which a pipe takes whole or not at all."""
    return f"{prefix}:{number}:" + "é" * pad


class Watcher:
    def __init__(self, session, queues):
        self.session = session
        self.random = session.random
        self.orders = session.orders
        self.said = 0
        self.watched = 0
        self.draining_since = None
        self.path = os.environ["PGHOST"] + "/pipe"
        if not os.path.exists(self.path):
            os.mkfifo(self.path)
        self.pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.ways = [self.write] * 12 + [self.notify] * 8 + [self.cancel, self.pause]

    def begin(self):
        pass

    def step(self):
        if self.orders.draining:
            self.drain()
            return
        self.draining_since = None
        self.watch_all()
        self.random.choice(self.ways)()
        time.sleep(self.random.uniform(0, 0.2))

    def drain(self):
        """Until something comes that was said when the faults were over."""
        self.draining_since = self.draining_since or time.time()
        if self.session.run(FRESH, (self.draining_since,)) != [(2,)]:
            self.watch_all()
            self.write(1)
            self.notify(1, "commit")
        time.sleep(0.2)

    def watches(self):
        """Those that there are: their ids, and what they watch."""
        return self.session.run("SELECT id, path IS NOT NULL FROM evsched.series"
                                " WHERE path = %s OR channel = %s", (self.path, CHANNEL))

    def watch_all(self):
        for of_path in {True, False} - {of_path for _, of_path in self.watches()}:
            self.session.transact(lambda facts, of_path=of_path: self.watch(facts, of_path))

    def watch(self, facts, of_path):
        self.watched += 1
        version, began = f"{self.session.prefix}:{self.watched}", time.time()
        what, role = ("path", "postgres") if of_path else ("channel", "alice")
        self.session.run(f"SET LOCAL ROLE {role}")
        (event,), = self.session.run(
            f"SELECT evsched.watch_{what}(%s, %s)",
            (self.path if of_path else CHANNEL, f"SELECT torture.heard('{version}', $1)"))
        self.session.run("RESET ROLE")
        facts.append(["watch", event, version, role, began])

    def cancel(self):
        self.change("cancel")

    def pause(self):
        self.change("pause")
        time.sleep(self.random.uniform(0, 0.5))
        self.change("resume")

    def change(self, how):
        """It ends, or rests: nothing is heard of what is notified meanwhile."""
        number, end = self.random.choice([0, 1]), self.random.choice(["commit", "rollback"])

        def work(facts):
            for event, of_path in self.watches():
                if how == "resume" or of_path == number:
                    began = time.time()
                    self.session.run(f"SELECT evsched.{how}(%s::bigint)", (event,))
                    facts.append(["unwatched", began])
        self.session.transact(work, "commit" if how == "resume" else end)

    def pads(self, count):
        return [self.random.choice([0, 0, 0, 10, 300, 1900]) for _ in range(count or
                self.random.choice([1, 1, 3, 30]))]

    def write(self, count=None):
        """As many lines as the pipe takes."""
        pads, first, done = self.pads(count), self.said, 0
        self.said += len(pads)
        told = {"of": "line", "prefix": self.session.prefix, "first": first, "pads": pads}
        self.session.ledger.note("says", **told)
        for pad in pads:
            line = text_of(self.session.prefix, first + done, pad) + "\n"
            try:
                os.write(self.pipe, line.encode())
            except BlockingIOError:
                break
            done += 1
        self.session.ledger.note("says", done=done, **told)

    def notify(self, count=None, end=None):
        pads, first = self.pads(count), self.said
        self.said += len(pads)
        told = {"of": "payload", "prefix": self.session.prefix, "first": first, "pads": pads}

        def work(facts):
            began = time.time()
            for number, pad in enumerate(pads, first):
                self.session.run("SELECT pg_notify(%s, %s)",
                                 (CHANNEL, text_of(self.session.prefix, number, pad)))
            facts.append(["notified", self.session.prefix, first, began])
        self.session.ledger.note("says", **told)
        self.session.transact(work, end or self.random.choice(["commit", "commit", "rollback"]))

"""What has happened, put together from the ledgers: transactions, events, deliveries.

A transaction whose end nobody has told is looked for among the marks that the server
has kept.
"""
from collections import defaultdict
from dataclasses import dataclass, field

NEVER = float("inf")


@dataclass
class Connection:
    name: str
    client: str
    generation: float
    began: float
    ended: float = NEVER
    joined: dict = field(default_factory=dict)      # queue -> since when


@dataclass
class Transaction:
    name: str
    conn: str
    began: float
    facts: list
    asked: float = NEVER
    acked: float = NEVER        # NEVER: nobody was told of its commit
    prepared: bool = False
    how: str = None
    ended: float = NEVER        # when its end was known


@dataclass
class Post:
    """One version of an event."""
    event: int
    version: str
    queue: str
    key: str
    max: int
    low: float                  # due between these
    high: float
    how: str
    tx: Transaction


@dataclass
class Job:
    """One version of a job."""
    event: int
    version: str
    pool: str
    key: str
    max: int
    spec: dict                  # what it is to do: workshop.py
    role: str
    low: float                  # due between these
    high: float
    how: str
    tx: Transaction


@dataclass
class Series:
    """One version of a series."""
    event: int
    version: str
    queue: str
    key: str
    role: str
    grid: list                  # origin, period, first: microseconds
    overlap: str                # of messages: None
    missed: str
    tx: Transaction


@dataclass
class Coroutine:
    """A coroutine, and what its steps are to do: stepper.py."""
    event: int
    version: str
    pool: str
    spec: dict
    role: str
    tx: Transaction


@dataclass
class Call:
    """A call that runs rules, or loads them: ruler.py."""
    name: str
    set: str
    began: float
    word: str = None            # None: nothing is known of how it went
    ran: list = None            # (rule, slot), as it was told
    answered: float = NEVER
    tx: Transaction = None


@dataclass
class Watch:
    event: int
    version: str
    role: str
    tx: Transaction


@dataclass
class Delivery:
    """An event has been handed to a client."""
    word: str                   # got, take, receive or fetch
    event: int
    version: str
    n: int
    due: float
    max: int
    queue: str
    at: float                   # when the client had it
    since: float                # it cannot have been on its way before that
    conn: Connection
    tx: Transaction = None


@dataclass
class End:
    word: str
    tx: Transaction
    call: float


@dataclass
class Event:
    posts: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    moves: list = field(default_factory=list)       # (low, high, call, tx)
    revivals: list = field(default_factory=list)    # the same, of redrive
    touches: list = field(default_factory=list)     # (what, call) that found it there
    rejects: int = 0
    deliveries: list = field(default_factory=list)
    jobs: list = field(default_factory=list)
    series: list = field(default_factory=list)
    shifts: list = field(default_factory=list)      # of a series: grids
    coroutine: Coroutine = None


class Book:
    def __init__(self, lines, marks):
        """lines: (client, line) of all ledgers, each ledger in its order."""
        self.connections = {}
        self.transactions = {}
        self.events = defaultdict(Event)
        self.versions = {}
        self.rolled_versions = {}
        self.keys = defaultdict(lambda: {"ends": 0, "moves": []})
        self.losses = []            # (queue, from, to): a listener may have missed something
        self.releases = []          # (connection, queue, tx)
        self.faults = []            # what the driver did: its lines
        self.deaf = []
        self.waits = []
        self.errors = []
        self.extras = set()         # (series, event) of run_now
        self.calls = {}             # of rules, by their names
        self.watches = {}
        self.sayings = {}           # lines of watcher.py, by writer and first number
        self.unwatched = []         # transactions that change what is watched
        self.maps = {}              # lines of mapper.py, by their marks
        self.marks = marks
        self.acked = []             # names of those whose commit was acknowledged
        self.rolled = []
        current, asking = {}, {}
        self.seen = {}              # when a client has noted something last
        for client, line in lines:
            if client in asking:
                asking.pop(client)["over"] = line["at"]
            if line["word"] == "mapped" and line["rows"] is None:
                asking[client] = line
            getattr(self, "read_" + line["word"])(client, line, current)
            self.seen[client] = line["at"]
        self.settle()

    # One function for each word of a ledger.

    def read_start(self, client, line, current):
        """Whatever connection it had before is lost, nobody knows since when."""
        if client in current:
            self.lose(current.pop(client), line["at"], self.seen[client])

    def read_conn(self, client, line, current):
        current[client] = self.connections[line["conn"]] = Connection(
            line["conn"], client, line["generation"], line["at"])

    def read_lost(self, client, line, current):
        if line["conn"] in self.connections:
            self.lose(self.connections[line["conn"]], line["at"])
            current.pop(client, None)

    def read_join(self, client, line, current):
        self.connections[line["conn"]].joined[line["queue"]] = line["at"]

    def read_leave(self, client, line, current):
        self.losses.append((line["queue"], line["at"], line["at"]))

    def read_got(self, client, line, current):
        conn = self.connections[line["conn"]]
        self.events[line["id"]].deliveries.append(Delivery(
            "got", line["id"], line.get("version"), line.get("n"), line.get("due"),
            line.get("max"), line.get("queue"), line["at"], line["quiet"], conn))

    def read_asked(self, client, line, current):
        self.transactions[line["tx"]] = Transaction(
            line["tx"], line["conn"], line["began"], line["facts"], asked=line["at"],
            prepared=line.get("prepared", False))

    def read_ended(self, client, line, current):
        tx = self.transactions[line["tx"]]
        tx.how = line["how"]
        (self.acked if tx.how == "committed" else self.rolled).append(tx.name)
        tx.ended = line["at"]
        if tx.how == "committed":
            tx.acked = line["at"]
        if "answer" in line:
            tx.facts[0][-2] = line["answer"]

    def read_rolled(self, client, line, current):
        self.rolled.append(line["tx"])
        self.transactions[line["tx"]] = Transaction(
            line["tx"], line["conn"], line["began"], line["facts"], asked=line["at"],
            how="rolled", ended=line["at"])

    def read_saw(self, client, line, current):
        for event in line["ids"]:
            self.events[event].touches.append(("seen", line["began"]))

    def read_error(self, client, line, current):
        self.errors.append((client, line))

    def read_fault(self, client, line, current):
        self.faults.append(line)

    def read_deaf(self, client, line, current):
        self.deaf.append(line)

    def read_waited(self, client, line, current):
        self.waits.append(line)

    def read_called(self, client, line, current):
        self.calls[line["call"]] = Call(line["call"], line["set"], line["began"])

    def read_mapped(self, client, line, current):
        """What is asked first, and then what has come of it."""
        if line["rows"] is None:
            self.maps[line["mark"]] = line
        else:
            self.maps[line["mark"]]["rows"] = line["rows"]

    def read_says(self, client, line, current):
        self.sayings.setdefault((line["prefix"], line["first"]), {}).update(line)

    def lose(self, conn, at, since=None):
        conn.ended = at
        for queue in conn.joined:
            self.losses.append((queue, since or at, at))

    # What the transactions have said, now that it is known which were committed.

    def settle(self):
        for tx in self.transactions.values():
            self.settle_transaction(tx)

    def settle_transaction(self, tx):
        if tx.how is None:
            tx.how = "committed" if tx.name in self.marks else "rolled"
            if tx.facts and tx.facts[0][-2] is None and tx.how == "committed":
                tx.facts[0][-2] = self.marks[tx.name]
        for word, *what, call in tx.facts:
            handle = getattr(self, "settle_" + word)
            if word in ("take", "receive", "fetch", "rules", "tried", "loaded",
                        "notified"):
                handle(tx, word, *what, call)
            elif word in ("post", "job", "series", "coroutine", "watch"):
                handle(tx, *what)
            elif tx.how == "committed":
                handle(tx, *what, call)

    def settle_post(self, tx, event, version, queue, key, retries, low, high, how):
        post = Post(event, version, queue, key, retries, low, high, how, tx)
        if tx.how == "committed":
            self.events[event].posts.append(post)
            self.versions[version] = post
        else:
            self.rolled_versions[version] = post

    def settle_job(self, tx, event, version, *rest):
        job = Job(event, version, *rest, tx)
        if tx.how == "committed":
            self.events[event].jobs.append(job)
            self.versions[version] = job
        else:
            self.rolled_versions[version] = job

    def settle_series(self, tx, event, version, *rest):
        series = Series(event, version, *rest, tx)
        if tx.how == "committed":
            self.events[event].series.append(series)
            self.versions[version] = series
        else:
            self.rolled_versions[version] = series

    def settle_coroutine(self, tx, event, version, *rest):
        coroutine = Coroutine(event, version, *rest, tx)
        if tx.how == "committed":
            self.events[event].coroutine = self.versions[version] = coroutine
        else:
            self.rolled_versions[version] = coroutine

    def settle_watch(self, tx, event, version, role):
        watch = Watch(event, version, role, tx)
        if tx.how == "committed":
            self.watches[event] = self.versions[version] = watch
            self.unwatched.append(tx)
        else:
            self.rolled_versions[version] = watch

    def settle_unwatched(self, tx, call):
        self.unwatched.append(tx)

    def settle_notified(self, tx, word, prefix, first, call):
        self.sayings[prefix, first]["tx"] = tx

    def settle_call(self, tx, word, name, call, ran, answered, began):
        self.calls[call] = Call(call, name, began, word, ran, answered, tx)

    settle_rules = settle_tried = settle_loaded = settle_call

    def settle_extra(self, tx, series, occurrences, call):
        self.extras |= {(series, occurrence) for occurrence in occurrences}

    def settle_shift(self, tx, event, grid, call):
        self.events[event].shifts.append(grid)

    def settle_delivery(self, tx, word, event, version, n, due, retries, queue, _, call):
        conn = self.connections[tx.conn]
        self.events[event].deliveries.append(Delivery(
            word, event, version, n, due, retries, queue, tx.asked, call, conn, tx))
        if tx.how == "committed" and (word == "take" or retries == 0):
            self.events[event].ends.append(End(word, tx, call))

    settle_take = settle_receive = settle_fetch = settle_delivery

    def settle_end(self, tx, word, event, done, call):
        if done:
            self.events[event].ends.append(End(word, tx, call))

    def settle_confirm(self, tx, event, done, call):
        self.settle_end(tx, "confirm", event, done, call)

    def settle_cancel(self, tx, event, done, call):
        self.settle_end(tx, "cancel", event, done, call)

    def settle_discard(self, tx, event, done, low, high, call):
        self.settle_end(tx, "discard", event, done, call)

    def settle_reject(self, tx, event, done, call):
        if done:
            self.events[event].rejects += 1
            self.events[event].touches.append(("rejected", call))

    def settle_move(self, tx, event, done, low, high, call):
        if done:
            self.events[event].moves.append((low, high, call, tx))
            self.events[event].touches.append(("moved", call))

    def settle_redrive(self, tx, event, done, low, high, call):
        if done:
            self.events[event].revivals.append((low, high, call, tx))
            self.events[event].touches.append(("redriven", call))

    def settle_cancel_key(self, tx, queue, key, done, call):
        self.keys[queue, key]["ends"] += done

    settle_confirm_key = settle_cancel_key

    def settle_move_key(self, tx, queue, key, done, low, high, call):
        if done:
            self.keys[queue, key]["moves"].append((low, high, call, tx))

    def settle_release(self, tx, queue, call):
        self.releases.append((self.connections[tx.conn], queue, tx))

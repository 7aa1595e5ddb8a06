#!/usr/bin/python3
"""The fault run: clients that use evsched, faults that hit them, and what is left of it.

    run.py [MINUTES]

Inside scripts/stage, called by scripts/torture.  SEED repeats the dice, though not the
moments.  Prints a verdict a line, `ok - ...` or `not ok - ...`; status 0 when all hold.

It goes in rounds: clients do their parts (scene.py) and faults strike, then everybody only
finishes what there is, and no event and no lease may be left.  What the clients have been
told stands in ledgers outside the server (ledger.py), which are put together (book.py) and
held against the promises (judge.py) in the end.

What it cannot see: a loss of power, for what is written stays in the memory of the machine;
that an event with max_retries 0 was lost, when a session it may have been sent to was lost
as well; a late event that comes after all, but for the queue of single.py; what becomes of
an event with a key that was changed by its key, other than by count; order; that somebody's
jobs wait for long, while those of others that were due later are run; what is said to a watch
while the scheduler is hit, but that it goes on afterwards.
"""
import glob
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager

import psycopg2

import doctor
import ledger
import mapper
import ruler
import scene
import serverlog
import stepper
import watcher
import workshop
from book import Book
from clients import Clients
from fault import Fault
from jobjudge import LOST_OFTEN, JobJudge
from judge import Judge
from ledger import Ledger
from orders import Orders
from rulejudge import RuleJudge
from server import Server, wait_until
from session import Lost, Session
from stepjudge import MapJudge, StepJudge
from watchjudge import WatchJudge

DRAIN_PATIENCE = 60     # seconds until every queue must be empty once the faults are over
MAX_TOLD = 10           # complaints printed of a verdict

# Of evsched.event, what stands for a watch: it is there until the end.
WATCHES = "EXISTS (SELECT FROM evsched.series s WHERE s.id = event.id AND" \
    " (s.channel IS NOT NULL OR s.path IS NOT NULL))"


class Run:
    def __init__(self, minutes, seed):
        self.minutes = minutes
        self.random = random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix="torture.", dir=os.environ.get("EVSCHED_SCRATCH"))
        self.failed = 0
        self.settings = self.choose_settings()
        self.clients = Clients(self.folder, seed)
        self.server = Server(self.folder, self.settings)
        self.session = Session("driver", Ledger(f"{self.folder}/driver.ledger"), self.random,
                               Orders(None))
        self.rounds = 0
        self.stuck = []
        self.fault = Fault(self.server, self.session, self.clients)
        self.ask = self.fault.ask

    def choose_settings(self):
        """Some are small at times, so that what is beyond them is met, too."""
        dice = self.random
        settings = {
            "shared_preload_libraries": "evsched",
            "log_line_prefix": "'%m %b[%p] %q%a '",
            "fsync": "off",
            "restart_after_crash": "on",
            "max_connections": 60,
            "max_prepared_transactions": 30,
            "max_worker_processes": dice.choice([8, 24, 24]),
            "checkpoint_timeout": "30s",
            "deadlock_timeout": "100ms",
            "autovacuum_naptime": "5s",
            "evsched.write_timeout": "1s",
            "evsched.max_listeners": 64,
            "evsched.max_notify_usage": 0.0001,         # of 8 GB, which nobody can fill
            "evsched.max_lost_runs": LOST_OFTEN,
            "evsched.max_workers": dice.choice([4, 64, 64]),
            "evsched.max_role_workers": dice.choice([0, 0, 2]),
            "evsched.worker_idle_timeout": dice.choice(["100ms", "2s", "1min"]),
            "evsched.max_watch_rate": dice.choice([20, 1000]),
            "evsched.max_catch_up": 100000,
            "evsched.history_keep": 10000000,
            "evsched.history_rows": 10000000,
            "evsched.max_queues": dice.choice([3, 4096, 4096]),
            "evsched.max_leases": dice.choice([100, 2000]),
            "evsched.max_unconfirmed_bytes": dice.choice(["16kB", "128kB"])}
        if int(os.environ.get("PGV", "15")) >= 17:
            settings["max_notify_queue_pages"] = 64     # can be filled for real
            settings["evsched.max_notify_usage"] = dice.choice([0.05, 0.25])
        return settings

    # The run.

    def prepare(self):
        self.ask("CREATE EXTENSION evsched")
        self.ask("CREATE SCHEMA torture")
        self.ask("CREATE TABLE torture.mark (tx text PRIMARY KEY, answer boolean)")
        self.ask("CREATE TABLE torture.taken (id bigint)")
        self.ask("CREATE TABLE torture.work (id bigint)")
        for part in (workshop, stepper, mapper, ruler, watcher):
            self.ask(part.SETUP)
        for role in scene.ROLES[1:]:
            self.ask(workshop.GRANTS.format(role=role))
        self.ask(f"SET ROLE {scene.HANDLED}")
        self.ask(workshop.HANDLER)
        self.ask("RESET ROLE")
        ruler.setup(self.ask)
        self.fault.resize_pools()

    def torment(self):
        """One round after another, until the time is over or something is stuck."""
        for name in scene.CLIENTS:
            self.clients.start(name)
        end = time.monotonic() + 60 * self.minutes
        while time.monotonic() < end and not self.stuck:
            try:
                self.play(min(end, time.monotonic() + self.random.uniform(5, 15)))
                self.drain()
            except TimeoutError as error:
                self.stuck.append((None, f"in round {self.rounds + 1}: {error}"))
            self.rounds += 1

    def play(self, end):
        """Clients do their parts, and there are faults, as the dice have it."""
        whims = scene.choose_whims(self.random)
        self.clients.tell("play", *whims)
        while time.monotonic() < end:
            time.sleep(self.random.choice([0.2, 1, 2, 3]) * self.random.random())
            self.clients.respawn()
            self.fault.strike(whims)

    def drain(self):
        """Nobody begins anything new: what there is, must come to its end."""
        self.clients.tell("drain")
        try:
            self.see_alive()
            wait_until(self.is_drained, "the queues to be empty", DRAIN_PATIENCE)
            wait_until(self.nothing_held, "all leases to be over", DRAIN_PATIENCE)
        except TimeoutError as error:
            self.stuck += [(None, f"in round {self.rounds + 1}: {error}"), *self.show_stuck()]

    def see_alive(self):
        """Each series that is there puts something forth, and is not paused."""
        began = time.time()
        def dormant():
            return [number for number, in self.ask(
                "SELECT id FROM evsched.series s WHERE NOT EXISTS"
                " (SELECT FROM torture.effect WHERE series = s.id AND began > to_timestamp(%s))"
                " AND NOT EXISTS"
                " (SELECT FROM torture.beat WHERE series = s.id AND at > to_timestamp(%s))",
                (began, began))]
        def all_alive():
            self.ask("SELECT evsched.resume(id) FROM evsched.series WHERE paused")
            return not dormant()
        try:
            wait_until(all_alive, "all series to put something forth", DRAIN_PATIENCE)
        except TimeoutError as error:
            self.stuck += [(None, f"in round {self.rounds + 1}: {error}")]
            self.stuck += [(number, "is a series that puts nothing forth")
                           for number in dormant()]

    def is_drained(self):
        """
        Series are cancelled, but watches, as is what would never become due, and what is
        held for long is confirmed: whoever was to do it may have been killed.
        """
        for event, in self.ask("SELECT id FROM evsched.series"
                               " WHERE channel IS NULL AND path IS NULL UNION"
                               " SELECT id FROM evsched.event WHERE due_at = 'infinity'"
                               f" AND NOT {WATCHES}"):
            self.end_event("cancel", event)
        for event, in self.ask("SELECT id FROM evsched.events WHERE command IS NULL AND"
                               " deadline > clock_timestamp() + interval '1 min'"):
            self.end_event("confirm", event)
        return self.count("pg_prepared_xacts") + \
            self.count(f"evsched.event WHERE NOT {WATCHES}") == 0

    def end_event(self, word, event):
        def work(facts):
            began = time.time()
            (done,), = self.session.run(f"SELECT evsched.{word}(%s::bigint)", (event,))
            facts.append([word, event, done, began])
        try:
            self.session.transact(work)
        except Lost:
            pass

    def nothing_held(self):
        return self.ask("SELECT coalesce(sum(unconfirmed), 0) FROM evsched.queues")[0][0] == 0

    def count(self, table):
        return self.ask(f"SELECT count(*) FROM {table}")[0][0]

    def show_stuck(self):
        for row in self.ask("SELECT id, queue, state, due_at, num_retries, max_retries,"
                            " node, pid, deadline, clock_timestamp()"
                            " FROM evsched.events ORDER BY due_at LIMIT 20"):
            yield row[0], "is stuck: " + ", ".join(map(str, row))
        for table in ("evsched.queues", "evsched.stat_worker",
                      "evsched.run WHERE state = 'running'"):
            for row in self.ask(f"SELECT * FROM {table}"):
                yield None, f"{table}: " + ", ".join(map(str, row))

    def nothing_leaks(self):
        """Every slot there is can be used again."""
        wait_until(lambda: self.count("evsched.listeners") == 0, "the listeners to be gone")
        most = self.settings["evsched.max_listeners"]
        self.ask("SELECT count(evsched.join('last', 'last' || n))"
                 " FROM generate_series(1, %s) n", (most,))
        if self.count("evsched.listeners") != most:
            yield None, "not all places of listeners can be had"
        self.ask("UNLISTEN *")
        most = self.settings["evsched.max_leases"]
        self.ask("SELECT evsched.post_many(array_fill('1'::jsonb, ARRAY[%s]), queue => 'last',"
                 " max_retries => 1)", (most,))
        (got,), = self.ask("SELECT count(*) FROM evsched.receive('last', %s)", (most + 1,))
        if got != most:
            yield None, f"of {most} leases {got} can be had"
        self.ask("SELECT evsched.confirm(array_agg(id)) FROM evsched.event")

    def goes_quiet(self):
        wait_until(self.fault.is_idle, "the scheduler to sleep", 20)
        return ()

    def back(self):
        self.fault.wait_back()
        return ()

    # The verdicts.

    def verdict(self, name, complaints):
        """Prints whether it holds, and if not, why not."""
        told = 0
        try:
            for event, text in complaints:
                if told == 0:
                    print(f"not ok - {name}")
                told += 1
                if told <= MAX_TOLD:
                    print(f"# {text if event is None else f'event {event} {text}'}")
                if told == 1 and event is not None:
                    self.tell_story(event)
        except (TimeoutError, psycopg2.Error) as error:
            if told == 0:
                print(f"not ok - {name}")
            told += 1
            print("# " + str(error).strip().replace("\n", "\n# "))
        if told == 0:
            print(f"ok - {name}")
        if told > MAX_TOLD:
            print(f"# and {told - MAX_TOLD} more")
        self.failed += told > 0
        sys.stdout.flush()
        return told == 0

    def tell_story(self, event):
        """What the ledgers say of an event."""
        lines = []
        for path in glob.glob(f"{self.folder}/*.ledger"):
            for line in ledger.read(path):
                if line.get("id") == event or event in line.get("ids", ()) or \
                        any(fact[1] == event for fact in line.get("facts", ())):
                    line["facts"] = [fact for fact in line.get("facts", ())
                                     if fact[1] == event]
                    line.pop("ids", None)
                    lines.append((line["at"], os.path.basename(path)[:-7], line))
        for _, client, line in sorted(lines, key=lambda line: line[0])[:60]:
            print(f"#     {client} {line}")

    def lines(self):
        for path in sorted(glob.glob(f"{self.folder}/*.ledger")):
            for line in ledger.read(path):
                yield os.path.basename(path)[:-7], line

    def end(self):
        self.verdict("after every fault the server and its scheduler are back", self.back())
        self.verdict("nothing is stuck: after each round no event and no lease is left",
                     self.stuck)
        self.clients.leave()
        self.verdict("no client has failed", self.clients.failed)
        self.verdict("no listener, no lease and no place of one is left behind",
                     self.nothing_leaks())
        self.verdict("with nothing to do the scheduler sleeps", self.goes_quiet())

    def judge(self):
        book = Book(self.lines(), dict(self.ask("SELECT tx, answer FROM torture.mark")))
        dead = {row[0]: row[1:] for row in self.ask(
            "SELECT id, num_retries, max_retries, why, extract(epoch FROM died_at)::float8"
            " FROM evsched.dead")}
        live, taken, worked = ([number for number, in self.ask(f"SELECT id FROM {table}")]
                               for table in ("evsched.event", "torture.taken", "torture.work"))
        judge = Judge(book, dead, set(live), taken, worked)
        jobs = JobJudge(book, {
            "effects": self.rows(workshop.EFFECTS), "beats": self.rows(workshop.BEATS),
            "runs": self.rows(workshop.RUNS), "dead": self.rows(workshop.DEAD)},
            set(live), self.fault.sizes)
        others = (
            RuleJudge(book, {"ruled": self.rows(ruler.RULED), "failed": self.rows(ruler.FAILED)},
                      self.fault.halts(book)),
            StepJudge(jobs), MapJudge(book, self.fault.sizes, self.has_workers()),
            WatchJudge(book, self.rows(watcher.HEARD)))
        for name, complaints in (
                ("the server keeps what it has acknowledged", judge.server_keeps_word()),
                ("no event is lost", judge.not_lost()),
                ("each ends once: confirmed, taken, cancelled or dead", judge.ended_once()),
                ("none is dead before its last delivery has failed", judge.often_enough()),
                ("none is delivered more often than it may be", judge.not_too_often()),
                ("with max_retries 0 it is gone when it is handed out", judge.once_only()),
                ("what is taken is taken once, as is work done with a confirm",
                 judge.taken_once()),
                ("nothing comes after it was cancelled, confirmed or replaced",
                 judge.not_after_end()),
                ("nothing comes early", judge.not_early()),
                ("what comes is what was posted and committed", judge.as_posted()),
                ("no wake-up is lost", judge.woken()),
                ("each job has its effect once, or is dead or cancelled and has none",
                 jobs.once()),
                ("a job that is rescheduled runs then", jobs.runs_as_told()),
                ("what a job commits on its way stands before its end", jobs.first_parts()),
                ("no job is run that was rolled back, cancelled or replaced before, or early",
                 jobs.nothing_undue()),
                ("a job is dead when it has failed for good or was lost too often",
                 jobs.dead_for_good()),
                ("one runs in pool active, no job twice at a time, no more than a pool holds",
                 jobs.alone()),
                ("each job is run as who posted it, in a clean session", jobs.as_owner()),
                ("the records of runs agree with the effects", jobs.recorded()),
                ("each body follows its op once, each handler a death", jobs.followed()),
                ("series keep to their plans, and nothing of them comes twice", jobs.on_grid()),
                ("with missed 'all' nothing of a series is left out", jobs.complete()),
                ("series go on until they are cancelled, and then are silent", jobs.silent()),
                *(verdict for other in others for verdict in other.verdicts()),
                ("no statement fails that should not", judge.no_errors()),
                ("the server's log shows no crash and no error of evsched",
                 serverlog.complaints(self.server.log, self.fault.killed)),
                ("what is wrong in doctored books is found", doctor.complaints(*others))):
            self.verdict(name, complaints)
        self.tell_figures(book, dead)
        self.tell_jobs(jobs)
        print("# " + "; ".join(other.figures() for other in others))

    def has_workers(self):
        """May there be one for each slot of a pool and each role?"""
        return self.settings["evsched.max_role_workers"] == 0 and \
            min(self.settings["evsched.max_workers"],
                self.settings["max_worker_processes"]) > 20

    def rows(self, sql):
        """As JSON has them, by the names of their columns."""
        return [row for row, in self.ask(f"SELECT to_jsonb(q) FROM ({sql}) q")]

    @staticmethod
    def tell_jobs(jobs):
        def figures(values):
            return ", ".join(f"{value} {count}" for value, count in sorted(Counter(values).items()))
        print(f"# {sum(1 for _ in jobs.jobs())} jobs, {len(jobs.dead)} dead; effects: "
              + figures(effect.kind for effect in jobs.effects))
        print("# runs: " + figures(run.state for run in jobs.runs) + "; series: "
              + f"{sum(bool(event.series) for event in jobs.book.events.values())}, with "
              + f"{sum(effect.series is not None for effect in jobs.effects)} jobs"
              + f" and {len(jobs.beats)} messages")

    def tell_figures(self, book, dead):
        posted = [event for _, event in book.events.items() if event.posts]
        deliveries = [d for event in posted for d in event.deliveries]
        unknown = sum(tx.acked == float("inf") and tx.how == "committed"
                      for tx in book.transactions.values())
        ends = {}
        for event in posted:
            for end in event.ends:
                ends[end.word] = ends.get(end.word, 0) + 1
        print(f"# {len(posted)} events, {len(deliveries)} deliveries"
              f" ({sum((d.n or 0) > 0 for d in deliveries)} retries), {len(dead)} dead; ended: "
              + ", ".join(f"{word} {count}" for word, count in sorted(ends.items())))
        print(f"# {len(book.transactions)} transactions, {unknown} committed without an answer,"
              f" {len(book.waits)} single events")
        print(f"# {self.rounds} rounds, {sum(self.fault.counts.values())} faults: "
              + ", ".join(f"{name} {count}"
                          for name, count in sorted(self.fault.counts.items())))
        lives = {conn.generation for conn in book.connections.values()}
        print(f"# {len(lives)} lives of the server,"
              f" {len(book.connections)} connections, {self.clients.started} clients,"
              f" the notification queue was full {sum(line['full'] for line in book.deaf)}"
              f" times of {len(book.deaf)}")

    def close(self):
        self.clients.end()
        self.server.stop("immediate")

    def keep(self):
        """For somebody who wants to look: EVSCHED_RESULTS."""
        results = f"{os.environ.get('EVSCHED_SCRATCH', self.folder)}/results"
        os.makedirs(results, exist_ok=True)
        subprocess.run(["tar", "-C", self.folder, "--exclude=data", "--exclude=.s.*",
                        "-czf", f"{results}/torture.tar.gz", "."], check=False)


@contextmanager
def closing(run):
    try:
        yield run
    finally:
        run.close()


def main(minutes="10"):
    seed = os.environ.get("SEED") or str(random.randrange(10 ** 6))
    began = time.monotonic()
    with closing(Run(float(minutes), seed)) as run:
        print(f"# SEED={seed} MINUTES={minutes} " + " ".join(
            f"{name[8:]}={value}" for name, value in run.settings.items()
            if name.startswith("evsched.")))
        sys.stdout.flush()
        run.prepare()
        run.torment()
        run.end()
        run.judge()
        if run.failed:
            run.keep()
        print(f"# {time.monotonic() - began:.0f} s")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""What the fault run does to the server and to the clients.

Each fault is one function; the server is back, with a scheduler, when it returns.
"""
import os
import signal
import time

import psycopg2

import scene
from server import PATIENCE, switches_of, wait_until
from session import Lost


class Fault:
    def __init__(self, server, session, clients):
        self.server = server
        self.session = session
        self.clients = clients
        self.random = session.random
        self.counts = {}
        self.sizes = {}             # of the pools: the largest they have had
        self.killed = set()         # processes of the server that we killed
        # by the whim (scene.py) that allows them
        self.kinds = {
            "crash": {
                self.kill_scheduler: 3, self.kill_launcher: 1, self.kill_listener: 3,
                self.kill_poster: 3, self.kill_puller: 3, self.stop_immediate: 2,
                self.restart_fast: 2, self.kill_postmaster: 2, self.kill_worker: 4},
            "soft": {
                self.terminate_scheduler: 5, self.terminate_launcher: 2,
                self.terminate_sessions: 6, self.kill_clients: 5, self.freeze_scheduler: 4,
                self.freeze_session: 4, self.freeze_client: 4, self.terminate_workers: 6,
                self.freeze_worker: 3},
            "steer": {
                self.resize_pools: 2, self.stop_and_start: 2, self.force_stop: 3,
                self.pause_pool: 3}}

    def strike(self, whims):
        """One fault, if the whims allow any; notes what and when."""
        kinds = {}
        for whim in whims:
            kinds.update(self.kinds.get(whim, {}))
        if not kinds:
            return
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        name = kind.__name__
        began = time.time()
        kind()
        self.clients.respawn()
        self.wait_back()
        self.counts[name] = self.counts.get(name, 0) + 1
        self.session.ledger.note("fault", name=name, began=began)

    def ask(self, sql, args=None):
        """Rows of a query; asked again when the connection is lost."""
        while True:
            try:
                if self.session.conn is None:
                    self.session.connect()
                return self.session.run(sql, args)
            except Lost:
                pass

    def processes(self, like):
        """The pids of the server's processes whose name is like that."""
        return [pid for pid, in self.ask(
            "SELECT pid FROM pg_stat_activity WHERE (application_name LIKE %s OR"
            " backend_type LIKE %s) AND pid <> pg_backend_pid()", (like, like))]

    def generation(self):
        return self.ask("SELECT backend_start FROM pg_stat_activity"
                        " WHERE backend_type = 'checkpointer'")

    def wait_back(self, not_scheduler=None):
        """Waits until the server answers and has a scheduler, or another one."""
        def is_back():
            found = self.processes("evsched scheduler")
            return found and not_scheduler not in found
        wait_until(is_back, "a scheduler", 2 * PATIENCE)

    # A process of the server is killed: the server restarts them all.

    def crash(self, like):
        pids = self.processes(like)
        if not pids:
            return
        before = self.generation()
        pid = self.random.choice(pids)
        self.killed.add(pid)
        send(pid, signal.SIGKILL)
        wait_until(lambda: self.generation() != before, "the server to restart")

    def kill_scheduler(self):
        self.crash("evsched scheduler")

    def kill_launcher(self):
        self.crash("evsched launcher")

    def kill_listener(self):
        self.crash("torture lister%")

    def kill_poster(self):
        self.crash("torture poster%")

    def kill_puller(self):
        self.crash(self.random.choice(["torture taker%", "torture receiver%", "torture teller%",
                                       "torture meddler%", "torture jobber%",
                                       "torture foreman%", "torture serial%",
                                       "torture beater%", "torture ruler%",
                                       "torture stepper%", "torture mapper%",
                                       "torture watcher%"]))

    def kill_worker(self):
        self.crash("evsched worker")

    # It is asked to end: the others go on.

    def terminate_scheduler(self):
        for pid in self.processes("evsched scheduler"):
            send(pid, signal.SIGTERM)
            self.wait_back(not_scheduler=pid)

    def terminate_launcher(self):
        for pid in self.processes("evsched launcher"):
            send(pid, signal.SIGTERM)
            wait_until(lambda: any(new != pid for new in self.processes("evsched launcher")),
                       "a launcher")

    def terminate_sessions(self):
        pids = self.processes("torture %")
        for pid in self.random.sample(pids, min(len(pids), self.random.randint(1, 6))):
            send(pid, signal.SIGTERM)

    def terminate_workers(self):
        pids = self.processes("evsched worker")
        for pid in self.random.sample(pids, min(len(pids), self.random.randint(1, 3))):
            send(pid, signal.SIGTERM)

    # What is handed out is told by those who may.

    def resize_pools(self):
        sizes = {"active": 1, "passive": self.random.choice([1, 2, 4, 6]),
                 "work": self.random.choice([1, 2])}
        self.sizes = {pool: max(size, self.sizes.get(pool, 0)) for pool, size in sizes.items()}
        self.ask("ALTER SYSTEM SET evsched.pools = %s",
                 (", ".join(f"{pool}:{size}" for pool, size in sizes.items()),))
        self.ask("SELECT pg_reload_conf()")

    def stop_and_start(self):
        self.halt("SELECT evsched.stop(make_interval(secs => %s))",
                  (self.random.choice([0, 0.1, 1]),))

    def force_stop(self):
        self.halt("SELECT evsched.force_stop()")

    def halt(self, sql, args=None):
        self.insist(sql, args)
        time.sleep(self.random.uniform(0, 0.7))
        self.insist("SELECT evsched.start()")

    @staticmethod
    def halts(book):
        """When the database was stopped, as the ledgers have it: (from, to)."""
        return [(fault["began"], fault["at"]) for fault in book.faults
                if fault["name"] in ("stop_and_start", "force_stop")]

    def insist(self, sql, args=None):
        """Asks for what the scheduler has to do, which may have to come back before."""
        def is_done():
            try:
                self.ask(sql, args)
            except psycopg2.Error as error:
                if error.pgcode != "55000":
                    raise
                return False
            return True
        wait_until(is_done, "the scheduler to answer")

    def pause_pool(self):
        pool = self.random.choice(scene.POOLS)
        self.ask("SELECT evsched.pause_queue(%s)", (pool,))
        time.sleep(self.random.uniform(0, 1))
        self.ask("SELECT evsched.resume_queue(%s)", (pool,))

    # Clients die without a word.

    def kill_clients(self):
        for name in self.random.sample(self.clients.names(), self.random.randint(1, 6)):
            self.clients.kill(name)

    # All of the server goes.

    def stop_immediate(self):
        self.server.stop("immediate")
        self.server.start()

    def restart_fast(self):
        if not self.server.stop("fast"):
            self.server.stop("immediate")
        self.server.start()

    def kill_postmaster(self):
        self.server.kill_postmaster()
        self.server.start()

    # A process gets no time for a while.

    def freeze(self, pid, seconds):
        send(pid, signal.SIGSTOP)
        time.sleep(seconds)
        send(pid, signal.SIGCONT)

    def freeze_scheduler(self):
        for pid in self.processes("evsched scheduler"):
            self.freeze(pid, self.random.uniform(0.05, 1))

    def freeze_worker(self):
        pids = self.processes("evsched worker")
        if pids:
            self.freeze(self.random.choice(pids), self.random.uniform(0.05, 1))

    def freeze_session(self):
        pids = self.processes("torture %")
        if pids:
            self.freeze(self.random.choice(pids), self.random.uniform(0.05, 1))

    def freeze_client(self):
        name = self.random.choice(self.clients.names())
        self.freeze(self.clients.pid(name), self.random.uniform(0.2, 2.5))

    # When it is over.

    def is_idle(self):
        """Has the scheduler slept through a second?"""
        pid, = self.processes("evsched scheduler")
        before = switches_of(pid)
        time.sleep(1)
        return switches_of(pid) == before


def send(pid, number):
    """A signal, unless the process has gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

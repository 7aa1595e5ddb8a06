"""The private server of the fault run: made, started, stopped and killed here.

It is meant to lose processes at any time.  What is written survives in the memory of
the machine, which is not part of the run, so fsync is off.
"""
import os
import signal
import subprocess
import time

PATIENCE = 60       # seconds that anything may take to come back


class Server:
    def __init__(self, folder, settings):
        self.folder = folder
        self.data = f"{folder}/data"
        self.log = f"{folder}/log"
        os.environ.update(PGHOST=folder, PGPORT="5432", PGDATABASE="postgres",
                          PGUSER="postgres", PGCONNECT_TIMEOUT="10")
        subprocess.run(["initdb", "-D", self.data, "-A", "trust", "-U", "postgres",
                        "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL)
        with open(f"{self.data}/postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"listen_addresses = ''\nport = 5432\n"
                       f"unix_socket_directories = '{folder}'\n")
            for name, value in settings.items():
                conf.write(f"{name} = {value}\n")
        self.start()

    def control(self, *words):
        return subprocess.run(
            ["pg_ctl", "-s", "-w", "-t", str(PATIENCE), "-D", self.data, "-l", self.log, *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def start(self):
        if not self.control("start"):
            raise RuntimeError("the server does not start: " + "".join(self.tail()))

    def stop(self, mode):
        return self.control("-m", mode, "stop")

    def postmaster(self):
        """Its pid, 0 while there is none."""
        try:
            with open(f"{self.data}/postmaster.pid", encoding="utf-8") as file:
                return int(file.readline())
        except (OSError, ValueError):
            return 0

    def children(self):
        """The processes of the server: pid -> title."""
        postmaster = self.postmaster()
        found = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and parent_of(name) == postmaster:
                found[int(name)] = title_of(name)
        return found

    def kill_postmaster(self):
        """Kills it, and waits for its children to notice."""
        pids = [self.postmaster(), *self.children()]
        os.kill(pids[0], signal.SIGKILL)
        # Not before its parent has taken notice is a new one let start.
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids),
                   "the processes of the server to end")

    def tail(self, lines=40):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.readlines()[-lines:]


def wait_until(condition, what, patience=PATIENCE):
    """Asks again and again; raises when it is in vain."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.01)


def stat_of(pid):
    """The fields of /proc/PID/stat after the name: state, parent..."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return ["Z", "0"]


def parent_of(pid):
    return int(stat_of(pid)[1])


def title_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().replace("\0", " ").strip()
    except OSError:
        return ""


def switches_of(pid):
    """How often a process has gone to sleep so far."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file
                    if line.startswith("voluntary_ctxt_switches"))

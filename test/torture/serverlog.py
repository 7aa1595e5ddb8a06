"""What the server's log must not say.

Lines begin with the time, the kind of process and its pid, as run.py has set it.
"""
import re

LINE = re.compile(r"\S+ \S+ \S+ (?P<kind>[^\[]+)\[(?P<pid>\d+)\] .*?"
                  r"(?P<level>PANIC|FATAL|ERROR|WARNING): +(?P<text>.*)")
ENDED = re.compile(r"\(PID (\d+)\) was terminated by signal (\d+)")

# What a process of ours may say when it is sent away.
LEAVING = re.compile(r"terminating (background worker|connection)|"
                     r"the database system is (shutting down|in recovery)|NOTIFY queue is")

# How the jobs of the run fail (workshop.py): told to, by run_timeout, or stopped.
FAILING = re.compile(r"torture: as it was told to|canceling statement due to")


def complaints(path, killed):
    """killed: the processes of the server that the run has killed itself."""
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            text = complaint(line.rstrip(), killed)
            if text:
                yield None, text


def complaint(line, killed):
    if "TRAP:" in line or "PANIC:" in line:
        return line
    ended = ENDED.search(line)
    if ended and not (int(ended[1]) in killed and ended[2] == "9"):
        return line
    found = LINE.match(line)
    if not found or not found["kind"].startswith("evsched") or LEAVING.search(found["text"]):
        return None
    return None if FAILING.search(found["text"]) else line

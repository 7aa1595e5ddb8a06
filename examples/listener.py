#!/usr/bin/python3
"""An evsched listener in Python (3.11 or later), on psycopg2.

    listener.py [conninfo [queue [node [max_events]]]]

Joins the queue, hands each event to handle(), confirms what is done, and comes
back when the connection ends. SIGTERM or SIGINT: the event in hand is finished,
the others go back to the queue at once. What conninfo does not say is taken
from the environment (PGHOST, PGPORT, ...).

A node name may join a queue only once: a second listener of the same name
replaces the first. max_events 0: the listener is only told that something is
due, and takes it, each event and the work on it in one transaction.
"""
import json
import math
import os
import select
import signal
import socket
import sys
from contextlib import closing
from datetime import datetime, timezone

import psycopg2
import psycopg2.extensions

FIRST_PAUSE = 0.1  # seconds
LAST_PAUSE = 30

CONNECTION_DEFAULTS = {
    "target_session_attrs": "read-write",
    "fallback_application_name": "evsched listener",
    "connect_timeout": 10,
    # An idle listener would not notice that the server's host has gone.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

arguments = dict(enumerate(sys.argv))
conninfo = arguments.get(1, "")
queue = arguments.get(2, "default")
node = arguments.get(3, f"listener-{os.getpid()}")
max_events = int(arguments.get(4, 8))


# ---- Your code goes here. ---------------------------------------------------
def handle(event, conn):
    """The event is done when this returns; when it raises, it is tried again as
    long as it has retries left.

    It may come twice (the connection can end before the confirmation arrives),
    so either make the work harmless to repeat, or do it in this database and
    confirm in the same transaction. What takes longer than conf_timeout has to
    call evsched.extend() in between.
    """
    print(node, event["id"], event["queue"], event["num_retries"], f"{late_ms(event):.3f}",
          json.dumps(event["payload"], ensure_ascii=False), sep="\t", flush=True)


# ---- The rest can stay as it is. --------------------------------------------
class Stop:
    """Set by a signal; can be waited for together with a connection."""

    def __init__(self):
        self.requested = False
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        signal.set_wakeup_fd(self.writer.fileno())
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.request)

    def request(self, signum, _frame):
        self.requested = True
        signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once

    def wait(self, conn=None, seconds=None):
        """Until there is input, the time is over, or a signal says stop."""
        select.select([self.reader, conn] if conn else [self.reader], [], [], seconds)


stop = Stop()


def late_ms(event):
    """By this machine's clock."""
    if event["due_at"] == "-infinity":
        return math.inf
    due_at = datetime.fromisoformat(event["due_at"])
    return (datetime.now(timezone.utc) - due_at).total_seconds() * 1000


def connect():
    """A connection to a server that can be written to."""
    given = psycopg2.extensions.parse_dsn(conninfo)
    conn = psycopg2.connect(**{**CONNECTION_DEFAULTS, **given})
    conn.autocommit = True
    return conn


def query(conn, sql, *values):
    with conn.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def events(conn, source, *values):
    """Events from fetch or take, in the form that notifications have."""
    rows = query(conn, f"SELECT to_json(e)::text FROM {source} AS e", *values)
    return [json.loads(text) for text, in rows]


def reject(conn, event, error):
    print(f"{node}: event {event['id']}: {error}", file=sys.stderr)
    query(conn, "SELECT evsched.reject(%s, error => %s)", event["id"], str(error))


def handle_all(conn, told):
    """Handles what a notification brought, and confirms by id all that was done
    with one statement. (Not by key: another event may have it by now.)"""
    large = [event["id"] for event in told if "fetch" in event]
    fetched = {event["id"]: event
               for event in (events(conn, "evsched.fetch(%s)", large) if large else [])}
    done = []
    for event in told:
        if stop.requested:
            break
        event = fetched.get(event["id"]) if "fetch" in event else event
        if event is None:  # too late: its lease was over before it was fetched
            continue
        try:
            handle(event, conn)
            done.append(event["id"])
        except Exception as error:  # whatever the handler raises
            reject(conn, event, error)
    if done:
        query(conn, "SELECT evsched.confirm(%s)", done)


def take_one(conn):
    """Takes one event and handles it in the same transaction; False if there was none."""
    conn.autocommit = False
    event = None
    try:
        with conn:  # commits, or rolls back when something is raised
            for event in events(conn, "evsched.take(%s, 1)", queue):
                handle(event, conn)
    except Exception as error:
        if event is None or conn.closed:
            raise
        conn.autocommit = True
        reject(conn, event, error)
    conn.autocommit = True
    return event is not None


def serve(conn):
    """Handles notifications until the connection ends (raises) or a signal says stop."""
    while not stop.requested:
        conn.poll()
        while conn.notifies and not stop.requested:
            told = json.loads(conn.notifies.pop(0).payload)
            if told:
                handle_all(conn, told)
            else:
                while not stop.requested and take_one(conn):
                    pass
        if not stop.requested:
            stop.wait(conn)


def main():
    pause = FIRST_PAUSE
    while not stop.requested:
        try:
            with closing(connect()) as conn:
                query(conn, "SELECT evsched.join(%s, %s, max_events => %s, conf_timeout => '10 s')",
                      node, queue, max_events)
                pause = FIRST_PAUSE
                serve(conn)
                query(conn, "SELECT evsched.leave(%s, release => true)", queue)
        except psycopg2.Error as error:
            print(f"{node}: {str(error).strip()}", file=sys.stderr, flush=True)
        if not stop.requested:
            stop.wait(seconds=pause)
        pause = min(pause * 2, LAST_PAUSE)


main()

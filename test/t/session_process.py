#!/usr/bin/python3
"""One session of a test, in a process of its own: Evsched/Session.pm drives it.

    session_process.py CONNINFO

Reads commands, one JSON object a line, from standard input and ends with it. Prints, one
JSON object a line, the answers to the commands and, at any time, what comes in by itself:

    {"event": {...}, "raw": "[...]", "at": 1.5, "due": 1.2}    an event of a notification
    {"told": true, "at": 1.5}                                  an empty notification
    {"confirmed": [1, 2], "at": 1.5}                           confirmed by itself (mode)
    {"lost": "server closed ...", "at": 1.5}                   the connection is gone

Times are seconds since the epoch by the clock of this machine, which is the server's.
"""
import json
import os
import select
import sys
import time
from datetime import datetime

import psycopg2
import psycopg2.extensions
import psycopg2.extras


def say(**what):
    sys.stdout.write(json.dumps(what, default=str) + "\n")
    sys.stdout.flush()


def text(value):
    """A value of a result as psql would show it."""
    return {None: None, True: "t", False: "f"}.get(value, str(value)) \
        if value is None or isinstance(value, bool) else str(value)


class Session:
    def __init__(self, conninfo):
        self.conn = psycopg2.connect(conninfo)
        self.conn.autocommit = True
        psycopg2.extras.register_default_jsonb(self.conn, loads=lambda value: value)
        psycopg2.extras.register_default_json(self.conn, loads=lambda value: value)
        self.reading = True
        self.confirm = None     # "each", "batch", or nothing
        self.confirm_sql = "SELECT evsched.confirm(%s::bigint[])"
        self.quiet = False      # events are counted instead of printed
        self.ids = []
        self.disorder = 0
        self.early = 0
        self.latest = 0         # how late the latest one was, in seconds
        self.last_place = None

    def run(self):
        commands = b""
        while True:
            wanted = [0] + ([self.conn] if self.conn and self.reading else [])
            ready, _, _ = select.select(wanted, [], [])
            if self.conn in ready:
                self.guarded(self.receive)
            if 0 in ready:
                chunk = os.read(0, 65536)
                if not chunk:
                    return
                commands += chunk
                while b"\n" in commands:
                    line, commands = commands.split(b"\n", 1)
                    self.obey(json.loads(line))

    def guarded(self, action):
        """Does something that finds out when the connection is gone."""
        try:
            action()
        except psycopg2.Error as error:
            if self.conn.closed == 0 and error.pgcode is not None:
                raise
            say(lost=str(error), at=time.time())
            self.conn = None

    def receive(self):
        self.conn.poll()
        self.take_notifies()

    def take_notifies(self):
        while self.conn.notifies:
            now = time.time()
            notify = self.conn.notifies.pop(0)
            if notify.channel.startswith("evsched_"):
                self.take_events(notify.payload, now)

    def take_events(self, raw, now):
        events = json.loads(raw)
        if not events:
            say(told=True, at=now)
        for event in events:
            due = None
            if "due_at" in event and "infinity" not in event["due_at"]:
                due = datetime.fromisoformat(event["due_at"]).timestamp()
            self.count(event, due, now)
            if not self.quiet:
                say(event=event, raw=raw, at=now, due=due, batch=len(events))
        ids = [event["id"] for event in events if event.get("max_retries") != 0]
        if self.confirm == "batch" and ids:
            self.confirm_ids(ids)
        elif self.confirm == "each":
            for one in ids:
                self.confirm_ids([one])

    def count(self, event, due, now):
        place = (due, event["id"])
        self.ids.append(event["id"])
        self.early += due is not None and now < due
        self.latest = max(self.latest, now - due if due is not None else 0)
        self.disorder += None not in (due, self.last_place) and place < self.last_place
        self.last_place = place if due is not None else None

    def confirm_ids(self, ids):
        with self.conn.cursor() as cursor:
            try:
                cursor.execute(self.confirm_sql, (ids,))
                done = cursor.fetchone()[0]
            except psycopg2.Error as error:
                if self.conn.closed:
                    raise
                done = str(error)
        if not self.quiet or done != len(ids):
            say(confirmed=ids, done=done, at=time.time())

    def obey(self, command):
        do = command.pop("do")
        if do == "sql":
            self.execute(**command)
        elif do == "mode":
            for name, value in command.items():
                setattr(self, name, value)
            say(reply=do)
        elif do == "summary":
            say(reply=do, count=len(self.ids), distinct=len(set(self.ids)),
                disorder=self.disorder, early=self.early, latest=self.latest,
                ids=self.ids if command.get("with_ids") else None)

    def execute(self, sql, data=None):
        """Runs statements; data is what a COPY FROM STDIN reads."""
        answer = {"reply": "sql", "began": time.time()}
        try:
            if not self.conn:
                raise psycopg2.OperationalError("the connection is gone")
            del self.conn.notices[:]
            with self.conn.cursor() as cursor:
                if data is None:
                    cursor.execute(sql)
                else:
                    from io import StringIO
                    cursor.copy_expert(sql, StringIO(data))
                answer["ended"] = time.time()
                if cursor.description:
                    answer["rows"] = [[text(v) for v in row] for row in cursor.fetchall()]
        except psycopg2.Error as error:
            answer["ended"] = time.time()
            answer["error"] = str(error)
            answer["sqlstate"] = error.pgcode
        if self.conn:
            answer["notices"] = list(self.conn.notices)
        say(**answer)
        if self.conn and self.conn.closed:
            say(lost=answer.get("error"), at=time.time())
            self.conn = None
        elif self.conn:
            self.guarded(self.take_notifies)


session = Session(sys.argv[1])
say(reply="connected", pid=session.conn.get_backend_pid())
session.run()

#!/usr/bin/python3
"""One client of the crash test, which outlives the server and keeps a ledger of its own.

    ledger_process.py post|each|batch CONNINFO NAME LEDGER

post: posts events to queue "ledger", one after another; each tenth is rolled back.
each, batch: a listener of that queue that confirms what it gets, one event or one
notification at a time. When its connection ends it comes back. Ends with its standard
input. A line of the ledger is `WORD NUMBER TIME`, NUMBER being that of the event (got:
and its num_retries):

    posted      its commit was acknowledged        got         it was delivered
    rolled      rolled back, or refused            confirmed   its commit was acknowledged
    unknown     the connection broke in between    unsure      the connection broke
                                                   refused     confirm said false
"""
import json
import random
import select
import sys
import time
from contextlib import closing

import psycopg2
import psycopg2.extensions

kind, conninfo, name, path = sys.argv[1:]
ledger = open(path, "w", buffering=1)


def note(word, number, *more):
    print(word, number, f"{time.time():.6f}", *more, file=ledger)


def stopped(seconds=0):
    return bool(select.select([0], [], [], seconds)[0])


def connect():
    """A connection; tried again for as long as the server is away."""
    while True:
        try:
            conn = psycopg2.connect(conninfo + f" application_name={name}")
            conn.autocommit = True
            return conn
        except psycopg2.OperationalError:
            if stopped(0.01):
                sys.exit(0)


def post_one(cursor, number):
    try:
        cursor.execute("BEGIN")
        cursor.execute(
            "SELECT evsched.post(to_jsonb(%s::text), %s * interval '1 ms', 'ledger',"
            " max_retries => -1)", (number, random.randint(0, 30)))
    except psycopg2.Error:
        note("rolled", number)
        raise
    end = "ROLLBACK" if number.endswith("0") else "COMMIT"
    try:
        cursor.execute(end)
        note("posted" if end == "COMMIT" else "rolled", number)
    except psycopg2.Error:
        note("unknown" if end == "COMMIT" else "rolled", number)
        raise


def post():
    count = 0
    while not stopped():
        try:
            with closing(connect()) as conn, conn.cursor() as cursor:
                while not stopped(0.001):
                    count += 1
                    post_one(cursor, f"{name}:{count}")
        except psycopg2.Error:
            pass


def confirm(cursor, numbers):
    """Confirms the events with these ids, in one transaction."""
    try:
        cursor.execute("SELECT id, evsched.confirm(id) FROM unnest(%s::bigint[]) id",
                       (list(numbers),))
        for event_id, done in cursor.fetchall():
            note("confirmed" if done else "refused", numbers[event_id])
    except psycopg2.Error:
        for number in numbers.values():
            note("unsure", number)
        raise


def handle(cursor, notification):
    events = json.loads(notification)
    numbers = {event["id"]: event["payload"] for event in events}
    for event in events:
        note("got", event["payload"], event["num_retries"])
    if kind == "batch":
        confirm(cursor, numbers)
    else:
        for event_id, number in numbers.items():
            confirm(cursor, {event_id: number})


def listen():
    while not stopped():
        try:
            with closing(connect()) as conn, conn.cursor() as cursor:
                cursor.execute("SELECT evsched.join(%s, 'ledger', 20, '1 min')", (name,))
                while True:
                    while conn.notifies:
                        handle(cursor, conn.notifies.pop(0).payload)
                    if select.select([0, conn], [], [])[0] == [0]:
                        return
                    conn.poll()
        except psycopg2.Error:
            pass


post() if kind == "post" else listen()

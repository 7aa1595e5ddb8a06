"""The ledger of one process of the fault run: what it has been told, and when.

A file outside the server, one JSON object a line, each written by one system call: what
has been noted outlives the process, however it ends.  The words, in the order of a
client's life:

    start                            the process begins
    conn   conn generation           a connection; of which life of the server
    join, leave  conn queue          a listener takes part in a queue, or no longer
    got    conn id ...               a notification has brought an event
    asked  tx conn began facts       COMMIT (or PREPARE) is about to be sent
    ended  tx how                    committed or rolled, as the server has said
    rolled tx conn began facts       never asked to commit
    saw    conn began ids            events that a reading call has shown
    error  conn state text           a statement has failed
    lost   conn                      a connection is no more
    called set call began            rules are about to be run, or loaded
    mapped conn mark rows ...        map is about to be called: rows null; and what it answered
    says   prefix first pads ...     a watched FIFO or channel is about to be told something

A transaction that was asked and has not ended may have been committed: book.py settles
that.  Its facts are lists: a word, what it is about, and the time of the call last.
"""
import json
import os
import time


class Ledger:
    """Where a process notes things."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(self.file, b"\n")      # the line before may have been cut off
        self.note("start", pid=os.getpid())

    def note(self, word, **what):
        line = json.dumps({"word": word, "at": time.time(), **what}, default=str)
        os.write(self.file, line.encode() + b"\n")


def read(path):
    """The lines of a ledger; one that was cut off says nothing."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                pass

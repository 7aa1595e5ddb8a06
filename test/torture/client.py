#!/usr/bin/python3
"""One client of the fault run, in a process of its own.

    client.py NAME LEDGER SEED

Does its part (scene.py) again and again, and comes back whenever its connection is lost.
Standard input tells it what to do: a line "drain" makes it finish what there is and
begin nothing new, the end makes it leave.  It may be killed at any time.
"""
import os
import random
import select
import sys

import psycopg2

import scene
from bystander import Deaf, Finisher, Holder
from ledger import Ledger
from listener import Listener
from meddler import Meddler
from poster import Poster
from puller import Receiver, Taker, Teller
from session import Lost, Session
from single import Single

KINDS = {"poster": Poster, "listener": Listener, "teller": Teller, "taker": Taker,
         "receiver": Receiver, "meddler": Meddler, "single": Single, "holder": Holder,
         "finisher": Finisher, "deaf": Deaf}


class Orders:
    """What standard input says."""

    def __init__(self):
        self.draining = False
        self.leaving = False

    def stopped(self):
        """Is it time to go?"""
        while not self.leaving and select.select([0], [], [], 0)[0]:
            words = os.read(0, 4096)
            self.leaving = not words
            self.draining |= b"drain" in words
        return self.leaving


def main(name, path, seed):
    orders = Orders()
    dice = random.Random(f"{seed} {name}")
    ledger = Ledger(path)
    session = Session(name, ledger, dice, orders.stopped)
    kind, queues = scene.CLIENTS[name]
    client = KINDS[kind](session, queues, orders)
    while not orders.stopped():
        try:
            if session.conn is None:
                session.connect()
                client.begin()
            client.step()
        except Lost:
            pass
        except psycopg2.Error as error:
            session.complain(error)
            session.close()
    if session.conn is not None:
        session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

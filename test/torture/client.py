#!/usr/bin/python3
"""One client of the fault run, in a process of its own.

    client.py NAME LEDGER SEED

Does its part (scene.py) again and again, as standard input tells it (orders.py), and comes
back whenever its connection is lost.  It may be killed at any time.
"""
import random
import sys

import psycopg2

import scene
from bystander import Deaf, Finisher, Holder
from foreman import Foreman
from jobber import Jobber
from ledger import Ledger
from listener import Listener
from mapper import Mapper
from meddler import Meddler
from orders import Orders
from poster import Poster
from puller import Receiver, Taker, Teller
from ruler import Ruler
from serial import Beater, Serial
from session import Lost, Session
from single import Single
from stepper import Stepper
from watcher import Watcher

KINDS = {"poster": Poster, "listener": Listener, "teller": Teller, "taker": Taker,
         "receiver": Receiver, "meddler": Meddler, "single": Single, "holder": Holder,
         "finisher": Finisher, "deaf": Deaf, "jobber": Jobber, "foreman": Foreman,
         "serial": Serial, "beater": Beater, "ruler": Ruler, "stepper": Stepper,
         "mapper": Mapper, "watcher": Watcher}


def main(name, path, seed):
    orders = Orders()
    dice = random.Random(f"{seed} {name}")
    ledger = Ledger(path)
    session = Session(name, ledger, dice, orders)
    kind, queues = scene.CLIENTS[name]
    client = KINDS[kind](session, queues)
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

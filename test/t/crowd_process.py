#!/usr/bin/python3
"""Many sessions that are just there: 031_crowd.pl drives it.

    crowd_process.py CONNINFO COUNT SQL

Opens COUNT sessions. Each runs SQL, in which %(n)s is its number, in one command; what
the server sends it afterwards is never read. Prints the pids of their backends on one
line and ends, with all of them, when its standard input does.
"""
import sys

import psycopg2

conninfo, count, sql = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sessions = []
for n in range(count):
    session = psycopg2.connect(conninfo)
    session.autocommit = True
    session.cursor().execute(sql, {"n": n})
    sessions.append(session)
print(*(session.get_backend_pid() for session in sessions), flush=True)
sys.stdin.read()

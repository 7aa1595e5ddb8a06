#!/usr/bin/python3
"""Every case of calls.json through psycopg2, in TAP.

    calls.py        (PGHOST, PGPORT, PGUSER, PGDATABASE: a database of its own)

psycopg2 writes values into the statement as literals, by their Python type;
PREPARE and EXECUTE give real prepared statements, typed and untyped. Then what
only Python has: Json, lists, timedelta and datetime as parameters.
"""
import json
import pathlib
import re
import sys
from datetime import datetime, timedelta, timezone

import psycopg2
import psycopg2.extensions
from psycopg2.extras import Json

TABLE = json.loads(pathlib.Path(__file__).with_name("calls.json").read_text("utf-8"))
TYPES_AS_TEXT = (16, 20, 23, 25, 1184, 1186, 3802)  # boolean, bigint, int, text, ..., jsonb
PYTHON_TYPES = {
    "int": int,
    "bigint": int,
    "boolean": lambda text: text == "true",
    "bigint[]": lambda text: [None if part == "NULL" else int(part)
                              for part in text[1:-1].split(",") if part],
}


def native(value, kind):
    """The value as a Python program has it; what has no type of its own is a string."""
    return value if value is None else PYTHON_TYPES.get(kind, str)(value)


def each_parameter(sql, mark, value):
    """The statement with mark(n) for each $n, and the values in the order in which they come."""
    text = re.sub(r"\$(\d+)", lambda m: mark(int(m[1]) - 1), sql.replace("%", "%%"))
    return text, [value(int(n) - 1) for n in re.findall(r"\$(\d+)", sql)]


def as_literals(cursor, call):
    cursor.execute(*each_parameter(
        call["sql"], lambda n: "%s", lambda n: native(call["values"][n], call["types"][n])))


def as_strings(cursor, call):
    cursor.execute(*each_parameter(call["sql"], lambda n: "%s", lambda n: call["values"][n]))


def as_casts(cursor, call):
    cursor.execute(*each_parameter(
        call["sql"], lambda n: f"%s::{call['types'][n]}", lambda n: call["values"][n]))


def prepared(cursor, call, types):
    cursor.execute(f"PREPARE call({', '.join(types)}) AS {call['sql']}")
    try:
        marks = ", ".join(["%s"] * len(types))
        cursor.execute(f"EXECUTE call({marks})",
                       [native(*pair) for pair in zip(call["values"], call["types"])])
    finally:
        with cursor.connection.cursor() as other:
            other.execute("DEALLOCATE ALL")


def typed_prepare(cursor, call):
    prepared(cursor, call, call["types"])


def untyped_prepare(cursor, call):
    prepared(cursor, call, ["unknown"] * len(call["types"]))


# How a call can be sent, and whether it is left to the server to find the types.
FORMS = {
    "literals": (as_literals, False),
    "quoted literals": (as_strings, True),
    "typed literals": (as_casts, False),
    "typed PREPARE": (typed_prepare, False),
    "untyped PREPARE": (untyped_prepare, True),
}


def fill(value, names):
    """Fills in <queue>, <id>, <20kB>, ... in all strings of a value."""
    if isinstance(value, list):
        return [fill(part, names) for part in value]
    if not isinstance(value, str):
        return value
    value = value.replace("<20kB>", "x" * 20000)
    value = re.sub(r"<(\d+)(x|é)>", lambda m: m[2] * int(m[1]), value)
    return re.sub(r"<(\w+)>", lambda m: names.get(m[1], m[0]), value)


def matches(got, want):
    if isinstance(want, list):
        return (isinstance(got, (list, tuple)) and len(got) == len(want)
                and all(map(matches, got, want)))
    if want is None or got is None:
        return got is want
    if want.startswith("~"):
        return re.search(want[1:], got) is not None
    return want in ("*", got)


def shorten(value):
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "..."


def query(conn, sql, *values):
    with conn.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def count_events(conn):
    return query(conn, "SELECT count(*) FROM evsched.event")[0][0]


def problem(conn, wanted, form, queue):
    """None, or what is wrong with a case in a form."""
    run, untyped = FORMS[form]
    names = {"queue": queue}
    for name, sql in TABLE["setups"].get(wanted.get("setup"), []):
        rows = query(conn, fill(sql, names))
        names[name] = rows[0][0] if rows else "nothing"
    call = {"sql": fill(wanted["sql"], names), "types": wanted["types"],
            "values": fill(wanted["values"], names)}
    if run is as_literals:  # a string in quotes and NULL do not show their type
        untyped = any(value is None or kind not in PYTHON_TYPES
                      for value, kind in zip(call["values"], call["types"]))
    expected = wanted["untyped"] if untyped and "untyped" in wanted else wanted
    sqlstate = expected.get("sqlstate")
    before = count_events(conn)
    try:
        with conn.cursor() as cursor:
            run(cursor, call)
            got = cursor.fetchall()
    except psycopg2.Error as error:
        hint = error.diag.message_hint
        if error.pgcode != sqlstate:
            return f"{error.pgcode}: {error}"
        if sqlstate == "22023" and not hint:
            return f"no hint: {error}"
        if not re.search(expected.get("hint", ""), hint or ""):
            return f"hint: {hint}"
        after = count_events(conn)
        return None if after == before else f"{before} events became {after}"
    if sqlstate:
        return f"got {shorten(got)} instead of {sqlstate}"
    want = fill(expected["rows"], names)
    if not matches(got, want):
        return f"got {shorten(got)} instead of {shorten(want)}"
    if "then" in wanted:
        got = query(conn, fill(wanted["then"]["sql"], names))
        want = fill(wanted["then"]["rows"], names)
        if not matches(got, want):
            return f"then got {shorten(got)} instead of {shorten(want)}"
    return None


def clean_up(conn, queue):
    query(conn, "SELECT evsched.cancel(id) FROM evsched.event")
    query(conn, "SELECT evsched.leave(%s), evsched.leave('default')", queue)


def native_cases(conn):
    """What Python's own types become: yields (name, problems)."""
    def check(name, want, sql, *values):
        got = query(conn, sql, *values)
        return name, [] if matches(got, want) else [f"got {shorten(got)}"]

    post = "SELECT evsched.post(%s, %s, %s)"
    upcoming = ("SELECT payload, due_at BETWEEN now() + '59 min' AND now() + '61 min'"
                " FROM evsched.upcoming('native')")
    query(conn, post, Json({"a": [1, {"b": None}]}), timedelta(hours=1), "native")
    yield check("Json is a payload, a timedelta a delay",
                [['{"a": [1, {"b": null}]}', "t"]], upcoming)
    clean_up(conn, "native")
    many = "SELECT evsched.post_many(%s::jsonb[], queue => %s)"
    ids = [int(row[0]) for row in query(conn, many, [Json({"n": 1}), Json([])], "native")]
    yield check("a list of Json, cast, is an array of payloads",
                [['{"n": 1}'], ["[]"]], "SELECT payload FROM evsched.upcoming('native')")
    yield check("a large int is an id", [["f"]], "SELECT evsched.cancel(%s)", 2**62)
    yield check("a list of int is an array of ids", [["2"]], "SELECT evsched.confirm(%s)", ids)
    yield check("an empty list needs a cast", [["0"]], "SELECT evsched.confirm(%s::bigint[])", [])
    query(conn, "SELECT evsched.post_at('1', %s, 'native')",
          datetime(2020, 2, 2, 2, 2, 2, 20202, timezone.utc))
    yield check("a datetime is a time, to the microsecond", [["t"]],
                "SELECT due_at = '2020-02-02 02:02:02.020202+00' FROM evsched.take('native')")


def case_results(conn):
    for number, wanted in enumerate(TABLE["cases"]):
        problems = []
        for form in FORMS:
            queue = f"python {number} {form}"
            try:
                text = problem(conn, wanted, form, queue)
            except psycopg2.Error as error:  # in setup or then
                text = str(error)
            if text:
                problems.append(f"{form}: {text.strip()}")
            clean_up(conn, queue)
        yield wanted["name"], problems


def main():
    conn = psycopg2.connect("")
    conn.autocommit = True
    as_text = psycopg2.extensions.new_type(TYPES_AS_TEXT, "AS_TEXT", lambda value, _: value)
    psycopg2.extensions.register_type(as_text, conn)
    tests = failed = 0
    for results in (case_results(conn), native_cases(conn)):
        for name, problems in results:
            tests += 1
            failed += bool(problems)
            print("not ok" if problems else "ok", tests, "-", f"psycopg2: {name}", flush=True)
            for text in problems:
                print("#  ", text.replace("\n", " "), flush=True)
    print(f"1..{tests}")
    conn.close()
    sys.exit(failed > 0)


main()

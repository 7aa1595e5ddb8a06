"""Doctors the books: a verdict that nothing can make fail says nothing.

Each case alters a copy of what a judge looks at, as something that evsched had done wrong
would, and names the check that must complain.  In a short run it may find nothing to alter.
"""
from collections import defaultdict
from copy import copy, deepcopy
from types import SimpleNamespace

from jobjudge import Row
from stepjudge import MANY, NO_ANSWER


def complaints(rules, steps, maps, watches):
    """What was doctored and yet has passed."""
    for judge, duplicate, cases in ((rules, copy_rules, RULES), (steps, copy_steps, STEPS),
                                    (maps, copy_maps, MAPS),
                                    (watches, copy_watches, WATCHES)):
        for check, doctor in cases:
            patient = duplicate(judge)
            if alters(doctor, patient) and not any(True for _ in getattr(patient, check)()):
                yield None, f"{check}: {doctor.__name__} has passed"


def alters(doctor, patient):
    """False: it has found nothing to alter."""
    try:
        return doctor(patient) is not False
    except (StopIteration, IndexError, ValueError):
        return False


def copy_rules(judge):
    patient = copy(judge)
    patient.book = copy(judge.book)
    patient.book.calls = {name: copy(call) for name, call in judge.book.calls.items()}
    patient.rows = [copy(row) for row in judge.rows]
    patient.failed = [copy(run) for run in judge.failed]
    patient.rows_of = defaultdict(list)
    for row in patient.rows:
        patient.rows_of[row.call].append(row)
    return patient


def copy_steps(judge):
    patient = copy(judge)
    patient.jobs = copy(judge.jobs)
    patient.jobs.live, patient.jobs.dead = set(judge.jobs.live), dict(judge.jobs.dead)
    patient.jobs.runs_of = judge.jobs.runs_of.copy()
    patient.book = copy(judge.book)
    patient.book.events = {number: copy(event) for number, event, _ in judge.coroutines()}
    patient.steps = defaultdict(list)
    for number, effects in judge.steps.items():
        patient.steps[number] = [copy(effect) for effect in effects]
    return patient


def copy_maps(judge):
    patient = copy(judge)
    patient.maps = deepcopy(list(judge.maps))
    return patient


def copy_watches(judge):
    patient = copy(judge)
    patient.rows = deepcopy(judge.rows)
    patient.said = {kind: {text: copy(one) for text, one in said.items()}
                    for kind, said in judge.said.items()}
    return patient


# Rules

def of_slot(judge):
    return next(row for row in judge.rows if row.slot is not None)


def slot_twice(judge):
    judge.rows += [copy(row) for row in judge.rows[:50]]


def slot_to_come(judge):
    of_slot(judge).slot += 2


def slot_over(judge):
    of_slot(judge).slot -= 2


def failure_twice(judge):
    judge.failed.append(copy(judge.failed[0]))


def slots_left_out(judge):
    judge.rows = [row for row in judge.rows if row.rule != "quick"]


def failing_has_left_something(judge):
    judge.rows[0].rule = "failing"


def other_failure(judge):
    judge.failed[0].sqlstate = "XX000"


def failures_forgotten(judge):
    judge.failed = []


def call_with_each(judge):
    return next(call for call in judge.book.calls.values()
                if call.word == "rules" and any(rule == "mine" for rule, _ in call.ran))


def each_too_soon(judge):
    call = call_with_each(judge)
    judge.book.calls["soon"] = again = copy(call)
    again.began, again.answered = call.answered + 1e-3, call.answered + 2e-3


def each_twice_in_a_call(judge):
    call = call_with_each(judge)
    call.ran = call.ran * 2


def each_left_out(judge):
    for call in judge.book.calls.values():
        if call.word == "rules":
            call.ran = [[rule, slot] for rule, slot in call.ran if rule != "mine"]


def told_in_vain(judge):
    row = judge.rows[0]
    judge.rows_of[row.call].remove(row)


def done_untold(judge):
    call = judge.book.calls[judge.rows[0].call]
    call.ran = call.ran[1:]


def done_by_nobody(judge):
    judge.rows_of["nobody"].append(copy(judge.rows[0]))


def rolled_back_and_there(judge):
    call = judge.book.calls[judge.rows[0].call]
    call.tx = copy(call.tx)
    call.tx.how = "rolled"


def in_a_part_rolled_back(judge):
    judge.book.calls[judge.rows[0].call].word = "tried"


def against_filter(judge):
    next(row for row in judge.rows if row.rule == "picky").n += 1


def as_caller(judge):
    judge.rows[0].who = "bob"


RULES = [("once", slot_twice), ("once", slot_to_come), ("once", slot_over),
         ("once", failure_twice), ("none_missed", slots_left_out),
         ("failing", failing_has_left_something), ("failing", other_failure),
         ("failing", failures_forgotten), ("each", each_too_soon),
         ("each", each_twice_in_a_call), ("each", each_left_out), ("told", told_in_vain),
         ("told", done_untold), ("told", done_by_nobody), ("told", rolled_back_and_there),
         ("told", in_a_part_rolled_back), ("filtered", against_filter),
         ("as_owner", as_caller)]


# Coroutines

def undisturbed(judge, least=2):
    """The number of a coroutine that has gone through all of its steps by itself."""
    return next(number for number, event, coroutine in judge.coroutines()
                if not event.ends and not event.moves and number not in judge.jobs.dead and
                len(judge.steps[number]) == coroutine.spec["steps"] >= least)


def with_undisturbed(doctor):
    """A case that needs one, and its number."""
    def found(judge):
        doctor(judge, undisturbed(judge))
    found.__name__ = doctor.__name__
    return found


@with_undisturbed
def step_left_out(judge, number):
    del judge.steps[number][0]


@with_undisturbed
def step_twice(judge, number):
    judge.steps[number].append(copy(judge.steps[number][-1]))


@with_undisturbed
def steps_out_of_order(judge, number):
    judge.steps[number].reverse()


@with_undisturbed
def step_of_another(judge, number):
    judge.steps[number][0].version = "another"


@with_undisturbed
def not_gone_on(judge, number):
    judge.steps[number].pop()


@with_undisturbed
def has_not_gone(judge, number):
    judge.jobs.live.add(number)


@with_undisturbed
def dead_without_reason(judge, number):
    judge.jobs.dead[number] = Row(id=number)


@with_undisturbed
def run_after_cancel(judge, number):
    judge.book.events[number].ends = [SimpleNamespace(tx=SimpleNamespace(acked=0))]


@with_undisturbed
def failing_step_done(judge, number):
    coroutine = judge.book.events[number].coroutine = copy(judge.book.events[number].coroutine)
    coroutine.spec = {**coroutine.spec, "fails": 1}


@with_undisturbed
def sleep_cut_short(judge, number):
    coroutine = judge.book.events[number].coroutine = copy(judge.book.events[number].coroutine)
    coroutine.spec = {**coroutine.spec, "sleeps": [9999] * coroutine.spec["steps"]}


@with_undisturbed
def step_early(judge, number):
    judge.steps[number][1].due += 9999


STEPS = [("each_once", step_left_out), ("each_once", step_twice),
         ("each_once", steps_out_of_order), ("each_once", step_of_another),
         ("all_end", not_gone_on), ("all_end", has_not_gone), ("all_end", dead_without_reason),
         ("all_end", run_after_cancel), ("all_end", failing_step_done),
         ("sleeps", sleep_cut_short), ("sleeps", step_early)]


# Map

def with_answer(doctor):
    """A case that needs a slot that has answered: the call's line, and that row."""
    def found(judge):
        doctor(*next((line, row) for line in judge.maps for row in line["rows"] or ()
                     if row[1] is not None))
    found.__name__ = doctor.__name__
    return found


@with_answer
def answer_of_another(line, row):
    row[1] = row[1].replace(line["mark"], line["mark"] + "0")


@with_answer
def answer_of_another_slot(line, row):
    row[1] = row[1].replace(f", {row[0]}, ", f", {row[0] + 1}, ")


@with_answer
def answer_as_another(line, row):
    row[1] = row[1].replace(line["role"], "mallory")


@with_answer
def answer_lost(line, row):
    row[1] = None


@with_answer
def error_of_its_own(line, row):
    row[1:] = None, "no idea"


@with_answer
def slot_left_out(line, row):
    line["rows"] = line["rows"][1:] or [[2, row[1], None]]


@with_answer
def slots_out_of_order(line, row):
    line["rows"] = [[2, row[1], None], *line["rows"]]


@with_answer
def too_many_slots(line, row):
    line["rows"] = [[number, None, NO_ANSWER] for number in range(1, 1000)]


@with_answer
def comes_late(line, row):
    line["over"] += 100


@with_answer
def hangs(line, row):
    del line["over"]


def nobody_answers(judge):
    for line in judge.maps:
        for row in line["rows"] or ():
            row[1:] = None, NO_ANSWER
    return len(judge.maps) > 50


def some_never_answer(judge):
    """One slot of each call, while nothing is in its way."""
    judge.enough = True
    quiet = [line for line in judge.maps if judge.is_quiet(line)]
    for line in quiet:
        line["rows"][-1][1:] = None, NO_ANSWER
    return len(quiet) > MANY


MAPS = [("own", answer_of_another), ("own", answer_of_another_slot), ("own", answer_as_another),
        ("own", answer_lost), ("own", error_of_its_own), ("own", slot_left_out),
        ("own", slots_out_of_order), ("own", too_many_slots), ("in_time", comes_late),
        ("in_time", hangs), ("answered", nobody_answers),
        ("answered", some_never_answer)]


# Watches

def payloads(judge):
    return [row for row in judge.rows if "payload" in row.said]


def pieces(judge):
    return [row for row in judge.rows if "data" in row.said]


def heard_twice(judge):
    judge.rows.append(copy(payloads(judge)[0]))


def line_heard_twice(judge):
    judge.rows.append(copy(pieces(judge)[0]))


def heard_out_of_order(judge):
    rows = payloads(judge)
    rows[0].said, rows[-1].said = rows[-1].said, rows[0].said


def never_said(judge):
    payloads(judge)[0].said["payload"] += "!"


def line_never_said(judge):
    pieces(judge)[0].said["data"] += "!\n"


def said_and_rolled_back(judge):
    judge.said["payload"][payloads(judge)[0].said["payload"]].denied = True


def in_peace(judge, kind):
    """The row of something that came while all was quiet, between two others."""
    rows = payloads(judge) if kind == "payload" else pieces(judge)
    return next(row for before, row, after in zip(rows, rows[1:], rows[2:])
                if before.due and after.due and row.watch == before.watch == after.watch
                and not judge.was_disturbed(before.due, after.due))


def payload_lost(judge):
    judge.rows.remove(in_peace(judge, "payload"))


def piece_lost(judge):
    judge.rows.remove(in_peace(judge, "line"))


def all_lost_in_the_end(judge):
    """As if nothing had been in the way of the last one."""
    *_, before, row = payloads(judge)
    judge.disturbed = [(began, ended) for began, ended in judge.disturbed
                       if ended < (before.due or 0)]
    judge.rows.remove(row)


def other_watch(judge):
    judge.rows[0].said["id"] += 1


def bytes_lost(judge):
    pieces(judge)[0].said["bytes"] += 1


WATCHES = [("as_said", heard_twice), ("as_said", line_heard_twice),
           ("as_said", heard_out_of_order), ("as_said", never_said),
           ("as_said", line_never_said), ("as_said", said_and_rolled_back),
           ("nothing_missing", payload_lost), ("nothing_missing", piece_lost),
           ("nothing_missing", all_lost_in_the_end), ("whole", other_watch),
           ("whole", bytes_lost)]

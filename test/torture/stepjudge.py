"""The verdicts on coroutines, and on what map has answered: stepper.py, mapper.py.

Each check yields complaints as those of judge.py do.
"""
import re
from collections import defaultdict
from itertools import groupby

from book import NEVER
from jobjudge import LOST_OFTEN, is_counted
from judge import BLUR


class StepJudge:
    def __init__(self, jobs):
        """jobs: a JobJudge, which knows of effects and runs."""
        self.book = jobs.book
        self.jobs = jobs
        self.steps = defaultdict(list)
        for effect in jobs.effects:
            if effect.kind == "step":
                self.steps[effect.event].append(effect)

    def coroutines(self):
        return ((number, event, event.coroutine)
                for number, event in self.book.events.items() if event.coroutine)

    def each_once(self):
        """Every step once, in order; but for the last one, when it was moved meanwhile."""
        for number, event, coroutine in self.coroutines():
            steps = [effect.step for effect in self.steps[number]]
            if any(effect.version != coroutine.version for effect in self.steps[number]):
                yield number, "has steps of another one"
            repeated = self.jobs.while_run(
                number, [(call, tx.acked) for _, _, call, tx in event.moves])
            while repeated and steps[-2:] == [coroutine.spec["steps"] - 1] * 2:
                steps.pop()
                repeated -= 1
            if steps != list(range(len(steps))):
                yield number, f"has its steps {steps}"

    def all_end(self):
        """With its last step, or dead, or cancelled: then there is no further step."""
        for number, event, coroutine in self.coroutines():
            steps, fails = len(self.steps[number]), coroutine.spec["fails"]
            if number in self.jobs.live:
                yield number, f"is still there, after {steps} steps"
            if fails is not None and steps > fails:
                yield number, f"has step {fails}, which fails"
            if number in self.jobs.dead:
                if not self.has_reason(number):
                    yield number, f"is dead after {steps} steps, without having failed"
            elif not event.ends and (fails is not None or steps < coroutine.spec["steps"]):
                yield number, f"has ended after {steps} steps of {coroutine.spec['steps']}"
            cancelled = min((end.tx.acked for end in event.ends), default=NEVER)
            for run in self.jobs.runs_of[number]:
                if run.began > cancelled + BLUR:
                    yield number, f"was cancelled, and run {run.id} began after that"

    def has_reason(self, number):
        """Its last run has failed, or it was lost too often in a row."""
        runs = self.jobs.runs_of[number]
        return runs and is_counted(runs[-1]) or len(runs) >= LOST_OFTEN and \
            all(run.state == "lost" for run in runs[-LOST_OFTEN:])

    def sleeps(self):
        """No step before the sleep of the one before it is over."""
        for number, event, coroutine in self.coroutines():
            due = coroutine.tx.began
            for effect in self.steps[number]:
                if effect.began < effect.due - BLUR or \
                        effect.due < due - BLUR and not event.moves:
                    yield number, f"has step {effect.step} early, at {effect.began}"
                due = effect.began
                if effect.step < coroutine.spec["steps"]:
                    due += max(coroutine.spec["sleeps"][effect.step], 0)


# How long a call of map may take beyond its timeout: processes are frozen, and the
# machine is busy (seconds).
MARGIN = 20

MARK = re.compile(r"mapper\d+\.\d+\.\d+:\d+")
CANCELLED = re.compile(r"canceling statement due to|terminating ")
NO_ANSWER = "no answer"


class MapJudge:
    def __init__(self, book, sizes):
        """sizes: pool -> most."""
        self.maps = book.maps.values()
        self.sizes = sizes

    def own(self):
        """All slots in order, each with what this call has asked for, or without an answer."""
        for line in self.maps:
            rows = line["rows"]
            if not rows:
                continue
            numbers = [number for number, _, _ in rows]
            if numbers != list(range(1, len(rows) + 1)) or \
                    len(rows) > self.sizes.get(line["pool"], 0):
                yield None, f"map {line['mark']} in {line['pool']} has slots {numbers}"
            for row in rows:
                if not is_own(line, *row):
                    yield None, f"map {line['mark']} ({line['kind']}) was told {row}"

    def in_time(self):
        """A call ends with its timeout, or the server with it."""
        for line in self.maps:
            took = line.get("over", NEVER) - line["began"]
            if took > line["timeout"] + MARGIN:
                yield None, f"map {line['mark']}, {line['timeout']} s, took {took:.1f} s"

    def answered(self):
        """It is not that nobody ever answers."""
        kinds = {kind for kind, lines in groupby(sorted(self.maps, key=kind_of), kind_of)
                 if any(error != NO_ANSWER for line in lines
                        for _, _, error in line["rows"] or ())}
        for kind in {kind_of(line) for line in self.maps} & {"plain", "slow"} - kinds:
            yield None, f"no worker has answered what is {kind}"


def kind_of(line):
    return line["kind"]


def is_own(line, number, result, error):
    """May this be the answer of that slot?"""
    marks = set(MARK.findall((result or "") + (error or "")))
    if not marks <= {line["mark"]}:
        return False
    if error is not None:
        return error == NO_ANSWER or CANCELLED.search(error) is not None or \
            line["kind"] == "failing" and marks == {line["mark"]}
    if line["kind"] == "null":
        return result is None
    return line["kind"] not in ("failing", "stuck", "ending") and result is not None and \
        result.startswith(f'["{line["mark"]}", {number}, "{line["role"]}"')

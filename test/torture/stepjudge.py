"""The verdicts on coroutines, and on what map has answered: stepper.py, mapper.py.

Each check yields complaints as those of judge.py do.
"""
import re
from collections import defaultdict

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

    def verdicts(self):
        return (
            ("each step of a coroutine has its effect once, in order", self.each_once()),
            ("coroutines end with their last step, dead or cancelled", self.all_end()),
            ("a coroutine sleeps as long as its step has said", self.sleeps()))

    def figures(self):
        return f"{sum(1 for _ in self.coroutines())} coroutines"

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

# What a call's timeout is at least, and how far away faults are, for it to have answers
# (seconds).
PATIENT, QUIET = 3, 0.5

# So many calls must be there for it to say something that none is answered.
MANY = 5

MARK = re.compile(r"mapper\d+\.\d+\.\d+:\d+")
CANCELLED = re.compile(r'canceling statement due to|terminating |^pool ".*" is stopped$')
NO_ANSWER = "no answer"


class MapJudge:
    def __init__(self, book, sizes, enough):
        """sizes: pool -> most; enough: may there be a worker for each slot and role?"""
        self.maps = book.maps.values()
        self.sizes = sizes
        self.faults = book.faults
        self.enough = enough

    def verdicts(self):
        return (
            ("map tells each caller what he has asked for, slot by slot", self.own()),
            ("map ends in time", self.in_time()),
            ("map is answered", self.answered()))

    def figures(self):
        answers = [error is None for line in self.maps for _, _, error in line["rows"] or ()]
        return f"{len(self.maps)} maps, {sum(answers)} of {len(answers)} slots have answered"

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
        asked = [line for line in self.maps
                 if line["kind"] in ("plain", "slow") and line["timeout"] >= 1 and line["rows"]]
        if len(asked) > MANY and not any(error != NO_ANSWER for line in asked
                                         for _, _, error in line["rows"]):
            yield None, f"no worker has answered any of {len(asked)} calls"
        quiet = [line for line in self.maps if self.is_quiet(line)]
        missed = [line for line in quiet if any(error == NO_ANSWER for _, _, error in line["rows"])]
        if self.enough and len(quiet) > MANY and len(missed) > len(quiet) / 2:
            yield None, f"of {len(quiet)} quiet maps {len(missed)} were not answered by all" \
                f" slots, among them {missed[0]['mark']}"

    def is_quiet(self, line):
        """Nothing is in its way, and it has time enough for what slots are at work on."""
        return bool(line["kind"] in ("plain", "slow") and line["timeout"] >= PATIENT and
                    line["rows"]) and \
            not any(fault["began"] <= line.get("over", NEVER) + QUIET and
                    line["began"] <= fault["at"] + QUIET for fault in self.faults)


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

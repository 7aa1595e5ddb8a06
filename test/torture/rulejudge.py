"""The verdicts on rules: what they have written (ruler.py) against what callers were told.

Each check yields complaints as those of judge.py do.
"""
from collections import Counter, defaultdict
from dataclasses import dataclass

import ruler
from book import NEVER
from judge import BLUR
from jobjudge import Row

# A call whose end nobody has told may have kept others from a rule that long (seconds).
OPEN = 10

# Rules of mode once that write a row each time.
TOLD = {name: [rule for rule, _, mode, condition in rules
               if mode == "once" and condition is None and rule != "failing"]
        for name, rules in ruler.RULES.items()}
PERIODS = {(name, rule): period for name, rules in ruler.RULES.items()
           for rule, period, _, _ in rules + [ruler.ONE_MORE]}
EACH = {name: [rule for rule, _, mode, _ in rules if mode == "each"]
        for name, rules in ruler.RULES.items()}


@dataclass
class Last:
    """When a session has run a rule: its first time between these, and its last."""
    low: float
    high: float
    period: int                 # since the first, at least
    at: float


class RuleJudge:
    def __init__(self, book, rows, halted):
        """rows: lists of ruled and failed; halted: (from, to), when nothing may be run."""
        self.book = book
        self.rows = [Row(**row) for row in rows["ruled"]]
        self.failed = [Row(**row) for row in rows["failed"]]
        self.halted = halted
        self.rows_of = defaultdict(list)
        for row in self.rows:
            self.rows_of[row.call].append(row)

    def verdicts(self):
        return (
            ("no slot of a rule is run twice, and none that is not due", self.once()),
            ("no slot is left out that somebody came for", self.none_missed()),
            ("a rule that fails leaves nothing but a record", self.failing()),
            ("rules of mode each run once in a period of a session", self.each()),
            ("what rules have done is what their callers were told", self.told()),
            ("a rule is run when its filter says so", self.filtered()),
            ("a rule is run as its owner", self.as_owner()))

    def figures(self):
        return f"{len(self.book.calls)} calls of rules, {len(self.rows)} have run," \
            f" {len(self.failed)} have failed"

    def was_halted(self, call):
        return any(began <= call.answered and call.began <= ended
                   for began, ended in self.halted)

    # Mode once

    def once(self):
        """No slot twice, none that is not due."""
        for slot, count in Counter((row.rule_set, row.name, row.slot) for row in self.rows
                                   if row.slot is not None
                                   and row.rule != ruler.ONE_MORE[0]).items():
            if count > 1:
                yield None, f"slot {slot} was run {count} times"
        failures = Counter((run.command, int(run.began / PERIODS["plain", "failing"]))
                           for run in self.failed)
        for (command, slot), count in failures.items():
            if count > 1:
                yield None, f"{command} has failed {count} times in slot {slot}"
        for row in self.rows:
            if row.slot is None:
                continue
            period = PERIODS[row.rule_set, row.rule]
            if row.slot * period > row.at + BLUR or (row.slot + 1) * period < row.asked - BLUR:
                yield None, f"{row.rule} of {row.rule_set} was run for slot {row.slot}," \
                    f" {row.asked} to {row.at}"

    def none_missed(self):
        """A slot that was left to nobody else, and that nobody has run."""
        run = {(row.rule_set, row.name, row.slot) for row in self.rows}
        spans = defaultdict(list)
        for call in self.book.calls.values():
            ended = NEVER if call.tx is None else call.tx.ended
            spans[call.set].append((call.began, min(ended, call.began + OPEN), call))
        for call in self.book.calls.values():
            if call.word != "rules" or call.tx.how != "committed" or self.was_halted(call):
                continue
            for rule in TOLD[call.set]:
                slot = slot_of(call, PERIODS[call.set, rule])
                name = "both" if call.set == "named" and slot is not None and slot % 2 == 0 \
                    else rule
                if slot is None or (call.set, name, slot) in run:
                    continue
                if not any(other is not call and began <= call.answered and call.began <= ended
                           for began, ended, other in spans[call.set]):
                    yield None, f"{call.name} has not run {rule} of {call.set} in slot {slot}"

    def failing(self):
        """What has failed is undone, and written down."""
        for row in self.rows:
            if row.rule == "failing":
                yield None, f"failing has left something, in {row.call}"
        for run in self.failed:
            if run.state != "failed" or run.sqlstate != "TT001" or run.owner != ruler.OWNER:
                yield None, f"{run.command} of {run.owner}: {run.state} {run.sqlstate}"
        if self.book.calls and not self.failed:
            yield None, "no failure was written down"

    # Mode each

    def each(self):
        """In each period, counted from its first run, a session runs a rule once."""
        ways = defaultdict(list)
        for call in self.book.calls.values():
            if call.word in ("rules", "tried"):
                ways[call.tx.conn].append(call)
        for calls in ways.values():
            calls.sort(key=lambda call: call.began)
            yield from self.each_of_session(calls)

    def each_of_session(self, calls):
        lasts, before, tx = {}, {}, None
        for call in calls:
            if call.tx is not tx:
                if tx is not None and tx.how != "committed" and not tx.prepared:
                    lasts = before
                tx, before = call.tx, dict(lasts)
            ran = Counter(rule for rule, _ in call.ran)
            for rule in EACH[call.set]:
                last = lasts.get((call.set, rule))
                following, complaint = judge_each(call, rule, ran[rule], last)
                if complaint and not (ran[rule] == 0 and self.was_halted(call)):
                    yield None, f"{call.name} of {tx.conn}: {rule} of {call.set} {complaint}"
                if call.word == "rules":
                    lasts[call.set, rule] = following

    # Both

    def told(self):
        """What is there, is what its caller was told, and is gone with his transaction."""
        for name, rows in self.rows_of.items():
            call = self.book.calls.get(name)
            if call is None or call.word == "tried":
                yield None, f"{name} has left something, and was not called, or rolled back"
        for call in self.book.calls.values():
            if call.word != "rules":
                continue
            ran = [[rule, slot] for rule, slot in call.ran] \
                if call.tx.how == "committed" else []
            found = [[row.rule, row.slot] for row in self.rows_of[call.name]]
            if ran != found:
                yield None, f"{call.name}, {call.tx.how}, was told {ran}; there is {found}"

    def filtered(self):
        for row in self.rows:
            if row.rule == "picky" and row.n % 2 != 0:
                yield None, f"picky was run for {row.n}, by {row.call}"

    def as_owner(self):
        for row in self.rows:
            if row.who != ruler.OWNER:
                yield None, f"{row.rule} of {row.rule_set} was run as {row.who}"


def slot_of(call, period):
    """The slot that a call was in, if it was in one only."""
    slot = int(call.began / period)
    return slot if slot == int(call.answered / period) else None


def judge_each(call, rule, count, last):
    """What is known of a session's runs of a rule after a call; and a complaint, or None."""
    period = PERIODS[call.set, rule]
    early = min(period / 100, 0.01)
    if count > 1:
        return last, f"was run {count} times"
    if count == 0:
        due = last is None or call.began - last.at >= period + BLUR
        return last, "was not run" if due else None
    if last is None:
        return Last(call.began, call.answered, 0, call.answered), None
    least, most = (int((at + early) / period) for at in (call.began - last.high,
                                                         call.answered - last.low + BLUR))
    complaint = f"was run twice in period {most}" if most <= last.period else None
    return Last(last.low, last.high, max(least, last.period + 1), call.answered), complaint

"""The verdicts on jobs and series: their effects (workshop.py) against the ledgers.

Each check yields complaints as those of judge.py do.
"""
from collections import Counter, defaultdict

import scene
from book import NEVER
from judge import BLUR

LOST_OFTEN = 3          # evsched.max_lost_runs

# How a run may fail: as it was told to, or by its run_timeout.
FAILURES = {"TT001", "57014"}


class Row:
    """A row that was read from the server, by the names of its columns."""

    def __init__(self, **columns):
        self.__dict__.update(columns)


class JobJudge:
    def __init__(self, book, rows, live, sizes):
        """rows: lists of effects, beats, runs, dead; live: ids; sizes: pool -> most."""
        self.book = book
        self.effects, self.beats, self.runs, dead = (
            [Row(**row) for row in rows[what]] for what in ("effects", "beats", "runs", "dead"))
        self.dead = {row.id: row for row in dead}
        self.live = live
        self.sizes = sizes
        self.run = {run.id: run for run in self.runs}
        self.done, self.runs_of = defaultdict(list), defaultdict(list)
        for effect in self.effects:
            if effect.kind == "job":
                self.done[effect.event].append(effect)
        for run in self.runs:
            self.runs_of[run.event].append(run)

    def jobs(self):
        """The jobs that clients have posted: their numbers, what is known, how it began."""
        return ((number, event, event.jobs[0])
                for number, event in self.book.events.items() if event.jobs)

    def moves(self, event):
        """Of a job, (from, to): when it may have been given another time."""
        key = event.jobs[0].pool, event.jobs[0].key
        return [(call, tx.acked) for _, _, call, tx in event.moves + self.book.keys[key]["moves"]]

    def once_more(self, number, event):
        """How many of its runs may have been followed by one more: moved in the meantime."""
        return self.while_run(number, self.moves(event))

    def while_run(self, number, moves):
        """How many of these moves, (from, to), were made while it was run."""
        return sum(any(began - BLUR <= run.ended and run.began <= ended + BLUR
                       for run in self.runs_of[number] if run.ended is not None)
                   for began, ended in moves)

    # Jobs

    def once(self):
        """Its effect is there once, or it is dead or cancelled and has none."""
        unknown, unclear = Counter(), Counter()
        for number, event, job in self.jobs():
            if job.key is not None and not event.ends and number not in self.dead:
                unclear[job.pool, job.key] += 1
            count = len(self.done[number])
            most = 1 + job.spec["again"] + self.once_more(number, event)
            if count > most:
                yield number, f"has its effect {count} times, and not {most}"
            if number in self.dead and count > most - 1:
                yield number, f"is dead, and has its effect {count} times"
            if number in self.live:
                yield number, "is still there"
            if count > job.spec["again"] or number in self.dead or event.ends:
                continue
            if job.key is not None:
                unknown[job.pool, job.key] += 1
                if unknown[job.pool, job.key] <= self.book.keys[job.pool, job.key]["ends"]:
                    continue
            yield number, f"has its effect {count} times, is neither dead nor cancelled, and gone"
        for key, of_key in self.book.keys.items():
            if key[0] in scene.POOLS and of_key["ends"] > unclear[key]:
                yield None, f"{key}: more were cancelled than there were"

    def runs_as_told(self):
        """Whoever was told that a job comes at another time, for him it does."""
        for number, event, job in self.jobs():
            last = max((run.began for run in self.runs_of[number]), default=0)
            for _, _, call, tx in event.moves:
                if last < call and not event.ends and job.key is None:
                    yield number, f"was given another time by {tx.name}, and has not come"

    def first_parts(self):
        """What a job has committed on its way to the end."""
        first = {effect.event for effect in self.effects if effect.kind == "first"}
        for number, _, job in self.jobs():
            if "parts" in job.spec and self.done[number] and number not in first:
                yield number, "has its last part, and not its first"

    def nothing_undue(self):
        """Nothing is run that was rolled back, cancelled, replaced, or for later."""
        for effect in self.effects:
            if effect.version in self.book.rolled_versions:
                yield effect.event, "was rolled back, and has run"
        for number, event, _ in self.jobs():
            cancelled = min((end.tx.acked for end in event.ends), default=NEVER)
            low = min([job.low for job in event.jobs] +
                      [move[0] for move in event.moves + self.book.keys[
                          event.jobs[0].pool, event.jobs[0].key]["moves"]])
            for run in self.runs_of[number]:
                if run.began > cancelled + BLUR:
                    yield number, f"was cancelled, and run {run.id} began after that"
                if run.began < low - BLUR:
                    yield number, f"was run {1000 * (low - run.began):.3f} ms early"
            for effect in self.done[number]:
                yield from self.undue(number, event, effect)

    def undue(self, number, event, effect):
        job = next((job for job in event.jobs if job.version == effect.version), None)
        if job is None:
            yield number, f"has the effect of {effect.version}, which nobody gave it"
            return
        if effect.began < effect.due - BLUR:
            yield number, "has its effect before it was due"
        run = self.run.get(effect.run)
        for other in event.jobs:
            if other.how == "replace" and other.tx.began > job.tx.acked and run is not None and \
                    other.tx.acked + BLUR < run.began:
                yield number, f"was run as {job.version}, replaced by {other.version}"

    def dead_for_good(self):
        """Dead is only what has failed too often or was lost too often, and then it is."""
        for number, dead in self.dead.items():
            runs = self.runs_of[number]
            counted = sum(is_counted(run) for run in runs)
            lost = sum(run.state == "lost" for run in runs)
            if counted <= (dead.max or 0) and lost < LOST_OFTEN:
                yield number, f"is dead ({dead.why}) after {counted} failures, {lost} lost runs"
            if not runs:
                yield number, f"is dead ({dead.why}), and has no run"
        for number, event, job in self.jobs():
            for effect in self.done[number]:
                spec = self.book.versions.get(effect.version, job).spec
                if effect.tries < spec["fails"]:
                    yield number, f"has an effect of try {effect.tries}, which failed"
                if effect.tries > max(job.max, 0):
                    yield number, f"was tried {effect.tries} times more, and not {job.max}"

    # Runs

    def alone(self):
        """In pool active one runs at a time, and no job twice at once."""
        for effect in self.effects:
            if not effect.alone:
                yield effect.event, f"was not alone in pool active (run {effect.run})"
        for number, runs in self.runs_of.items():
            for one, next_one in zip(runs, runs[1:]):
                if one.state != "lost" and overlap(one, next_one):
                    yield number, f"had runs {one.id} and {next_one.id} at the same time"
        for pool, size in self.sizes.items():
            yield from self.crowded(pool, size)

    def crowded(self, pool, size):
        """More at once than its size, those not counted of which nobody knows the end."""
        running = []
        for run in self.runs:
            if run.pool != pool or run.state == "lost":
                continue
            running = [other for other in running if overlap(other, run)] + [run]
            if len(running) > size:
                yield run.event, f"was one of {len(running)} in pool {pool}, not {size}: runs " + \
                    ", ".join(str(other.id) for other in running)

    def as_owner(self):
        """Each has run as the role that posted it, in a session that knows nothing of others."""
        for effect in self.effects:
            if effect.who != effect.login:
                yield effect.event, f"was run as {effect.who} in a session of {effect.login}"
            if not effect.clean:
                yield effect.event, f"found what another has left behind (run {effect.run})"
            run = self.run.get(effect.run)
            if run is not None and run.owner != effect.who:
                yield effect.event, f"of {run.owner} was run as {effect.who}"
            known = self.book.versions.get(effect.version)
            role = scene.HANDLED if effect.kind == "handler" else known and known.role
            if effect.who != role:
                yield effect.event, f"of {role} was run as {effect.who}"

    def recorded(self):
        """To each effect a run that succeeded, to each run that succeeded an effect."""
        told = Counter()
        for effect in self.effects:
            run = self.run.get(effect.run)
            if run is None:
                yield effect.event, f"has an effect of run {effect.run}, which is not recorded"
            elif run.event != effect.event or run.series != effect.series:
                yield effect.event, f"has an effect of run {run.id}, of event {run.event}"
            elif effect.kind != "first":
                told[run.id] += 1
                if run.state != "succeeded":
                    yield effect.event, f"has an effect of run {run.id}, which is {run.state}"
        for run in self.runs:
            if run.state == "succeeded" and told[run.id] != 1:
                yield run.event, f"has {told[run.id]} effects of run {run.id}"
            if run.state == "running" or run.ended is None or run.ended < run.began:
                yield run.event, f"has run {run.id}: {run.state}, {run.began} to {run.ended}"
            if run.state == "failed" and run.sqlstate not in FAILURES:
                yield run.event, f"has failed with {run.sqlstate} {run.message}"

    def followed(self):
        """Each op has its body once, each death of a role with a handler is handled once."""
        bodies, handled = (Counter(effect.version for effect in self.effects
                                   if effect.kind == kind) for kind in ("body", "handler"))
        ops = Counter(effect.version for effect in self.effects if effect.kind == "job" and
                      "op" in getattr(self.book.versions.get(effect.version), "spec", ()))
        dead = [row for row in self.dead.values()]
        lost_bodies = Counter(row.payload for row in dead if isinstance(row.payload, str))
        for version in bodies.keys() | ops.keys():
            if bodies[version] + lost_bodies[version] != ops[version]:
                yield self.book.versions[version].event, \
                    f"is done {ops[version]} times, its body {bodies[version]} times"
        unhandled = Counter(row.handles for row in dead if row.handles is not None)
        failed = {row.id for row in dead if row.handles is None and row.owner == scene.HANDLED}
        for number in failed | {int(version) for version in handled}:
            if handled[str(number)] + unhandled[number] != (number in failed):
                yield number, f"is dead, and was handled {handled[str(number)]} times"

    # Series

    def occurrences(self):
        """Of each series, (planned, event, version, when)."""
        found = defaultdict(list)
        for effect in self.effects:
            if effect.series is not None and effect.kind != "heard":
                found[effect.series].append((effect.planned, effect.event, effect.version,
                                             effect.began))
        for beat in self.beats:
            found[beat.series].append((beat.planned, beat.event, beat.version, beat.at))
        return found

    def on_grid(self):
        """Each occurrence comes once, at a time of its plan or by run_now, and not early."""
        for number, found in self.occurrences().items():
            event = self.book.events.get(number)
            if event is None or not event.series:
                yield number, "puts forth occurrences, and was not posted"
                continue
            for what, name in ((0, "planned time"), (1, "occurrence")):
                for value, count in Counter(row[what] for row in found).items():
                    if count > 1 and value is not None:
                        yield number, f"has its {name} {value} {count} times"
            grids = [series.grid for series in event.series] + event.shifts
            for planned, occurrence, version, when in found:
                if not any(series.version == version for series in event.series):
                    yield number, f"has {occurrence} of {version}, which nobody gave it"
                if planned is None or self.is_extra(number, occurrence):
                    continue
                if planned > (when + BLUR) * 1e6:
                    yield number, f"has {occurrence} early: {planned}, at {when}"
                if not any(is_on(grid, planned) for grid in grids):
                    yield number, f"has {occurrence} at {planned}, off its plan {grids}"

    def is_extra(self, number, occurrence):
        """run_now of a series of messages, whose planned time is not told."""
        return (number, occurrence) in self.book.extras

    def complete(self):
        """With missed 'all', and nothing that jobs may stand in the way of, none is left out."""
        lost = Counter(row.series for row in self.dead.values())
        for number, found in self.occurrences().items():
            event = self.book.events.get(number)
            if event is None or len(event.series) != 1 or event.shifts:
                continue
            series = event.series[0]
            if series.missed != "all" or series.overlap in ("skip", "queue"):
                continue
            first, period = series.grid[2], series.grid[1]
            there = {round((planned - first) / period) for planned, occurrence, _, _ in found
                     if planned is not None and not self.is_extra(number, occurrence)}
            holes = sorted(set(range(max(there, default=-1) + 1)) - there)
            if len(holes) > lost[number]:
                yield number, f"has left out {len(holes)} of {max(there) + 1}: {holes[:10]}"

    def silent(self):
        """What was cancelled or rolled back is silent, and nothing else has ended."""
        rolled = self.book.rolled_versions
        found = self.occurrences()
        for number, rows in found.items():
            ended = min((end.tx.acked for end in self.book.events[number].ends), default=NEVER)
            for planned, occurrence, version, when in rows:
                if version in rolled:
                    yield number, f"was rolled back, and has {occurrence}"
                if planned is not None and planned > (ended + BLUR) * 1e6:
                    yield number, f"was cancelled, and has {occurrence} at {planned}"
        for number, event in self.book.events.items():
            if event.series and not event.ends:
                yield number, "has ended, and nobody cancelled it"
            if len(event.ends) > 1 and event.series:
                yield number, f"was cancelled {len(event.ends)} times"


def is_counted(run):
    """Has this run used up a retry?"""
    return run.state == "failed" or \
        run.state == "cancelled" and run.message == "stopped by stop_run"


def overlap(one, next_one):
    """Two runs, the second of which began no sooner."""
    return one.ended is None or next_one.began < one.ended - BLUR


def is_on(grid, planned):
    """Is that a time of the plan, by period or, as cron has it here, a full second?"""
    origin, period, first = grid
    if period is None:
        return planned % 1000000 == 0 or planned == first
    return (planned - origin) % period == 0 and planned >= origin

#!/usr/bin/python3
"""When random schedules come, computed by others than evsched.

    cron_oracle.py croniter|clock SEED CASES

Prints a case a line, its columns separated by tabs: schedule, zone, from_time, until, and
the times in between as an array of PostgreSQL's.

croniter: by the module of that name, for years and decades, in zones without and with
          daylight saving time; not at the hours at which clocks are changed.
clock:    by looking at a clock minute for minute, in the days around such an hour.
"""
import random
import re
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
# first and last value, and the names of the values from the first on
FIELDS = [(0, 59, ()), (0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 6, WEEKDAYS)]
SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY = range(6)
LAST_DAY = 0
MINUTES = timedelta(minutes=1)

# Where and when clocks are changed: most by an hour, some by half an hour or by a day.
EDGES = [
    ("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"),
    ("Europe/Berlin", "2043-03-29"), ("Europe/Berlin", "1980-04-06"),
    ("America/New_York", "2026-03-08"), ("America/New_York", "2026-11-01"),
    ("America/St_Johns", "2000-04-02"), ("America/St_Johns", "2000-10-29"),
    ("Australia/Lord_Howe", "2026-04-05"), ("Australia/Lord_Howe", "2026-10-04"),
    ("Africa/Casablanca", "2025-02-23"), ("Africa/Casablanca", "2025-04-06"),
    ("America/Sao_Paulo", "2018-11-04"), ("America/Sao_Paulo", "2018-02-18"),
    ("Asia/Pyongyang", "2015-08-15"), ("Antarctica/Troll", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"), ("Pacific/Kwajalein", "1969-10-01"),
    ("Asia/Kathmandu", "2026-03-29"), ("UTC", "2026-03-29"),
]


def spell(field, value):
    """A value as it may be written."""
    names = FIELDS[field][2]
    if field == WEEKDAY and value == 0 and random.random() < 0.3:
        return "7"
    if names and random.random() < 0.5:
        name = names[value - FIELDS[field][0]]
        return random.choice([name, name.upper(), name.title()])
    return str(value)


def item(field):
    """One item of a list, and what it stands for."""
    low, high, _ = FIELDS[field]
    first = random.randint(low, high)
    last = random.randint(first, high)
    step = random.randint(1, high - low + 1)
    kind = random.choice(["value", "value", "value", "range", "range/step", "*/step", "value/step"])
    if field == DAY and random.random() < 0.1:
        return random.choice("Ll$"), {LAST_DAY}
    if kind == "value":
        return spell(field, first), {first}
    if kind == "*/step":
        return f"*/{step}", set(range(low, high + 1, step))
    if kind == "value/step":
        return f"{spell(field, first) if first else 0}/{step}", set(range(first, high + 1, step))
    begin = "0" if first == 0 else spell(field, first)
    text, end = f"{begin}-{spell(field, last) if last else 0}", last
    if field == WEEKDAY and first > 0 and random.random() < 0.3:
        text, end = f"{begin}-{random.choice(['7', 'sun'])}", 7
    values = range(first, end + 1)
    if kind == "range/step":
        text, values = f"{text}/{step}", range(first, end + 1, step)
    return text, {0 if field == WEEKDAY and value == 7 else value for value in values}


class Schedule:
    """Five or six fields, and what they stand for."""

    def __init__(self, star):
        self.texts, self.values = [], []
        self.has_seconds = random.random() < 0.2
        for field, (low, high, _) in enumerate(FIELDS):
            if field == SECOND and not self.has_seconds:
                text, values = "0", {0}
            elif random.random() < star[field]:
                text, values = "*", set(range(low, high + 1))
            else:
                items = [item(field) for _ in range(random.choice([1, 1, 1, 2, 3]))]
                text = ",".join(text for text, _ in items)
                values = set().union(*(values for _, values in items))
            self.texts.append(text)
            self.values.append(values)
        self.any_day = self.is_any(DAY, 31)
        self.any_weekday = self.is_any(WEEKDAY, 7)
        self.absolute = len(self.values[HOUR]) == 24 or "/" in self.texts[HOUR]

    def __str__(self):
        return " ".join(self.texts if self.has_seconds else self.texts[1:])

    def is_all(self, field, number):
        return len(self.values[field] - ({LAST_DAY} if field == DAY else set())) == number

    def is_any(self, field, number):
        return self.texts[field].startswith("*") and self.is_all(field, number)

    def has_day(self, date):
        day = date.day in self.values[DAY] or (
            LAST_DAY in self.values[DAY] and (date + timedelta(days=1)).day == 1)
        weekday = date.isoweekday() % 7 in self.values[WEEKDAY]
        if not self.any_day and not self.any_weekday:
            return date.month in self.values[MONTH] and (day or weekday)
        return date.month in self.values[MONTH] and (self.any_day or day) and weekday

    def has_minute(self, at):
        return (at.minute in self.values[MINUTE] and at.hour in self.values[HOUR]
                and self.has_day(at))


def print_case(schedule, zone, start, until, times):
    times = ",".join(f'"{at.isoformat()}"' for at in times)
    print(schedule, zone, start.isoformat(), until.isoformat(), "{" + times + "}", sep="\t")


class Days:
    """What a zone's clocks show in some days, minute for minute."""

    def __init__(self, zone, day):
        self.zone = zone
        start = datetime.fromisoformat(day).replace(tzinfo=timezone.utc) - timedelta(days=2)
        instants = [start + i * MINUTES for i in range(4 * 24 * 60)]
        self.shown = [(at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for at in instants]

    def times(self, schedule):
        """All times of a schedule, told from the rule alone."""
        found = set()
        reached = self.shown[0][1]
        for at, local in self.shown:
            skipped = reached + MINUTES
            while skipped < local and not schedule.absolute:
                if schedule.has_minute(skipped):
                    found.add(at)
                    break
                skipped += MINUTES
            if (schedule.absolute or local > reached) and schedule.has_minute(local):
                found.update(at + timedelta(seconds=s) for s in schedule.values[SECOND])
            reached = max(reached, local)
        return sorted(found)


def clock_cases(cases):
    days = [Days(zone, day) for zone, day in EDGES]
    for _ in range(cases):
        chosen = random.choice(days)
        schedule = Schedule(star=[0.2, 0.3, 0.3, 0.6, 0.8, 0.6])
        if schedule.any_weekday and not schedule.any_day and not any(
                LAST_DAY in schedule.values[DAY] or min(schedule.values[DAY]) <= length
                for month, length in zip(range(1, 13), [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
                if month in schedule.values[MONTH]):
            continue
        # Behind the first minutes: what they make up for is not known here.
        start = chosen.shown[random.randint(1500, 4000)][0] + timedelta(
            microseconds=random.choice([0, 0, 1, 999999, 30000000]))
        until = chosen.shown[-1][0]
        times = [at for at in chosen.times(schedule) if start < at < until]
        if len(times) > 500:
            until = times[500]
            del times[500:]
        print_case(schedule, chosen.zone, start, until, times)


def croniter_cases(cases):
    from croniter import croniter
    from croniter.croniter import CroniterError

    done = 0
    while done < cases:
        schedule = Schedule(star=[0.2, 0.3, 0.3, 0.5, 0.6, 0.5])
        if differs(schedule):
            continue
        texts = [text.replace("$", "L") for text in schedule.texts]
        # Its seconds come last.
        theirs = " ".join(texts[1:] + (texts[:1] if schedule.has_seconds else []))
        zone = random.choice(["UTC", "Asia/Kathmandu", "Europe/Berlin", "America/New_York"])
        local = datetime(2000, 1, 1) + timedelta(seconds=random.randint(0, 35 * 365 * 86400))
        try:
            walk = croniter(theirs, local)
            locals_ = [walk.get_next(datetime) for _ in range(21)]
        except CroniterError:  # no such date, or, in later versions, a step it does not like
            continue
        instants = [unique_instant(zone, at) for at in [local] + locals_]
        if None in instants:
            continue
        print_case(schedule, zone, instants[0], instants[-1], instants[1:-1])
        done += 1


def number_of(field, spelled):
    names = FIELDS[field][2]
    return names.index(spelled) + FIELDS[field][0] if spelled in names else int(spelled)


def differs(schedule):
    """What croniter reads or computes in another way, at least in one of 1.3, 2.0 and 6.2."""
    days, weekdays = schedule.values[DAY], schedule.texts[WEEKDAY].lower()
    # It counts open steps of the week to 7, knows no ranges to Sunday, and 7 only alone.
    if "/" in weekdays or "-sun" in weekdays or "7" in weekdays[1:] or "7," in weekdays:
        return True
    # A range of one value is all values to its later versions, open steps from the last one, too.
    for field, text in enumerate(schedule.texts):
        for first, last in re.findall(r"\b(\w+)(?:-(\w+)|/)", text.lower()):
            last = number_of(field, last) if last else FIELDS[field][1]
            if number_of(field, first) == last:
                return True
    # Does it restrict? It tells so by its text, and its versions differ.
    if any(schedule.is_all(field, number) and schedule.texts[field] != "*"
           for field, number in ((DAY, 31), (WEEKDAY, 7))):
        return True
    # In a list it looks for the last day only where it stands in it.
    if LAST_DAY in days and len(days) > 1:
        return True
    # From a day that February has not, it goes on behind the first days of March.
    return max(days) > 29 and min(days) < 3 and len(days) < 31


def unique_instant(zone, local):
    """When the clocks show a local time; None unless they do so once, and not near a change."""
    first = local.replace(tzinfo=ZoneInfo(zone))
    if any((first + timedelta(hours=h)).utcoffset() != first.utcoffset() for h in (-25, 25)):
        return None
    return first.astimezone(timezone.utc)


def main():
    mode, seed, cases = sys.argv[1], sys.argv[2], int(sys.argv[3])
    random.seed(seed)
    {"croniter": croniter_cases, "clock": clock_cases}[mode](cases)


main()

"""The verdicts on watches: what was said (watcher.py), against what their jobs were told.

Each check yields complaints as those of judge.py do.
"""
import base64
from dataclasses import dataclass

from book import NEVER
from jobjudge import Row
from judge import BLUR
from watcher import text_of

# What happens to the server, and takes with it what is just being heard, or nothing is
# listened to; and for how long after it (seconds).
HARMLESS = {"kill_clients", "freeze_scheduler", "freeze_session", "freeze_client",
            "freeze_worker", "terminate_sessions", "terminate_workers", "resize_pools"}
AFTERMATH = 5

# The same of a watch that is changed, and of a transaction whose end nobody has told.
REST, OPEN = 2, 10


@dataclass
class Said:
    """Something that was said, at its place in the order of all that was."""
    place: int
    began: float
    known: bool                 # it was said for sure
    denied: bool                # it was not


class WatchJudge:
    def __init__(self, book, heard):
        self.book = book
        self.rows = [Row(**row) for row in heard]
        self.disturbed = [(fault["began"], fault["at"] + AFTERMATH) for fault in book.faults
                          if fault["name"] not in HARMLESS]
        self.disturbed += [(tx.began, min(tx.acked, tx.began + OPEN) + REST)
                           for tx in book.unwatched]
        self.said = {"line": {}, "payload": {}}
        for line in book.sayings.values():
            self.note(line)

    def verdicts(self):
        return (
            ("watches hear what was said, in order, and nothing twice", self.as_said()),
            ("watches hear all that was said while nothing was in the way",
             self.nothing_missing()),
            ("what a watch hears is whole", self.whole()))

    def figures(self):
        return f"{len(self.book.watches)} watches, {len(self.rows)} pieces of" \
            f" {sum(map(len, self.said.values()))} lines and notifications"

    def note(self, line):
        """A burst: lines are told when they were written, payloads by their transaction."""
        said, tx = self.said[line["of"]], line.get("tx")
        for number, pad in enumerate(line["pads"]):
            if line["of"] == "line":
                known = number < line.get("done", 0)
                denied = number >= line.get("done", NEVER)
            else:
                known = tx is not None and tx.how == "committed"
                denied = tx is not None and not known
            said[text_of(line["prefix"], line["first"] + number, pad)] = Said(
                len(said), line["at"], known, denied)

    def was_disturbed(self, since, until):
        return any(began <= until + BLUR and since - BLUR <= ended
                   for began, ended in self.disturbed)

    def heard(self, kind):
        """What came, in its order: (text, when); None for what is cut off."""
        if kind == "payload":
            for row in self.rows:
                if "payload" in row.said:
                    yield row.said["payload"], row.due
            return
        rest, since, torn = b"", 0, False
        for row in self.rows:
            if "data" not in row.said:
                continue
            torn |= self.was_disturbed(since, row.due or NEVER)
            *lines, rest = (rest + bytes_of(row.said)).split(b"\n")
            since = row.due or since
            for line in lines:
                text = line.decode(errors="replace")
                # What came between two pieces may be lost, and with it a part of a line.
                yield None if torn and text not in self.said["line"] else text, since
                torn = False

    def as_said(self):
        """Only what was said and committed, in its order, and nothing twice."""
        for kind, said in self.said.items():
            last = -1
            for text, _ in self.heard(kind):
                if text is None:
                    continue
                found = said.get(text)
                if found is None:
                    yield None, f"{kind} {text[:60]} was heard, which nobody has said"
                elif found.denied:
                    yield None, f"{kind} {text[:60]} was heard, and not said in the end"
                elif found.place <= last:
                    yield None, f"{kind} {text[:60]} was heard too late, or twice"
                if found is not None:
                    last = found.place

    def nothing_missing(self):
        """All of it, but for what was said while the scheduler was hit, or not to watch."""
        for kind, said in self.said.items():
            order = sorted(said.items(), key=lambda item: item[1].place)
            last, since = -1, order[0][1].began if order else 0
            for text, at in [*self.heard(kind), (None, NEVER)]:
                place = len(order) if at == NEVER else said[text].place if text in said else None
                if place is None:
                    continue
                missing = [text for text, one in order[last + 1:place] if one.known]
                if missing and not self.was_disturbed(since, at or NEVER):
                    yield None, f"{len(missing)} of {kind} are missing before {at}," \
                        f" the first: {missing[0][:60]}"
                last, since = max(place, last), at or since

    def whole(self):
        """Each piece tells which watch it is of and how long it is."""
        for row in self.rows:
            if row.said["id"] != row.watch or row.watch not in self.book.watches:
                yield row.event, f"of watch {row.watch} says that it is of {row.said['id']}"
            if "data" in row.said and len(bytes_of(row.said)) != row.said["bytes"]:
                yield row.event, f"has not the {row.said['bytes']} bytes that it tells"


def bytes_of(said):
    if said.get("encoding") == "base64":
        return base64.b64decode(said["data"])
    return said["data"].encode()

"""What a client does with the events it holds: shared by listeners and receivers."""
import time

# The columns of evsched.delivery that are noted, and the length of the payload's padding.
DELIVERY = ("id, payload->>'version' ||"
            " CASE WHEN split_part(payload->>'version', ':', 3)::int = length(payload->>'pad')"
            " THEN '' ELSE ' spoilt' END, num_retries,"
            " extract(epoch FROM due_at)::float8, max_retries, queue, key")


class Handling:
    def __init__(self, session):
        self.session = session
        self.random = session.random
        self.held = {}          # id -> max_retries
        self.to_fetch = {}      # id -> since when
        self.ways = [self.confirm_each] * 30 + [self.confirm_batch] * 25 + \
            [self.confirm_at_once] * 15 + [self.confirm_with_work] * 15 + \
            [self.confirm_prepared] * 4 + [self.roll_back] * 8 + [self.reject] * 8 + \
            [self.forget] * 5 + [self.extend] * 4 + [self.cancel] * 2

    def handle(self, simply=False):
        """Deals with what it holds; simply: all of it is confirmed."""
        if self.to_fetch:
            self.fetch()
        while self.held:
            ids = self.some()
            if simply:
                self.confirm_batch(ids)
            else:
                self.random.choice(self.ways)(ids)
            for event in ids:
                self.held.pop(event, None)

    def some(self):
        """A few of the events it holds."""
        ids = list(self.held)
        self.random.shuffle(ids)
        return ids[:self.random.choice([1, 2, 5, 100])]

    @staticmethod
    def version_of(payload):
        """The version that a payload names, unless it has been spoilt."""
        version = payload["version"]
        whole = int(version.split(":")[2]) == len(payload["pad"])
        return version if whole else version + " spoilt"

    def fetch(self):
        """Reads the large ones; those with max_retries 0 are gone with that."""
        ids = list(self.to_fetch)
        self.to_fetch.clear()
        end = "rollback" if self.random.random() < 0.05 else "commit"
        found = []
        def work(facts):
            began = time.time()
            rows = self.session.run(
                f"SELECT {DELIVERY} FROM evsched.fetch(%s::bigint[])", (ids,))
            for row in rows:
                facts.append(["fetch", *row, began])
                found.append(row)
        if self.session.transact(work, end):
            self.held.update({row[0]: row[4] for row in found if row[4] != 0})

    def call(self, word, sql, ids, end="commit"):
        """Calls a function that answers true or false for some events, in a transaction."""
        def work(facts):
            for event in ids:
                began = time.time()
                (done,), = self.session.run(sql, (event,))
                facts.append([word, event, done, began])
        return self.session.transact(work, end)

    def confirm_each(self, ids):
        for event in ids:
            self.call("confirm", "SELECT evsched.confirm(%s::bigint)", [event])

    def confirm_batch(self, ids):
        """The answer says how many; when it is not clear which, one by one."""
        unclear = []
        def work(facts):
            began = time.time()
            (count,), = self.session.run("SELECT evsched.confirm(%s::bigint[])", (ids,))
            if count in (0, len(ids)):
                facts += [["confirm", event, count > 0, began] for event in ids]
            else:
                unclear.append(count)
                self.session.run("SELECT 1 / 0")
        self.session.transact(work)
        if unclear:
            self.confirm_each(ids)

    def confirm_at_once(self, ids):
        for event in ids:
            self.session.transact_at_once("evsched.confirm(%s::bigint)", (event,),
                                          ["confirm", event])

    def confirm_with_work(self, ids):
        """What is done and that it is done commit together."""
        def work(facts):
            for event in ids:
                began = time.time()
                (done,), = self.session.run("SELECT evsched.confirm(%s::bigint)", (event,))
                facts.append(["confirm", event, done, began])
                if done:
                    self.session.run("INSERT INTO torture.work VALUES (%s)", (event,))
            if self.random.random() < 0.1:
                time.sleep(self.random.uniform(0, 0.5))
        self.session.transact(work)

    def confirm_prepared(self, ids):
        self.call("confirm", "SELECT evsched.confirm(%s::bigint)", ids,
                  self.random.choice(["prepare", "unprepare"]))

    def roll_back(self, ids):
        """Confirms, and takes it back: by a savepoint, or all of it."""
        if self.random.random() < 0.5:
            self.call("confirm", "SELECT evsched.confirm(%s::bigint)", ids, "rollback")
            return
        def work(facts):
            self.session.run("SAVEPOINT part")
            self.session.run("SELECT evsched.confirm(%s::bigint[])", (ids,))
            time.sleep(self.random.choice([0, 0.01, 0.3]))
            self.session.run("ROLLBACK TO part")
        self.session.transact(work)

    def reject(self, ids):
        delay = self.random.choice([None, "0", "30 ms"])
        def work(facts):
            for event in ids:
                began = time.time()
                (done,), = self.session.run(
                    "SELECT evsched.reject(%s, %s, 'torture')", (event, delay))
                facts.append(["reject", event, done, began])
        self.session.transact(
            work, self.random.choice(["commit"] * 6 + ["rollback", "prepare"]))

    def forget(self, ids):
        """Their leases run out."""

    def extend(self, ids):
        """Held a little longer, then confirmed."""
        for event in ids:
            self.session.run("SELECT evsched.extend(%s, '400 ms')", (event,))
        time.sleep(self.random.uniform(0, 0.3))
        self.confirm_batch(ids)

    def cancel(self, ids):
        self.call("cancel", "SELECT evsched.cancel(%s::bigint)", ids)

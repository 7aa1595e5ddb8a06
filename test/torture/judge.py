"""The verdicts: does what the clients were told agree with what evsched promises?

Each check yields complaints, (event or None, text); none means that it holds.
"""
from collections import Counter, defaultdict

import scene
from book import NEVER

# Between the commit of a turn and the moment its notification is on its way, the
# scheduler may have been held up that long (seconds).
GRACE = 2

# Times are floats of seconds, and cut to microseconds on their way.
BLUR = 1e-5

# What a client may be told: keys that are held, transactions that got in each other's
# way or were ended by somebody else, the division that makes confirm_batch roll back, a
# notification queue that is full.
EXPECTED_STATES = {"23505", "40001", "40P01", "42704", "55000", "22012", "53300", "54000"}


class Judge:
    def __init__(self, book, dead, live, taken, worked):
        """dead: id -> (num_retries, max_retries, why, died_at); live: ids; the rest: lists."""
        self.book = book
        self.dead = dead
        self.live = live
        self.taken = taken
        self.worked = worked
        self.released = defaultdict(list)
        for conn, queue, tx in book.releases:
            self.released[conn.name, queue].append(tx)
        self.losses = defaultdict(list)
        for queue, low, high in book.losses:
            self.losses[queue].append((low, high))

    def known(self):
        """The events that were posted by clients, with their numbers."""
        return ((number, event) for number, event in self.book.events.items() if event.posts)

    # 1

    def not_lost(self):
        """Every event that is to be confirmed has ended, or is dead."""
        unknown = Counter()
        for number, event in self.known():
            post = event.posts[0]
            if event.ends or number in self.dead or number in self.live:
                continue
            if post.max == 0 and post.queue in scene.JOINED and self.may_have_vanished(event):
                continue
            if post.key is not None:
                unknown[post.queue, post.key] += 1
                by_key = self.book.keys[post.queue, post.key]
                if unknown[post.queue, post.key] <= by_key["ends"]:
                    continue
            yield number, "was posted, and nothing became of it"

    def may_have_vanished(self, event):
        """With max_retries 0 it was handed out, or sent to a session that is gone."""
        if any(d.word == "got" for d in event.deliveries):
            return True
        since = min(post.tx.began for post in event.posts)
        return any(high >= since for _, high in self.losses[event.posts[0].queue])

    def ended_once(self):
        for number, event in self.known():
            words = [end.word for end in event.ends]
            if number in self.dead:
                words.append("dead")
            if len(words) > 1:
                yield number, "has ended more than once: " + ", ".join(words)
            if number in self.live:
                yield number, "is still there"
        for key, number_of in self.key_balance():
            if number_of < 0:
                yield None, f"{key}: more were cancelled or confirmed than there were"

    def key_balance(self):
        """For each key, how many events have ended nobody knows how, less those by key."""
        balance = Counter()
        for number, event in self.known():
            post = event.posts[0]
            if post.key is not None and not event.ends and number not in self.dead:
                balance[post.queue, post.key] += 1
        for key, of_key in self.book.keys.items():
            if key[0] not in scene.POOLS:
                balance[key] -= of_key["ends"]
        return balance.items()

    # 2

    def often_enough(self):
        """Nothing is dead before it was delivered, or rejected, as often as it may be."""
        for number, (retries, most, why, died_at) in self.dead.items():
            event = self.book.events.get(number)
            if event is None or not event.posts or why == "not fetched":
                continue
            if retries != most:
                yield number, f"is dead with num_retries {retries} of {most}"
            handed = [d for d in event.deliveries if d.tx is None or d.tx.how == "committed"]
            since = min(post.tx.began for post in event.posts)
            missed = sum(since <= high and low <= died_at + GRACE
                         for low, high in self.losses[event.posts[0].queue])
            if len(handed) + event.rejects + missed < most + 1:
                yield number, f"is dead ({why}) after {len(handed)} deliveries, " \
                    f"{event.rejects} rejects and {missed} lost sessions"

    def not_too_often(self):
        for number, event in self.known():
            yield from self.repeated(number, event)
            for delivery in event.deliveries:
                if delivery.max is not None and 0 <= delivery.max < (delivery.n or 0):
                    yield number, f"came with num_retries {delivery.n} of {delivery.max}"

    def repeated(self, number, event):
        """The same try of an event twice, in one life of the server."""
        again = len(event.moves) + len(event.revivals)
        post = event.posts[0]
        if post.key is not None:
            again += len(self.book.keys[post.queue, post.key]["moves"])
        tries, total = Counter(), Counter()
        for d in event.deliveries:
            if d.word == "fetch" or (d.tx is not None and d.tx.how != "committed") or \
                    self.was_released(d, post.queue):
                continue
            total[d.conn.generation] += 1
            if d.version is not None:
                tries[d.conn.generation, d.version, d.n] += 1
        for (_, _, n), count in tries.items():
            if count > 1 + again:
                yield number, f"was delivered {count} times with num_retries {n}"
        for count in total.values():
            if post.max >= 0 and count > (1 + post.max) * (len(event.posts) + again):
                yield number, f"was delivered {count} times, max_retries {post.max}"

    def was_released(self, delivery, queue):
        """Given back uncounted, by the session that had it or was about to get it."""
        return any(delivery.at < tx.acked + GRACE
                   for tx in self.released[delivery.conn.name, queue])

    def once_only(self):
        """With max_retries 0 an event that was handed to a listener is gone."""
        for number, event in self.known():
            for d in event.deliveries:
                if d.word != "got" or d.max != 0:
                    continue
                for end in event.ends:
                    if not end.tx.prepared and \
                            self.book.connections[end.tx.conn].generation == d.conn.generation:
                        yield number, f"was handed out, and yet: {end.word}"

    # 3

    def taken_once(self):
        for number, count in Counter(self.taken).items():
            if count > 1:
                yield number, f"was taken {count} times"
        told = {number for number, event in self.known()
                for end in event.ends if end.word == "take"}
        for number in told ^ set(self.taken):
            yield number, "was taken, as either the server or the client says"
        for number, count in Counter(self.worked).items():
            words = [end.word for end in self.book.events[number].ends]
            if count > 1 or words != ["confirm"]:
                yield number, f"its work was done {count} times, and it ended by {words}"

    # 4

    def not_after_end(self):
        for number, event in self.known():
            acked = min((end.tx.acked for end in event.ends), default=NEVER)
            for d in event.deliveries:
                if d.since > acked + (GRACE if d.word == "got" else 0):
                    yield number, f"{d.word} after its {event.ends[0].word}"
            for what, call in event.touches:
                if call > acked:
                    yield number, f"{what} after its {event.ends[0].word}"
            yield from self.stale(number, event)

    def stale(self, number, event):
        """A version that had been replaced."""
        for d in event.deliveries:
            post = self.book.versions.get(d.version)
            if post is None:
                continue
            for other in event.posts:
                if other.how == "replace" and other.tx.began > post.tx.acked and \
                        other.tx.acked + GRACE < d.since:
                    yield number, f"{d.word} of {d.version}, replaced by {other.version}"

    # 5

    def not_early(self):
        for number, event in self.known():
            for d in event.deliveries:
                if d.due is not None and d.at < d.due - BLUR:
                    yield number, f"{d.word} {1000 * (d.due - d.at):.3f} ms early"
                post = self.book.versions.get(d.version)
                if post is not None and not self.due_as_posted(d, post, event):
                    yield number, f"{d.word} with a due_at of {d.due} that nobody gave it"

    def due_as_posted(self, delivery, post, event):
        windows = [(post.low, post.high)]
        windows += [window[:2] for window in event.moves + event.revivals]
        if post.key is not None:
            windows += [window[:2] for window in self.book.keys[post.queue, post.key]["moves"]]
        if delivery.n > 0:
            return delivery.due >= min(low for low, _ in windows) - BLUR
        return any(low - BLUR <= delivery.due <= high + BLUR for low, high in windows)

    # Beyond these

    def as_posted(self):
        """Nothing is delivered that was rolled back, and all of it as it was posted."""
        for number, event in self.book.events.items():
            for d in event.deliveries:
                if d.version is None:
                    continue
                post = self.book.versions.get(d.version)
                if d.version in self.book.rolled_versions:
                    yield number, f"{d.word} of what was rolled back"
                elif post is None:
                    if d.queue != scene.SINGLE:
                        yield number, f"{d.word} of a version nobody posted: {d.version}"
                elif (post.event, post.queue, post.max) != (number, d.queue, d.max):
                    yield number, f"{d.word} of {d.version} with other terms"

    def server_keeps_word(self):
        """What the server has acknowledged it still has; the rest of the run rests on it."""
        for name in self.book.acked:
            if name not in self.book.marks:
                yield None, f"{name} was committed, and is not there"
        for name in self.book.rolled:
            if name in self.book.marks:
                yield None, f"{name} was rolled back, and is there"

    def woken(self):
        """With a free listener and nothing in the way, an event comes at once."""
        disturbed = [(fault["began"], fault["at"])
                     for fault in self.book.faults + self.book.deaf]
        for wait in self.book.waits:
            if wait["heard"] or any(began <= wait["at"] and wait["began"] <= at + GRACE
                                    for began, at in disturbed):
                continue
            yield wait["id"], f"did not come within {wait['at'] - wait['began']:.1f} s"

    def no_errors(self):
        for client, line in self.book.errors:
            if line["state"] not in EXPECTED_STATES:
                yield None, f"{client}: {line['state']} {line['text']}"

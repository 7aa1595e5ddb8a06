"""What the driver tells the clients, a line at a time on their standard input.

    play WORD...    do your part; the words (scene.WHIMS) say what may happen in this round
    drain           finish what there is, and begin nothing new

The end of the input: leave.
"""
import os
import select


class Orders:
    def __init__(self, file=0):
        """No file: there are no orders, as for the driver itself."""
        self.file = file
        self.unread = b""
        self.draining = True
        self.whims = ()
        self.leaving = False

    def stopped(self):
        """Reads what there is; is it time to go?"""
        while self.file is not None and not self.leaving and \
                select.select([self.file], [], [], 0)[0]:
            chunk = os.read(self.file, 4096)
            self.leaving = not chunk
            *lines, self.unread = (self.unread + chunk).split(b"\n")
            for line in lines:
                word, *self.whims = line.decode().split()
                self.draining = word == "drain"
        return self.leaving

    def allow(self, whim):
        return whim in self.whims and not self.draining

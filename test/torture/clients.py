"""The clients' processes, as the driver sees them: started, told what to do, killed."""
import os
import subprocess

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")


class Clients:
    def __init__(self, folder, seed):
        self.folder = folder
        self.seed = seed
        self.running = {}
        self.killed = set()
        self.failed = []
        self.started = 0
        self.order = b"drain\n"

    def names(self):
        return list(self.running)

    def pid(self, name):
        return self.running[name].pid

    def start(self, name):
        self.started += 1
        self.killed.discard(name)
        with open(f"{self.folder}/{name}.err", "ab") as errors:
            self.running[name] = subprocess.Popen(
                ["/usr/bin/python3", CLIENT, name, f"{self.folder}/{name}.ledger",
                 f"{self.seed}.{self.started}"],
                stdin=subprocess.PIPE, stderr=errors)
        self.send(name)

    def kill(self, name):
        self.killed.add(name)
        self.running[name].kill()

    def respawn(self):
        """Starts anew whoever is not there; who was not killed has failed."""
        for name, process in list(self.running.items()):
            if name in self.killed:
                process.wait()
            if process.poll() is not None:
                self.check(name)
                self.start(name)

    def check(self, name):
        if name not in self.killed and self.running[name].returncode != 0:
            with open(f"{self.folder}/{name}.err", encoding="utf-8") as errors:
                self.failed.append((None, f"{name} has ended: {errors.read()[-2000:]}"))

    def tell(self, *words):
        """An order (orders.py) to all of them, and to who comes later."""
        self.order = " ".join(words).encode() + b"\n"
        for name in self.running:
            self.send(name)

    def send(self, name):
        try:
            self.running[name].stdin.write(self.order)
            self.running[name].stdin.flush()
        except BrokenPipeError:
            pass            # it has been killed

    def leave(self):
        for process in self.running.values():
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        for name, process in self.running.items():
            process.wait(30)
            self.check(name)
        self.running.clear()

    def end(self):
        for process in self.running.values():
            process.kill()

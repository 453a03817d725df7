# SPDX-License-Identifier: Apache-2.0
"""restartrig - workers whose server dies and comes back, and one of them with it."""
import os
import signal
import time

from chaosrig import comment
from harness import wait_until


class Fleet:
    """Two workers that run a chunk each for ever; a third waits for one of them to die. A kind of server
    brings start_worker(number, *command), and bounce(), which kills it and has it serve again."""

    def __init__(self, where):
        self.starts = os.path.join(where, "starts")
        self.count = self.killed = 0
        self.workers = [self.worker() for _ in range(2)]
        wait_until(lambda: len(self.lines()) == 2, what="both chunks to start")

    def worker(self):
        self.count += 1
        command = f"echo $PPID {{chunk}} $(date +%s.%N) >>{self.starts}; exec sleep 1000"
        worker = self.start_worker(self.count, "--", "sh", "-c", command)
        worker.wait_for("worker.joined")
        return worker

    def lines(self):
        try:
            with open(self.starts, encoding="ascii") as file:
                return [line.split() for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def kill_one(self):
        """One that runs a chunk; a free one is there. How many chunks had started before."""
        self.workers.append(self.worker())
        before, victim = len(self.lines()), self.workers.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        self.killed += 1
        return before

    def restart(self, up_s):
        """The server dies, comes back and serves so long. When it was back."""
        self.bounce()
        back = time.time()
        wait_until(lambda: time.time() >= back + up_s)
        return back

    def die_with_the_server(self, ups_s):
        """A worker dies and the server with it, which then serves so long each. Seconds from the last time it
        was back until the chunk started elsewhere."""
        before = self.kill_one()
        for up_s in ups_s:
            back = self.restart(up_s)
        wait_until(lambda: len(self.lines()) > before, what="the chunk to start elsewhere")
        return max(0.0, float(self.lines()[before][2]) - back)

    def die_while_it_comes_and_goes(self, up_s, most):
        began, before, restarts = time.time(), self.kill_one(), 0
        while len(self.lines()) == before:
            assert restarts < most, "the chunk did not start elsewhere as long as the server came and went"
            self.restart(up_s)
            restarts += 1
        comment(f"up for {up_s} s at a time: {restarts} restarts, the chunk started elsewhere after "
                f"{float(self.lines()[before][2]) - began:.1f} s")

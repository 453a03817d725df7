#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis is killed and comes back, a few times in a row, and with it a worker dies that nobody starts
again: its chunk runs elsewhere, nobody else is taken for lost. Also while Redis dies again and again.
SOAK=1: 60 restarts, and how long it took from the moment at which Redis was back for good."""
import os
import signal
import time

from chaosrig import SOAK, comment, percentile
from harness import main, test, wait_until
from redisrig import Job, Redis

ROUNDS = 25 if SOAK else 2
UP_S = 1.2  # between two restarts in a row: too short to hear that somebody is silent for 2 s


class Fleet:
    """Two workers that run a chunk each for ever, and a third that waits for one of them to die."""

    def __init__(self):
        self.server = Redis(sync="always")
        self.job = Job(self.server)
        self.job.create(2, MAXATTEMPTS=1000)
        self.starts = os.path.join(self.server.dir, "starts")
        self.count = 0
        self.workers = [self.worker() for _ in range(2)]
        wait_until(lambda: len(self.lines()) == 2, what="both chunks to start")

    def worker(self):
        self.count += 1
        command = f"echo $PPID {{chunk}} $(date +%s.%N) >>{self.starts}; exec sleep 1000"
        worker = self.server.worker(self.count, "--", "sh", "-c", command)
        worker.wait_for("worker.joined")
        return worker

    def lines(self):
        try:
            with open(self.starts, encoding="ascii") as file:
                return [line.split() for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def die_with_the_server(self, restarts):
        """The first worker dies and Redis with it. Seconds until its chunk started in the free one."""
        before = self.kill_one()
        for n in range(restarts):
            back = self.restart(UP_S if n < restarts - 1 else 0)
        wait_until(lambda: len(self.lines()) > before, what="the chunk to start elsewhere")
        return max(0.0, float(self.lines()[before][2]) - back)

    def kill_one(self):
        """The first worker; a free one is there. How many chunks had started."""
        self.workers.append(self.worker())
        victim = self.workers.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        return len(self.lines())

    def restart(self, up_s):
        """Redis dies, comes back and serves so long. When it was back."""
        self.server.kill()
        self.server.start()
        back = time.time()
        wait_until(lambda: time.time() >= back + up_s)
        return back


def rounds(restarts):
    fleet, took = Fleet(), []
    for _ in range(ROUNDS):
        took.append(fleet.die_with_the_server(restarts))
    status = fleet.job.status()
    lost, starts = status["workers_lost"], len(fleet.lines())
    if lost == ROUNDS:  # as it is, unless the machine is so busy that somebody is silent for 2 s
        assert starts == 2 + ROUNDS and status["attempts"] == ROUNDS, (starts, status)
    assert lost >= ROUNDS and status["reclaimed"] >= ROUNDS, status
    comment(f"{ROUNDS} x a worker dies with Redis, which comes back {restarts} x: its chunk starts elsewhere "
            f"p50 {percentile(took, .5) * 1e3:.0f} ms, p99 {percentile(took, .99) * 1e3:.0f} ms after "
            f"that; {lost - ROUNDS} others lost")


@test
def a_worker_dies_with_the_server():
    rounds(1)


@test
def a_worker_dies_with_a_server_that_comes_and_goes():
    rounds(3)


@test
def a_worker_dies_while_the_server_dies_again_and_again():
    """It is never up for long enough that somebody could be silent for 2 s."""
    for up_s in (0.4, 0.8):
        fleet = Fleet()
        began, before, restarts = time.time(), fleet.kill_one(), 0
        while len(fleet.lines()) == before:
            assert restarts < 30, "the chunk did not start elsewhere as long as the server came and went"
            fleet.restart(up_s)
            restarts += 1
        comment(f"up for {up_s} s at a time: {restarts} restarts, the chunk started elsewhere after "
                f"{float(fleet.lines()[before][2]) - began:.1f} s")


main()

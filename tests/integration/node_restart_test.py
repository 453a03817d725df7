#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A node is killed and comes back, once or again and again, and with it a worker dies that nobody
starts again: its chunk runs elsewhere, nobody else is taken for lost. SOAK=1: more of it."""
import os
import signal
import time

from chaosrig import SOAK, comment, percentile
from harness import TTG, free_port, main, spawn, test, wait_until
from noderig import Node

ROUNDS = 25 if SOAK else 3


class Fleet:
    """Two workers that run a chunk each for ever, and a third that waits for one of them to die."""

    def __init__(self, unix=False):
        self.listen = f"127.0.0.1:{free_port()}"
        self.node = Node(listen=self.listen)
        self.path = self.node.unix
        self.queue = f"ttg+unix:{self.path}" if unix else f"ttg://{self.listen}"
        raw = self.node.raw()
        raw("TTG.JOB", "CREATE", "j", "FIRST", 0, "LAST", 1, "CHUNK", 1, "MAXATTEMPTS", 1000)
        raw.close()
        self.starts = os.path.join(os.path.dirname(self.path), "starts")
        self.count = self.killed = 0
        self.workers = [self.worker() for _ in range(2)]
        wait_until(lambda: len(self.lines()) == 2, what="both chunks to start")

    def worker(self):
        self.count += 1
        command = f"echo $PPID {{chunk}} $(date +%s.%N) >>{self.starts}; exec sleep 1000"
        worker = spawn([TTG, "worker", "--queue", self.queue, "--job", "j", "--name",
                        f"w{self.count}", "--", "sh", "-c", command])
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
        """The node dies, comes back and serves so long. When it was back."""
        self.node.kill()
        self.node = self.node.again("--unix", self.path, listen=self.listen)
        self.node.unix = self.path
        back = time.time()
        wait_until(lambda: time.time() >= back + up_s)
        return back

    def check(self):
        """Who was not killed was not lost."""
        raw = self.node.raw()
        flat = raw("TTG.JOB", "STATUS", "j")
        lost = dict(zip(flat[::2], flat[1::2]))[b"workers_lost"]
        assert lost == self.killed, (lost, self.killed)
        assert raw("DEBUG", "REPLAY") == raw("DEBUG", "DIGEST")
        raw.close()


def dies_with_the_node(unix):
    fleet, took = Fleet(unix), []
    for _ in range(ROUNDS):
        before = fleet.kill_one()
        back = fleet.restart(0)
        wait_until(lambda: len(fleet.lines()) > before, what="the chunk to start elsewhere")
        took.append(max(0.0, float(fleet.lines()[before][2]) - back))
    fleet.check()
    comment(f"after the node was back: {' '.join(f'{s:.2f}' for s in sorted(took))} s, "
            f"p50 {percentile(took, 50):.2f} s")


@test
def a_worker_dies_with_the_node():
    dies_with_the_node(unix=False)


@test
def a_worker_dies_with_the_node_on_a_socket():
    dies_with_the_node(unix=True)


@test
def a_worker_dies_while_the_node_dies_again_and_again():
    for up_s in (0.3, 1.0):
        fleet = Fleet()
        for _ in range(ROUNDS // 3):
            began, before, restarts = time.time(), fleet.kill_one(), 0
            while len(fleet.lines()) == before:
                assert restarts < 40, "its chunk did not start elsewhere as long as the node came and went"
                fleet.restart(up_s)
                restarts += 1
            comment(f"up for {up_s} s at a time: {restarts} restarts, the chunk started elsewhere "
                    f"after {float(fleet.lines()[before][2]) - began:.1f} s")
        fleet.check()


main()

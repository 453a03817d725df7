#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A node is killed and comes back, once or again and again, and with it a worker dies that nobody
starts again: its chunk runs elsewhere, nobody else is taken for lost. SOAK=1: more of it."""
import os

from chaosrig import SOAK, comment, percentile
from harness import TTG, free_port, main, nobody_silent, spawn, test, wait_until
from noderig import Node
from restartrig import Fleet

ROUNDS = 25 if SOAK else 3


class OnNode(Fleet):
    def __init__(self, unix=False):
        self.listen = f"127.0.0.1:{free_port()}"
        self.node = Node(listen=self.listen)
        self.path = self.node.unix
        self.queue = f"ttg+unix:{self.path}" if unix else f"ttg://{self.listen}"
        raw = self.node.raw()
        raw("TTG.JOB", "CREATE", "j", "FIRST", 0, "LAST", 1, "CHUNK", 1, "MAXATTEMPTS", 1000)
        raw.close()
        super().__init__(os.path.dirname(self.path))

    def start_worker(self, number, *command):
        return spawn([TTG, "worker", "--queue", self.queue, "--job", "j", "--name", f"w{number}", *command])

    def bounce(self):
        self.node.kill()
        self.node = self.node.again("--unix", self.path, listen=self.listen)
        self.node.unix = self.path

    def check(self):
        """Who was killed was lost, and nobody else. A chunk may go on elsewhere before its worker is missed:
        when the node dies right after it has given the chunk away, it has forgotten why."""
        raw = self.node.raw()

        def lost():
            flat = raw("TTG.JOB", "STATUS", "j")
            return dict(zip(flat[::2], flat[1::2]))[b"workers_lost"]
        wait_until(lambda: lost() >= self.killed, what=f"the loss of {self.killed} workers")
        assert lost() == self.killed, (lost(), self.killed)
        # Workers may say something in between.
        wait_until(lambda: raw("DEBUG", "REPLAY") == raw("DEBUG", "DIGEST"), what="the log to give what is there")
        raw.close()


def dies_with_the_node(unix):
    fleet = OnNode(unix)
    took = sorted(fleet.die_with_the_server([0]) for _ in range(ROUNDS))
    fleet.check()
    comment(f"after the node was back: {' '.join(f'{s:.2f}' for s in took)} s, "
            f"p50 {percentile(took, .5):.2f} s")


@test
@nobody_silent
def a_worker_dies_with_the_node():
    dies_with_the_node(unix=False)


@test
@nobody_silent
def a_worker_dies_with_the_node_on_a_socket():
    dies_with_the_node(unix=True)


@test
@nobody_silent
def a_worker_dies_while_the_node_dies_again_and_again():
    for up_s in (0.3, 1.0):
        fleet = OnNode()
        for _ in range(ROUNDS // 3):
            fleet.die_while_it_comes_and_goes(up_s, 40)
        fleet.check()


main()

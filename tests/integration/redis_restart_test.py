#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis is killed and comes back, a few times in a row, and with it a worker dies that nobody starts
again: its chunk runs elsewhere, nobody else is taken for lost. Also while Redis dies again and again.
SOAK=1: 60 restarts, and how long it took from the moment at which Redis was back for good."""
from chaosrig import SOAK, comment, percentile
from harness import main, test
from redisrig import Job, Redis
from restartrig import Fleet

ROUNDS = 25 if SOAK else 2
UP_S = 1.2  # between two restarts in a row: too short to hear that somebody is silent for 2 s


class OnRedis(Fleet):
    def __init__(self):
        self.server = Redis(sync="always")
        self.job = Job(self.server)
        self.job.create(2, MAXATTEMPTS=1000)
        super().__init__(self.server.dir)

    def start_worker(self, number, *command):
        return self.server.worker(number, *command)

    def bounce(self):
        self.server.kill()
        self.server.start()


def rounds(restarts):
    fleet, took = OnRedis(), []
    for _ in range(ROUNDS):
        took.append(fleet.die_with_the_server([UP_S] * (restarts - 1) + [0]))
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
        OnRedis().die_while_it_comes_and_goes(up_s, 30)


main()

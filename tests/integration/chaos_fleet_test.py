#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Submitter, workers and collector as commands of their own, each killed at random, on each queue.

See chaos_test.py; SOAK, SEED, FAULTS and CHUNKS mean the same here."""
import os
import random
import time

from chaosqueues import JOB, NodeQueue, RedisQueue
from chaosrig import (CHUNK_MS, CHUNKS, FAULTS, FIRST, PLUGIN, SEED, Marked, comment, expected,
                      projection, undisturbed_digest)
from harness import TTG, main, run, skip, spawn, temp_dir, test

WORKERS, PER_CHUNK = 3, 3


class Fleet:
    """One job; what dies is started again, by us."""

    def __init__(self, queue, seed):
        if not os.path.exists(PLUGIN):
            skip(f"{PLUGIN} is not built: make check builds it")
        self.rng = random.Random(seed)
        self.digest = undisturbed_digest(CHUNKS, PER_CHUNK)
        self.queue = queue(Marked())
        self.dir = temp_dir()
        self.output = self.dir + "/out"
        self.where = ["--queue", self.queue.url, "--job", JOB]

    def submit(self, kills):
        """Kills submitters until one gets through; repeating it always means the same job."""
        words = [TTG, "submit", *self.where, "--range", f"{FIRST}..{FIRST + CHUNKS * PER_CHUNK - 1}",
                 "--chunk", PER_CHUNK, "--max-attempts", 100000, "--plugin", PLUGIN]
        killed = 0
        for _ in range(kills):
            submitter = spawn(words)
            time.sleep(self.rng.uniform(0, 0.02))  # the moment of the kill, not a wait
            submitter.kill()
            killed += submitter.wait() < 0
            submitter.close()
        run(words)
        return killed

    def worker(self, number):
        return spawn([TTG, "worker", *self.where, "--slots", 4, "--plugin", PLUGIN, "--plugin-arg",
                      f"{CHUNK_MS}:{self.dir}/starts"], env={"WORKER_ID": number})

    def collector(self):
        return spawn([TTG, "results", *self.where, "--follow", "--trim", "--resume", "--output",
                      self.output])

    def storm(self, kills):
        workers, collector = [self.worker(i) for i in range(WORKERS)], self.collector()
        counts = dict.fromkeys(("worker", "collector", "server"), 0)
        end = time.monotonic() + 120 + kills
        while collector.code() is None:
            assert time.monotonic() < end, f"seed {SEED}: the job does not end; {counts}"
            pause = time.monotonic() + self.rng.uniform(0.02, 0.4)
            while time.monotonic() < pause and collector.code() is None:
                time.sleep(0.005)
            kind = self.rng.choice([k for k, n in counts.items() if n < kills] or ["none"])
            if kind == "server":
                self.queue.kill_server()
            elif kind == "collector" and collector.code() is None:
                collector.kill()
                if collector.wait() < 0:
                    collector.close()
                    collector = self.collector()
            elif kind == "worker":
                i = self.rng.randrange(WORKERS)
                workers[i].kill()
                workers[i].wait()
                workers[i].close()
                workers[i] = self.worker(i)
            if kind in counts:
                counts[kind] += 1
        assert collector.code() == 0, f"seed {SEED}: {collector.code()}: {collector.err()}"
        for worker in workers:
            assert worker.wait() == 0, f"seed {SEED}: {worker.err()}"
        return counts

    def check(self):
        assert projection(self.output) == expected(CHUNKS, PER_CHUNK), f"seed {SEED}: other lines"
        status = self.queue.after()
        assert status["state"] == "finished" and status["leased"] == 0, f"seed {SEED}: {status}"
        assert status["digest"] == self.digest, f"seed {SEED}: another digest"
        run([TTG, "verify", "--queue", self.queue.url, "--output", self.output, JOB])
        self.queue.close()


def fleet(queue):
    fleet = Fleet(queue, SEED)
    submitters = fleet.submit(FAULTS)
    counts = fleet.storm(FAULTS)
    fleet.check()
    comment(f"{queue.__name__}, seed {SEED}: {submitters} x submitter, " +
            ", ".join(f"{n} x {kind}" for kind, n in counts.items()))


@test
def a_fleet_on_a_node():
    fleet(NodeQueue)


@test
def a_fleet_on_redis():
    fleet(RedisQueue)


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs on a RabbitMQ cluster of three nodes with quorum queues: nodes are killed in turn and cut
off in turn, workers and the collector die, too. Says what was done and how long it took until the
next result was there. SOAK=1: the full counts.

Its nodes take a busy machine for a broken network, so it runs alone."""
# alone
import functools
import json
import os
import time

from harness import TTG, main, on_failure, spawn, temp_dir, test, wait_until
from rabbitrig import Cluster

SOAK = bool(os.environ.get("SOAK"))
ROUNDS = 5 if SOAK else 1
PARAMS = 120000 if SOAK else 16000


@functools.lru_cache(None)
def cluster():
    """One for all tests: it takes half a minute to start."""
    return Cluster()


def count_lines(path):
    try:
        with open(path, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


class Job:
    """A run that is started again with --resume whenever it was killed."""

    def __init__(self, name, params, chunk, workers, *options):
        self.out = os.path.join(temp_dir(), "out")
        self.words = [*cluster().prefix, TTG, "run", "--queue", cluster().url, "--queue-type",
                      "quorum", "--job", name, "--params", params, "--chunk", chunk, "--workers",
                      workers, "--output", self.out, "--json", *options]
        self.name, self.params = name, params
        self.process = spawn(self.words)
        on_failure(self.told)

    def told(self):
        """Where the chunks are that a job waits for."""
        keys = ("messages_ready", "messages_unacknowledged", "consumers", "leader", "online", "state")
        found = [f"{count_lines(self.out)} results"]
        alive = next(n for n in cluster().nodes if n.members())
        for name, queue in sorted(alive.queues().items()):
            if name.startswith(f"ttg.{self.name}."):
                found.append(f"{name} {({k: queue.get(k) for k in keys})}")
        return "\n".join(found)

    def lines(self, count):
        wait_until(lambda: count_lines(self.out) >= count or self.process.code() is not None, 60,
                   f"{count} results")

    def after(self, what, act):
        """Does it, and says how long it took until the next five results were there."""
        act()
        before, begun = count_lines(self.out), time.monotonic()
        self.lines(before + 5)
        print(f"# {self.name}: {what}: progress after {time.monotonic() - begun:.2f} s", flush=True)

    def kill_worker(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as file:
            os.kill(int(file.read().split()[0]), 9)

    def kill_collector(self):
        self.process.kill()
        self.process.wait()
        self.process = spawn([*self.words, "--resume"])

    def check(self):
        assert self.process.wait(120) == 0, self.process.err()
        with open(self.out, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        numbers = sorted(int(line["chunk_id"]) for line in lines)
        assert numbers == list(range(len(numbers))), numbers[:5]
        total = sum(line["result_summary"]["sum"] for line in lines)
        assert total == self.params * (self.params - 1) // 2, total
        s = json.loads(self.process.out().strip().splitlines()[-1])
        assert s["verified"] and s["dead_letters"] == 0, s


def bring_back(node):
    node.start(wait=False)
    cluster().wait_whole()


@test
def nodes_are_killed():
    """The leader of the tasks, and another one; in a soak each in turn, again and again."""
    job = Job("nodes", PARAMS, 10, 3, "--simulate-ms", 2)
    job.lines(50)
    arguments = cluster().nodes[0].queues()["ttg.nodes.tasks"]["arguments"]
    assert arguments["x-queue-type"] == "quorum" and arguments["x-delivery-limit"] == 20, arguments
    for _ in range(ROUNDS):
        leader = cluster().leader("ttg.nodes.tasks")
        others = [n for n in cluster().nodes if n is not leader]
        for node in (leader, *others) if SOAK else (leader, others[0]):
            job.after(f"killed {'leader ' if node is leader else ''}r{node.number}", node.kill)
            bring_back(node)
    job.check()


@test
def nodes_are_cut_off():
    """The leader of the tasks; in a soak each in turn, again and again."""
    job = Job("cut", PARAMS, 10, 3, "--simulate-ms", 2)
    job.lines(50)
    for _ in range(ROUNDS):
        for node in cluster().nodes if SOAK else (cluster().leader("ttg.cut.tasks"),):
            job.after(f"cut off r{node.number}", node.cut)
            node.mend()
    job.check()


@test
def workers_and_the_collector_die_too():
    job = Job("mixed", 8000, 10, 3, "--simulate-ms", 2)
    job.lines(50)
    for _ in range(ROUNDS):
        job.after("killed a worker", job.kill_worker)
        job.after("killed the collector", job.kill_collector)
    job.check()


if __name__ == "__main__":
    main()

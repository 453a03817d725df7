#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody sets the clock of the queue's machine, by an hour or a year, back or forth: nothing waits
for the clock to come back, and nobody is lost who lives."""
import os
import re
import time

from clockrig import Clock
from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file
from noderig import Node
from redisrig import Redis

HOUR, YEAR = 3600, 365 * 86400


class NodeQueue:
    def __init__(self, clock):
        self.node = Node(env=clock.env)
        self.url = f"ttg://127.0.0.1:{self.node.port}"

    def seconds(self):
        return self.node.redis().time()[0]


class RedisQueue:
    def __init__(self, clock):
        self.server = Redis(env=clock.env)
        self.url = self.server.url

    def seconds(self):
        return self.server.client.time()[0]


def worker_pids(parent):
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def set_in_a_job(kind, *offsets):
    """Each chunk fails once and waits; while some wait the clock is set, and a worker dies. The last chunk
    waits for all that, however slow we are."""
    clock = Clock()
    queue = kind(clock)
    where = temp_dir()
    work = write_file(os.path.join(where, "work"), "#!/bin/sh\n"
                      "until [ $1 != 39 ] || [ -e {0}/go ]; do sleep 0.05; done\n"
                      "[ -e {0}/$1 ] && exec sleep 0.05\n: >{0}/$1; exit 1\n".format(where))
    os.chmod(work, 0o755)
    out = os.path.join(where, "out")
    job = spawn([TTG, "run", "--queue", queue.url, "--params", 40, "--chunk", 1, "--workers", 2,
                 "--retry-delay", 1, "--output", out, "--json", "--", work, "{start}"])
    for number, offset in enumerate(offsets):
        wait_until(lambda n=number: len(os.listdir(where)) > 5 + 10 * n, what="chunks that failed")
        before = queue.seconds()
        clock.set(offset)
        moved = queue.seconds() - before
        assert offset <= 0 or moved > HOUR / 2 or number > 0, (moved, offset)
        os.kill(worker_pids(job.pid)[-1], 9)
    write_file(os.path.join(where, "go"))
    assert job.wait() == 0, job.err()
    assert '"completed":40,' in job.out() and '"verified":true' in job.out(), job.out()
    run([TTG, "verify", "--queue", queue.url, "--output", out], out="40 of 40")
    assert "silent" not in job.err(), job.err()


@test
def a_nodes_clock_is_set_back():
    set_in_a_job(NodeQueue, -HOUR)


@test
def a_nodes_clock_was_wrong_for_a_while():
    set_in_a_job(NodeQueue, YEAR, 0)


@test
def a_snapshot_keeps_the_time():
    """No record behind it says that it was so late already."""
    clock = Clock()
    node = Node(env=clock.env)
    clock.set(YEAR)
    c = node.redis()
    c.xadd("s", {"a": 1})
    late = c.time()[0]
    c.bgsave()
    wait_until(lambda: "snapshot.written" in node.process.err(),
               what="the snapshot")
    node.kill()
    clock.set(0)
    again = node.again(env=clock.env)
    assert re.search(r"node.recovered .*snapshot=[1-9]\d* records=0 ", again.process.err()), again.process.err()
    assert again.redis().time()[0] >= late > time.time() + HOUR


@test
def a_servers_clock_is_set_back():
    set_in_a_job(RedisQueue, -HOUR)


@test
def a_servers_clock_was_wrong_for_a_while():
    set_in_a_job(RedisQueue, YEAR, 0)


main()

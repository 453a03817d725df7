#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg results --follow` on RabbitMQ while the job's collector is dead: lines that only the next one can
give are waited for, also when every chunk is done meanwhile."""
import os

from amqprelay import AmqpRelay
from amqprig import broker, some_lines
from gaterig import Gate
from harness import TTG, main, run, spawn, temp_dir, test, wait_until

STATE = (">", "publish", "ttg.follow.job.state")


@test
def who_follows_waits_for_a_collector_that_was_killed():
    where = temp_dir()
    out, results = os.path.join(where, "out"), "ttg.follow.results"
    gate = Gate(10)
    relay = AmqpRelay(broker())

    def collect(url, *more):
        return spawn([TTG, "run", "--queue", url, "--job", "follow", "--params", 60, "--chunk", 1, "--workers", 0,
                      "--output", out, *more, *gate.words])
    first = collect(relay.url)
    first.wait_for("run.no_workers")
    worker = spawn([TTG, "worker", "--queue", broker().url, "--job", "follow", *gate.words])
    worker.wait_for("worker.joined")  # there is a job
    follower = spawn([TTG, "results", "follow", "--follow", "--queue", broker().url])
    wait_until(lambda: follower.out().count("\n") == 10, what="ten lines")
    # What comes now the collector has put away, and the follower has not seen.
    follower.stop()
    gate.open(30)
    some_lines(out, 30)
    for count in (31, 32):  # the first snapshot from here on may be one that was on its way
        seen = relay.count(*STATE)
        gate.open(count)
        some_lines(out, count)
        wait_until(lambda n=seen: relay.count(*STATE) > n, what="a snapshot")
    first.kill()
    first.wait()
    wait_until(lambda: "ttg.follow.job.lock" not in broker().queues(), what="nobody collects")
    gate.open()
    wait_until(lambda: broker().queues()[results].get("messages", 0) >= 28, what="all is done")
    follower.cont()
    wait_until(lambda: "ttg.follow.job.lock" in broker().queues() or follower.code() is not None,
               what="the follower looks itself")
    run([TTG, "status", "follow", "--queue", broker().url], out="60 of 60")
    assert follower.code() is None, follower.err()
    again = collect(broker().url, "--resume")
    assert again.wait() == 0, again.err()
    assert follower.wait() == 0, follower.err()
    assert worker.wait() == 0, worker.err()
    relay.close()
    with open(out, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert len(lines) == 60 and sorted(lines) == sorted(follower.out().splitlines()), follower.out()


main()

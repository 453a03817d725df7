#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ broker that refuses what is published (basic.nack), on the connections there are: a quorum queue
whose leader died does that, on some channels for as long as the leader's node is away."""
import json

from amqprelay import AmqpRelay
from amqprig import broker
from gaterig import Gate
from harness import TTG, main, spawn, test, wait_until


def collect(job, url, gate, workers):
    """Into a pipe: nothing is kept at the broker before the end."""
    return spawn([TTG, "run", "--queue", url, "--job", job, "--params", 60, "--chunk", 1, "--workers", workers,
                  *gate.words])


def some(process, count):
    wait_until(lambda: process.out().count("\n") >= count, what=f"{count} results")


def finishes(process):
    assert process.wait() == 0, process.err()
    lines = [json.loads(line) for line in process.out().splitlines()]
    assert sorted(int(line["chunk_id"]) for line in lines) == list(range(60)), process.err()


@test
def a_worker_goes_to_another_connection():
    relay, gate = AmqpRelay(broker()), Gate(20)
    process = collect("worker", relay.url, gate, 2)
    some(process, 20)
    relay.refuse_confirms()
    gate.open()
    finishes(process)
    assert 'reason="the broker refuses what is published' in process.err(), process.err()
    assert "worker.died" not in process.err(), process.err()
    relay.close()


@test
def the_end_is_told_again():
    relay, gate = AmqpRelay(broker()), Gate(59)
    process = collect("end", relay.url, gate, 0)
    process.wait_for("run.no_workers")
    worker = spawn([TTG, "worker", "--queue", broker().url, "--job", "end", *gate.words])
    some(process, 59)
    relay.refuse_confirms()
    gate.open()
    finishes(process)
    assert worker.wait() == 0, worker.err()
    relay.close()


@test
def chunks_are_published_again():
    relay, gate = AmqpRelay(broker()), Gate(60)
    relay.refuse_after_first("ttg.chunks.tasks")
    process = collect("chunks", relay.url, gate, 0)
    wait_until(lambda: relay.count(">", "publish", "ttg.chunks.tasks") == 120, what="all chunks once more")
    gate.open()
    worker = spawn([TTG, "worker", "--queue", broker().url, "--job", "chunks", *gate.words])
    finishes(process)
    assert worker.wait() == 0, worker.err()
    relay.close()


main()

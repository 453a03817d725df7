#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that leaves a RabbitMQ broker while this delivers to it still."""
import json
import signal

from amqprelay import AmqpRelay
from amqprig import broker
from gaterig import Gate
from harness import TTG, main, spawn, test, wait_until


@test
def what_comes_while_it_leaves_is_given_back():
    relay, held, free = AmqpRelay(broker()), Gate(0), Gate(2)
    words = ["--queue", broker().url, "--job", "leave"]
    run = spawn([TTG, "run", *words, "--params", 2, "--chunk", 1, "--workers", 0, *free.words])
    run.wait_for("run.no_workers")
    first = spawn([TTG, "worker", *words, *held.words])
    wait_until(held.begun, what="its chunk has begun")
    leaving = spawn([TTG, "worker", "--queue", relay.url, "--job", "leave", *free.words])
    wait_until(lambda: run.out().count("\n") == 1 and relay.count(">", "ack") == 1, what="the other chunk's result")
    relay.stall_once_at("cancel")
    leaving.kill(signal.SIGTERM)
    wait_until(lambda: relay.stalled, what="it stops to consume")
    delivered = relay.count("<", "deliver")
    first.kill(signal.SIGTERM)
    first.kill(signal.SIGINT)  # which does not wait for the chunk
    first.wait()
    wait_until(lambda: relay.count("<", "deliver") > delivered, what="the chunk comes to who is leaving")
    relay.go_on()
    assert leaving.wait() == 128 + signal.SIGTERM, leaving.err()
    last = spawn([TTG, "worker", *words, *free.words])
    assert run.wait() == 0 and last.wait() == 0, run.err() + last.err()
    lines = [json.loads(line) for line in run.out().splitlines()]
    assert [line["attempt"] for line in lines] == [1, 1], lines
    assert not any("redelivered" in line for line in lines), lines
    relay.close()


main()

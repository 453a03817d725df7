#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Deliveries of a quorum queue that are lost on their way, as when the node that leads it dies: the broker
believes that a consumer has them, and the consumer has heard nothing."""
from amqprelay import AmqpRelay
from amqprig import broker
from gaterig import Gate
from harness import TTG, main, spawn, test
from pipelinerig import Pipeline


class Lossy:
    """A job of one chunk, of which the delivery to one side is lost."""

    def __init__(self, name):
        self.relay, gate = AmqpRelay(broker()), Gate(1)
        self.relay.lose_deliveries()

        def start(command, through, *words):
            return spawn([TTG, command, "--queue", self.relay.url if through else broker().url, "--job", name,
                          *words, *gate.words])
        self.run = start("run", name == "result", "--queue-type", "quorum", "--params", 1, "--workers", 0)
        self.run.wait_for("run.no_workers")
        self.worker = start("worker", name == "chunk")

    def check(self):
        assert self.run.wait() == 0 and self.worker.wait() == 0, self.run.err() + self.worker.err()
        assert self.relay.lost == 1
        assert self.run.out().count("\n") == 1, self.run.out()
        self.relay.close()


def pipeline():
    """Through a network that loses what its sink gets."""
    relay = AmqpRelay(broker())
    p = Pipeline([{"name": "in", "source": "in.jsonl"},
                  {"name": "out", "from": "in", "sink": "out.jsonl"}], relay.url, "astray", files=[
                      ("in.jsonl", "".join(f'{{"client":"c","value":{n}}}\n' for n in range(20)))])
    p.env["TTG_QUEUE_TYPE"] = "quorum"
    relay.lose_deliveries()
    return relay, p, p.start()


@test
def what_was_lost_comes_again():
    chunk, result = Lossy("chunk"), Lossy("result")
    relay, p, running = pipeline()
    chunk.check()
    result.check()
    assert 'reason="nothing was delivered for ' in chunk.worker.err(), chunk.worker.err()
    assert running.wait() == 0, running.err()
    assert relay.lost > 0 and [m["value"] for m in p.lines()] == list(range(20)), (relay.lost, p.lines())
    relay.close()


main()

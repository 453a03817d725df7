#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chunks that kill their worker on RabbitMQ, and those beside them, which must not pay for it. A relay
between worker and broker holds the confirms back, so that nothing depends on who is faster."""
import json
import os

from amqprelay import AmqpRelay
from amqprig import broker
from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file


class Job:
    """A submitted job whose chunks the test gives out itself, each to the queue of its choice."""

    def __init__(self, name, chunks, script):
        self.name, self.dir = name, temp_dir()
        run([TTG, "submit", name, "--queue", broker().url, "--params", chunks, "--chunk", 1, "--max-attempts", 3])
        self.script = write_file(self.path("script"), f"cd {self.dir}\necho $1 >>starts\n{script}\n")
        self.tasks = {int(task["chunk_id"]): task for task in self.take("tasks")}
        assert sorted(self.tasks) == list(range(chunks)), self.tasks
        self.relay = AmqpRelay(broker())

    def path(self, name):
        return os.path.join(self.dir, name)

    def queue(self, kind):
        return f"ttg.{self.name}.{kind}"

    def take(self, kind):
        """The messages of a queue, for good. Those that stay there would look like a dead worker's."""
        found = broker().api("POST", f"queues/%2F/{self.queue(kind)}/get",
                             {"count": 1000, "ackmode": "ack_requeue_false", "encoding": "auto"})
        return [json.loads(each["payload"]) for each in found]

    def put(self, kind, *chunks):
        for chunk in chunks:
            broker().publish(self.queue(kind), self.tasks[chunk])

    def worker(self, url=None):
        return spawn([TTG, "worker", "--queue", url or self.relay.url, "--job", self.name, "--", "sh", self.script,
                      "{chunk}"])

    def starts(self):
        try:
            with open(self.path("starts"), encoding="ascii") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []

    def charged(self):
        """Chunks of which an attempt ended with their worker, once for each."""
        return sorted(int(note["chunk_id"]) for note in self.take("job.notes") if note["status"] == "lost")

    def looks(self, number):
        """Waits until a worker without work has looked around that often, counted from now."""
        seen = self.relay.count(">", "queue.declare", self.queue("results"))
        return lambda: self.relay.count(">", "queue.declare", self.queue("results")) >= seen + number

    def wait_for_start(self, chunk):
        wait_until(lambda: chunk in self.starts(), what=f"chunk {chunk} starts")

    def passes(self, number, *what):
        """Waits until that has passed so often, counted from now."""
        seen = self.relay.count(*what)
        return lambda: wait_until(lambda: self.relay.count(*what) >= seen + number, what=f"{number} of {what}")


def a_worker_dies_behind_a_result_on_its_way(j):
    j.relay.hold_confirms_after(j.queue("results"))
    worker = j.worker()
    wait_until(lambda: j.relay.holding, what="a result is on its way")
    idle = j.looks(2)
    wait_until(lambda: idle() or worker.code() is not None, what="it has looked for more to do")
    j.relay.release()
    assert worker.wait() == -9, worker.err()


@test
def a_result_on_its_way_is_not_charged_for_the_next_chunk():
    """Chunk 0 kills its worker, three times; before it each worker does another one whose worker died."""
    j = Job("beside", 4, "[ $1 != 0 ] || kill -KILL $PPID")
    j.put("tasks.suspect", 1, 0)
    for innocent in (1, 2, 3):
        if innocent > 1:
            j.put("tasks.suspect", innocent)
        a_worker_dies_behind_a_result_on_its_way(j)
    last = j.worker()
    assert last.wait() == 0, last.err()
    j.relay.close()
    dead = [int(task["chunk_id"]) for task in j.take("tasks.dlq")]
    assert dead == [0], (dead, j.starts())
    assert j.starts() == [1, 0, 2, 0, 3, 0], j.starts()
    assert j.charged() == [0, 0], "the third one is told with the dead letter"


WAIT = "until [ -e go$1 ]; do sleep 0.01; done; sleep 0.2\n"
ONCE = "[ -e died ] || { touch died; kill -KILL $PPID; sleep 9; }"


def ends(j):
    """Whoever comes next does the rest; of which chunks attempts were charged."""
    last = j.worker()
    assert last.wait() == 0, last.err()
    j.relay.close()
    assert j.take("tasks.dlq") == []
    return j.charged()


@test
def nothing_starts_behind_a_suspect_whose_result_is_on_its_way():
    """Chunk 0 does no harm; chunk 1, which nobody suspects, kills its worker."""
    j = Job("behind", 2, f"[ $1 != 1 ] || {ONCE}")
    j.put("tasks.suspect", 0)
    j.put("tasks", 1)
    a_worker_dies_behind_a_result_on_its_way(j)
    charged = ends(j)
    assert charged == [1], (charged, j.starts())
    assert j.starts() == [0, 1, 1], j.starts()


@test
def a_suspect_is_not_fetched_ahead_of_its_start():
    """A worker of short chunks has some in hand; the last of them kills it when a suspect is there."""
    last, suspect = 12, 13
    j = Job("ahead", 14, f"[ $1 -lt 10 ] || [ $1 = {suspect} ] || [ -e died ] || {{ {WAIT}}}\n"
                         f"[ $1 != {last} ] || {ONCE}")
    j.relay.delay(0.01, 30)  # so that it pays to have chunks in hand
    more = j.passes(2, ">", "consume", j.queue("tasks"))
    j.put("tasks", *range(10))
    worker = j.worker()
    more()  # it gets several at a time now
    wait_until(lambda: len(j.starts()) == 10, what="the short ones")
    j.put("tasks", 10)
    j.wait_for_start(10)
    come = j.passes(2, "<", "deliver")
    j.put("tasks", 11, last)
    come()
    write_file(j.path("go10"))
    j.wait_for_start(11)
    told = j.passes(1, "<", "deliver")
    j.put("tasks.suspect", suspect)
    broker().api("POST", "exchanges/%2F/amq.direct/publish",
                 {"properties": {}, "routing_key": j.queue("job"), "payload": "suspect", "payload_encoding": "string"})
    told()
    write_file(j.path("go11"))
    j.wait_for_start(last)
    results = j.queue("results")
    wait_until(lambda: broker().queues()[results].get("messages") == last, what="the broker has what was done before")
    write_file(j.path(f"go{last}"))
    assert worker.wait() == -9, worker.err()
    assert suspect not in j.starts(), j.starts()
    charged = ends(j)
    assert last in charged and suspect not in charged, (charged, j.starts())


main()

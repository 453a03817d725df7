# SPDX-License-Identifier: Apache-2.0
"""ttg itself: with a node of its own (`ttg run`), and on Redis and RabbitMQ."""
import json
import os
import re

from .base import BENCH, BIN, NAP_MS, PYTHON, SLOW, Outcome, System, first_line, harness
from .on_broker import OnRabbit, OnRabbitCluster, OnRedis
from .place import Rabbit, Redis

SYNC = {"fsync": "always", "everysec": "interval:1000", "none": "never"}
SUM = re.compile(rb'"chunk_id":"(\d+)".*?(?:"sum":|"output":"?)(\d+)')


def read_output(path):
    """(distinct chunks, sum of their results), from the lines that were written; a chunk that is
    there twice makes the count wrong."""
    seen, total, lines = set(), 0, 0
    with open(path, "rb") as file:
        for line in file:
            found = SUM.search(line)
            assert found, f"no result in {line!r}"
            seen.add(int(found[1]))
            total += int(found[2])
            lines += 1
    return (len(seen) if len(seen) == lines else -lines), total


class Ttg(System):
    name = "ttg"
    title = "ttg run"
    classes = {d: f"--sync {s}" for d, s in SYNC.items()}
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 300000, "exec": 2000}
    more = ()   # options
    queue = None
    prefix = ()  # where the broker has a network of its own

    @classmethod
    def version(cls):
        return first_line(harness.TTG, "version")

    def kernel(self, slow=False):
        if self.kind == "exec":
            return ["--", *self.place.command, "{start}"]
        if self.kind == "nap":
            return ["--simulate-ms", str(NAP_MS * (SLOW if slow else 1))]
        if self.kind == "hang":
            return ["--", self.place.hang, "{start}", self.place.starts]
        if self.payload:
            return ["--coproc", "--", f"{BIN}/coproc_echo", self.payload]
        return ["--simulate-ms", "0"]

    def where(self):
        return ["--queue", self.queue] if self.queue else ["--sync", SYNC[self.durability]]

    def start(self):
        """`run` starts everything itself, unless each worker has to be known."""
        if self.kind in ("nap", "hang"):
            self.start_queue()
            for i in range(self.workers):
                self.add_worker(slow=self.kind == "nap" and i == 0)

    listen = ()

    def start_queue(self):
        path = f"{self.dir}/s"
        node = self.spawn([harness.TTG, "node", "--data", f"{self.dir}/data", "--unix", path,
                           *self.listen, "--sync", SYNC[self.durability]])
        node.wait_for("^ready$")
        self.queue = f"ttg+unix:{path}"
        return node

    def add_worker(self, slow=False):
        worker = self.spawn([harness.TTG, "worker", "--queue", self.queue, "--job", "bench",
                             "--name", f"w{self.started()}", *self.kernel(slow)])
        self.members.append(worker)
        return worker

    def wait_worker(self, worker):
        worker.wait_for("worker.joined")

    def submit_one(self):
        harness.run([harness.TTG, "submit", "--queue", self.queue, "--job", "bench", "--params", 1,
                     "--chunk", 1, "--max-attempts", 1000000])

    def work(self, count):
        out = f"{self.dir}/out"
        if os.path.exists(out):
            os.unlink(out)
        workers = 0 if self.members else self.workers
        took, process = self.timed(
            [*self.prefix, harness.TTG, "run", *self.where(), "--job", "bench", "--params",
             count, "--chunk", 1, "--workers", workers, "--output", out, "--json",
             *self.more, *self.kernel()],
            {"TTG_STATE_DIR": f"{self.dir}/state", "XDG_STATE_HOME": f"{self.dir}/state"})
        said = json.loads(process.out())
        assert said["verified"] and said["completed"] == count, said
        return Outcome(took, *read_output(out))


class TtgRoundTrip(Ttg):
    name = "ttg-1"
    title = "ttg run, one chunk a round trip"
    classes = {d: f"{s} --prefetch 0" for d, s in Ttg.classes.items()}
    kinds = ("noop",)
    sizes = {"noop": 50000}
    more = ("--prefetch", "0")


class TtgPython(Ttg):
    name = "ttg-python"
    title = "ttg run, a Python coprocess"
    kinds = ("noop",)
    sizes = {"noop": 50000}

    def kernel(self, slow=False):
        return ["--coproc", "--", PYTHON, "-S", os.path.join(BENCH, "peers", "coproc_noop.py")]


class TtgTcp(Ttg):
    name = "ttg-tcp"
    title = "ttg, workers over TCP"
    kinds = ("hang",)
    listen = ("--listen", "127.0.0.1:0")

    def start_queue(self):
        found = super().start_queue().wait_for(r"^listening on (127\.0\.0\.1:\d+)")
        self.queue = f"ttg://{found[1]}"


class TtgRedis(OnRedis, Ttg):
    name = "ttg-redis"
    title = "ttg run on Redis"
    classes = {"fsync": "appendfsync always", "everysec": "appendfsync everysec"}
    kinds = ("noop", "nap", "hang")
    sizes = {"noop": 100000}

    @classmethod
    def version(cls):
        return Redis.version()

    @property
    def queue(self):
        return self.broker.url

    def start_queue(self):
        """It is there."""


class TtgRabbit(OnRabbit, Ttg):
    name = "ttg-rabbit"
    title = "ttg run on RabbitMQ"
    classes = {"fsync": "classic durable queues, persistent messages, confirms"}
    kinds = ("noop", "nap", "hang")
    sizes = {"noop": 20000}

    @classmethod
    def version(cls):
        return Rabbit.version()

    @property
    def queue(self):
        return self.broker.url

    @property
    def prefix(self):
        return self.broker.prefix

    def start_queue(self):
        """It is there."""

    def check_durability(self):
        assert self.broker.durable_queues(), "no durable queues"


class TtgQuorum(TtgRabbit):
    name = "ttg-quorum"
    title = "ttg run on RabbitMQ, quorum"
    classes = {"fsync": "quorum queues (one node), confirms"}
    kinds = ("noop",)
    more = ("--queue-type", "quorum")


class TtgCluster(OnRabbitCluster, TtgQuorum):
    name = "ttg-cluster"
    title = "ttg run on RabbitMQ, quorum, 3 nodes"
    classes = {"fsync": "quorum queues, three nodes on this machine, confirms"}


SYSTEMS = [Ttg, TtgRoundTrip, TtgPython, TtgTcp, TtgRedis, TtgRabbit, TtgQuorum,
           TtgCluster]

# SPDX-License-Identifier: Apache-2.0
"""place - what the systems of one run share: the counter of syncs and the brokers.

A broker is started when the first system asks for it and serves all that work on it, so that they
meet the same one; what the one before left is removed. It lives in a directory of its own and on
ports of its own. It idles while others are measured, whose figures are without it."""
import os
import time
import urllib.error
import urllib.parse

import redis

import rabbitrig
import meter

from .base import BIN, Unavailable, first_line, harness, need_program

CALM_S = 60  # how long a disk that others have made slow is waited for
APPENDFSYNC = {"fsync": "always", "everysec": "everysec", "none": "no"}


class Place:
    def __init__(self):
        self.dir = harness.temp_dir()
        harness.keep(self.dir)
        os.chmod(self.dir, 0o755)
        rabbitrig.open_to_all(self.dir)
        self.counting, self.brokers = True, {}
        self.failed, self.stopped = False, False  # something has no figure; told to stop
        self.ends = float("inf")  # of the monotonic clock: nothing is begun after it
        self.calm_us = float("inf")  # a sync must not take longer when a measurement begins
        self.others = float("inf")   # nor others use more processors meanwhile
        self.command = ["/bin/echo"]  # of the kind exec: gets the number, prints it
        self.hang, self.starts = "", ""  # of the kind hang: the program, its file
        self.syncs = meter.Syncs(os.path.join(BIN, "syncs.so"), os.path.join(self.dir, "syncs"))

    def env(self):
        """Not where commands are started by the thousand: loading a library costs them time."""
        return self.syncs.env() if self.counting else {}

    def over(self):
        return self.stopped or time.monotonic() > self.ends

    def wait_for_disk(self):
        """Waits until it is as quick as asked for; microseconds that a sync takes."""
        end = time.monotonic() + CALM_S
        while True:
            took = meter.sync_us(self.dir)
            if took <= self.calm_us or self.over() or time.monotonic() > end:
                return took
            time.sleep(1)

    def broker(self, kind, *words):
        key = (kind, *words)
        if key not in self.brokers:
            before, ours = set(meter.tree()), self.syncs
            self.syncs = meter.Syncs(ours.library, os.path.join(harness.temp_dir(), "syncs"))
            rabbitrig.open_to_all(self.syncs.path)
            try:
                broker = self.brokers[key] = kind(self, *words)
                broker.pids, broker.syncs = set(meter.tree()) - before, self.syncs
            finally:
                self.syncs = ours
        return self.brokers[key]

    def redis(self, durability):
        return self.broker(Redis, durability)

    def rabbit(self):
        return self.broker(Rabbit)

    def cluster(self):
        return self.broker(RabbitCluster)

    def counters(self, mine):
        """Of syncs, of a system that uses this broker or none."""
        return [self.syncs, *([mine.syncs] if mine else [])] if self.counting else []

    def beside(self, mine, before=()):
        """The harness's own process, those of the brokers that a system does not use, and what
        others left `before` (a daemon of theirs that outlives them)."""
        others = {pid for b in self.brokers.values() if b is not mine for pid in b.pids}
        return others | {harness.guard_pid()} | set(before) - set(mine.pids if mine else ())

    def close(self):
        for broker in self.brokers.values():
            broker.close()
        self.brokers.clear()


class Redis:
    """A redis-server; append-only file unless the class is none."""

    def __init__(self, place, durability):
        need_program("redis-server")
        self.durability = durability
        self.dir = harness.temp_dir()
        harness.keep(self.dir)
        self.port = harness.free_port()
        self.process = harness.spawn(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir,
             "--unixsocket", f"{self.dir}/s",
             "--save", "", "--appendonly", "no" if durability == "none" else "yes",
             "--appendfsync", APPENDFSYNC[durability]], env=place.env())
        harness.keep(self.process)
        self.client = redis.Redis(port=self.port)
        harness.wait_until(self.answers)
        self.url = f"redis://127.0.0.1:{self.port}"

    def answers(self):
        try:
            return self.client.ping()
        except redis.exceptions.RedisError:
            return False

    def clear(self):
        self.client.flushall()

    def check_durability(self):
        """What the server itself says."""
        on = self.client.config_get("append*")
        want = ("no" if self.durability == "none" else "yes", APPENDFSYNC[self.durability])
        got = on["appendonly"], on["appendfsync"]
        assert got == want, f"redis-server has {got}, not {want}"

    def close(self):
        self.client.close()
        self.process.close()

    @staticmethod
    def version():
        need_program("redis-server")
        return "redis-server " + first_line("redis-server", "--version").split("v=")[1].split()[0]


class Rabbit:
    """The broker of the tests' rig; durable or not is a matter of queues and messages."""
    make = rabbitrig.Rabbit

    def __init__(self, place):
        self.version()
        before = {name: os.environ.get(name) for name in place.env()}
        os.environ.update(place.env())
        try:
            self.rig = self.make()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value
        self.dir, self.url, self.prefix = self.rig.dir, self.rig.url, self.rig.prefix
        self.place_it()

    def place_it(self):
        self.node, self.where = self.rig, ["--port", str(self.rig.port)]

    def clear(self):
        for name in self.node.queues():
            try:
                self.node.api("DELETE", f"queues/%2F/{urllib.parse.quote(name, safe='')}")
            except urllib.error.HTTPError:
                pass  # went by itself

    def durable_queues(self):
        return [q for q in self.node.queues().values() if q["durable"]]

    def close(self):
        self.node.kill()

    @staticmethod
    def version():
        try:
            rabbitrig.needed()
        except harness.Skip as reason:
            raise Unavailable(str(reason)) from None
        return "rabbitmq-server " + first_line(
            "dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server").split("-")[0]


class RabbitCluster(Rabbit):
    """Three nodes, each in a network namespace; clients are in a fourth one."""

    def make(self):
        try:
            return rabbitrig.Cluster()
        except harness.Skip as reason:
            raise Unavailable(str(reason)) from None

    def place_it(self):
        self.node = self.rig.nodes[0]
        self.where = ["--host", self.node.address, "--user", "ttg", "--password", "ttg"]

    def close(self):
        for node in self.rig.nodes:
            node.kill()

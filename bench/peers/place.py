# SPDX-License-Identifier: Apache-2.0
"""place - what the systems of one run share: the counter of syncs and the brokers.

A broker is started when the first system asks for it and serves all that work on it, so that they
meet the same one; what the one before left is removed. It lives in a directory of its own and on
ports of its own."""
import os
import urllib.error
import urllib.parse

import redis

import rabbitrig
from meter import Syncs

from .base import BIN, Unavailable, first_line, harness, need_program

APPENDFSYNC = {"fsync": "always", "everysec": "everysec", "none": "no"}


class Place:
    def __init__(self):
        self.dir = harness.temp_dir()
        harness.keep(self.dir)
        os.chmod(self.dir, 0o755)
        rabbitrig.open_to_all(self.dir)
        self.counting, self.brokers = True, {}
        self.failed, self.stopped = False, False  # something has no figure; told to stop
        self.command = ["/bin/echo"]  # of the kind exec: gets the number, prints it
        self.hang, self.starts = "", ""  # of the kind hang: the program, its file
        self.syncs = Syncs(os.path.join(BIN, "syncs.so"), os.path.join(self.dir, "syncs"))

    def env(self):
        """Not where commands are started by the thousand: loading a library costs them time."""
        return self.syncs.env() if self.counting else {}

    def redis(self, durability):
        key = ("redis", durability)
        if key not in self.brokers:
            self.brokers[key] = Redis(self, durability)
        return self.brokers[key]

    def rabbit(self):
        if "rabbit" not in self.brokers:
            self.brokers["rabbit"] = Rabbit(self)
        return self.brokers["rabbit"]

    def cluster(self):
        if "cluster" not in self.brokers:
            self.brokers["cluster"] = RabbitCluster(self)
        return self.brokers["cluster"]

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

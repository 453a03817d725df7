# SPDX-License-Identifier: Apache-2.0
"""What the brokers can do at best: bare pipelined clients in C that check and recover nothing
(redis_bare.c, amqp_bare.c), and a bare ping-pong over sockets."""
from .base import BIN, System
from .on_broker import OnRabbit, OnRabbitCluster, OnRedis
from .place import Rabbit, Redis


class Pingpong(System):
    name = "pingpong"
    title = "bare socket ping-pong (ours)"
    classes = {"none": "one task a round trip, in memory"}
    sizes = {"noop": 200000}

    def work(self, count):
        return self.drive(f"{BIN}/pingpong", str(self.workers), str(count))


class RawRedis(OnRedis, System):
    name = "raw-redis"
    title = "Redis Streams, bare C client"
    classes = {"fsync": "appendfsync always, COUNT 64",
               "everysec": "appendfsync everysec, COUNT 64",
               "none": "no append-only file, COUNT 64"}
    sizes = {"noop": 200000}

    @classmethod
    def version(cls):
        return Redis.version()

    def work(self, count):
        return self.drive(f"{BIN}/redis_bare", "--port", str(self.broker.port), "--chunks",
                          str(count), "--processes", str(self.workers), "--payload",
                          str(self.payload))


class RawRabbit(OnRabbit, System):
    name = "raw-rabbit"
    title = "RabbitMQ, bare C client, window 1000"
    classes = {"fsync": "classic durable queues, persistent messages, confirms"}
    sizes = {"noop": 20000}
    options = ("--window", "1000")

    @classmethod
    def version(cls):
        return Rabbit.version()

    def work(self, count):
        outcome = self.drive(*self.broker.prefix, f"{BIN}/amqp_bare", *self.broker.where,
                             "--chunks", str(count), "--processes", str(self.workers),
                             *self.options)
        queues = {q["name"] for q in self.broker.durable_queues()}
        assert {"bare.tasks", "bare.results"} <= queues, f"not durable: {queues}"
        return outcome


class RawRabbitOne(RawRabbit):
    name = "raw-rabbit-1"
    title = "RabbitMQ, bare C client, awaits each confirm"
    sizes = {"noop": 4000}
    options = ("--window", "1")


class RawQuorum(RawRabbit):
    name = "raw-quorum"
    title = "RabbitMQ quorum, bare C client, window 1000"
    classes = {"fsync": "quorum queues (one node), confirms"}
    options = ("--window", "1000", "--quorum")


class RawCluster(OnRabbitCluster, RawQuorum):
    name = "raw-cluster"
    title = "RabbitMQ quorum, 3 nodes, bare C, window 1000"
    classes = {"fsync": "quorum queues, three nodes on this machine, confirms"}


SYSTEMS = [Pingpong, RawRedis, RawRabbit, RawRabbitOne, RawQuorum, RawCluster]

# SPDX-License-Identifier: Apache-2.0
"""node - a node beside redis-server with `appendfsync always`: the same client (node_bench.c: one
thread, 50 connections), over TCP and Unix sockets, 150 bytes of payload."""
import re

from alternate import Job, in_turn
from peers.base import BIN, System, harness
from peers.place import Redis
from peers.ttg_peer import Ttg

WHAT = {"XADD": (60000, []), "XADD, pipeline 16": (300000, ["--pipeline", "16"]),
        "XREADGROUP + XACK": (30000, [])}
SAID = re.compile(r"(\d+) ops/s, p50 (\d+) us, p99 (\d+) us")


class Node(System):
    name = "ttg-node"
    title = "ttg node"
    classes = {"fsync": "--sync always"}
    version = Ttg.version

    def start(self):
        node = self.spawn([harness.TTG, "node", "--data", f"{self.dir}/data", "--unix",
                           f"{self.dir}/s", "--listen", "127.0.0.1:0"])
        found = node.wait_for(r"^listening on 127\.0\.0\.1:(\d+)")
        node.wait_for("^ready$")
        self.where = {"TCP": ["--port", found[1]], "Unix": ["--unix", f"{self.dir}/s"]}


class RedisNode(System):
    name = "redis"
    title = "redis-server"
    classes = {"fsync": "appendfsync always"}

    @classmethod
    def version(cls):
        return Redis.version()

    def start(self):
        self.server = self.place.redis("fsync")
        self.server.clear()
        self.where = {"TCP": ["--port", str(self.server.port)],
                      "Unix": ["--unix", f"{self.server.dir}/s"]}


def one_load(place, job):
    instance = place.servers[job.system.name]
    count, options = WHAT[job.parameters["what"]]
    _, process = instance.timed(
        [f"{BIN}/node_bench", *instance.where[job.parameters["socket"]], "--ops",
         max(100, round(count * place.scale)), *options,
         "group" if "GROUP" in job.parameters["what"] else "xadd"])
    ops, p50, p99 = map(int, SAID.match(process.out()).groups())
    return {"ops_per_s": ops, "p50_us": p50, "p99_us": p99}


def node(place, options):
    """The servers run through all rounds; only one of them has work at a time."""
    place.counting, place.scale, place.servers = False, options.scale, {}
    jobs = [Job(system, "fsync", "node", 1, 1, {"what": what, "socket": socket})
            for what in WHAT for socket in ("TCP", "Unix") for system in (Node, RedisNode)]
    for system in (Node, RedisNode):
        if not any(j.why for j in jobs if j.system is system):
            place.servers[system.name] = system(place, "fsync", 1, "node")
            place.servers[system.name].start()
    try:
        return in_turn(place, jobs, options.rounds, one_load)
    finally:
        for server in place.servers.values():
            server.stop()


WORKS = {"node": node}

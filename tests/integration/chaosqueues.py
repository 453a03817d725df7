# SPDX-License-Identifier: Apache-2.0
"""chaosqueues - the kinds of queue that a job under fire runs on (chaosrig): where it is, how its
server is killed, what has to be left in the end."""
import json
import os
import signal

from faultrig import Proxy
from harness import TTG, free_port, run, temp_dir, wait_until
from noderig import Closed, Node, Raw
from rabbitrig import Cluster, Rabbit
from redisfleet import Cluster as RedisCluster
from redisfleet import Sentinels
from redisrig import Job, Redis

JOB = "chaos"


def send(pid, number):
    """A signal to one of our own processes; whether it was still there."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


class Embedded:
    """The node is a child of `ttg run`, which starts it again."""
    server_role = "node"
    proxy = None

    def __init__(self, marked, through_proxy=False, data=None):
        assert not through_proxy
        self.marked = marked
        self.dir = os.path.join(data or temp_dir(), "j")
        self.url = f"embedded:{self.dir}"

    def up(self):
        try:
            return self.connect()("PING")
        except (OSError, Closed):
            return False

    def kill_server(self):
        pids = self.marked.find("node")
        return bool(pids) and send(pids[0], signal.SIGKILL)

    def connect(self):
        return Raw(self.dir + "/node.sock")

    def status(self):
        return node_status(self.connect())

    def after(self):
        """The node has gone with the run; look at what it left."""
        node = Node(data=self.dir + "/node", listen=None)
        status = node_status(node.raw())
        node.stop()
        return status

    def close(self):
        pass


def node_status(connection):
    words = connection("TTG.JOB", "STATUS", JOB)
    return {words[i].decode(): words[i + 1].decode() if isinstance(words[i + 1], bytes)
            else words[i + 1] for i in range(0, len(words), 2)}


class NodeQueue:
    """A separate `ttg node` over TCP; who killed it starts it again."""
    server_role = "server"

    def __init__(self, marked, through_proxy=False, data=None):
        self.data = (data or temp_dir()) + "/data"
        self.port = free_port()
        self.node = None
        self.start()
        self.proxy = Proxy(self.port) if through_proxy else None
        self.url = f"ttg://127.0.0.1:{self.proxy.port if self.proxy else self.port}"

    def start(self):
        self.node = Node(data=self.data, listen=f"127.0.0.1:{self.port}")

    def kill_server(self):
        self.node.kill()
        self.start()
        return True

    def connect(self):
        return self.node.raw()

    def status(self):
        return node_status(self.connect())

    def after(self):
        return self.status()

    def close(self):
        if self.proxy:
            self.proxy.close()


class RedisQueue:
    """A redis-server that writes and syncs each command before it answers."""
    server_role = "server"

    def __init__(self, marked, through_proxy=False):
        self.server = Redis(sync="always")
        self.proxy = Proxy(self.server.port) if through_proxy else None
        self.url = f"redis://127.0.0.1:{self.proxy.port}" if self.proxy else self.server.url

    def kill_server(self):
        self.server.kill()
        self.server.start()
        return True

    def status(self):
        return Job(self.server, JOB).status()

    def after(self):
        tasks = Job(self.server, JOB).key("tasks")
        pending = self.server.client.xpending(tasks, "ttg-workers")["pending"]
        assert pending == 0, f"{pending} tasks are still pending"
        return self.status()

    def close(self):
        if self.proxy:
            self.proxy.close()


class SentinelQueue:
    """A master that dies, a replica that takes over, and three Sentinels; the old master comes back as
    the replica."""
    server_role = "server"
    proxy = None

    def __init__(self, marked, through_proxy=False):
        assert not through_proxy
        self.fleet = self.open()
        self.url = self.fleet.url

    def open(self):
        return Sentinels()

    def kill_server(self):
        old = self.fleet.kill_master(JOB, work=False)
        self.restart(old)
        wait_until(lambda: self.fleet.rejoined(old), 60, "the old master as a replica")
        return True

    def restart(self, old):
        """As a replica at once; Sentinels take some 10 s to make it one. Not before they agree, or
        some promote it again."""
        wait_until(self.fleet.settled, 60, "the sentinels to agree on the new master")
        old.replica_of = self.fleet.master().port
        old.start()

    def status(self):
        return self.fleet.job(JOB).status()

    def after(self):
        job = self.fleet.job(JOB)
        pending = job.r.xpending(job.key("tasks"), "ttg-workers")["pending"]
        assert pending == 0, f"{pending} tasks are still pending"
        return job.status()

    def close(self):
        self.fleet.close()


class RedisClusterQueue(SentinelQueue):
    """Three masters with a replica each; the one that has the job dies."""
    options = ["--redis-wait", "1"]

    def open(self):
        return RedisCluster()

    def restart(self, old):
        old.start()


class RabbitQueue:
    """A broker with classic queues, on its own disk; one for the whole program."""
    server_role = "server"
    queue_type = "classic"
    brokers = {}

    def __init__(self, marked, through_proxy=False):
        self.broker = self.brokers.get(self.queue_type) or self.open()
        self.brokers[self.queue_type] = self.broker
        for name in self.some_node().queues():
            self.some_node().api("DELETE", f"queues/%2F/{name}")
        self.proxy = None
        self.url = self.broker.url
        self.prefix = getattr(self.broker, "prefix", [])
        self.options = ["--queue-type", self.queue_type]

    def open(self):
        return Rabbit()

    def some_node(self):
        return self.broker

    def kill_server(self):
        self.broker.kill()
        self.broker.start()
        return True

    def status(self):
        said = run([*self.prefix, TTG, "status", JOB, "--queue", self.url, "--json"])
        return json.loads(said.out)

    def after(self):
        return self.status()

    def close(self):
        pass


class RabbitClusterQueue(RabbitQueue):
    """Three nodes with quorum queues; the server that dies is one of them, the leader as often as
    not."""
    queue_type = "quorum"
    kills = 0

    def open(self):
        return Cluster()

    def some_node(self):
        return self.broker.nodes[0]

    def victim(self):
        RabbitClusterQueue.kills += 1
        node = self.broker.leader(f"ttg.{JOB}.tasks") if self.kills % 2 else None
        return node or self.broker.nodes[self.kills % 3]

    def kill_server(self):
        node = self.victim()
        node.kill()
        node.start(wait=False)
        self.broker.wait_whole()
        return True

    def cut_off(self):
        """A node, until the others know; what puts its cable back."""
        node = self.victim()
        others = [n for n in self.broker.nodes if n is not node]
        node.cut()
        wait_until(lambda: all(n.members() == 2 for n in others), 60, "the others to miss a node")
        return node.mend

# SPDX-License-Identifier: Apache-2.0
"""redisfleet - several real redis-servers that take over from each other: behind Sentinels, or as a
Redis Cluster. Masters are killed and come back; replication can be cut, so that a takeover surely
loses what was acknowledged meanwhile."""
import json
import os
import time

import redis

from gaterig import Gate
from harness import TTG, free_port, have, reserve, run, skip, spawn, temp_dir, wait_until, write_file
from redisrig import SERVER, Job

NAME = "mymaster"
DOWN_MS = 600    # silence after which a master counts as dead that a test has killed,
CALM_MS = 30000  # and one that a busy machine gives no processor


def close_ports(count):
    """Free ports whose bus ports, 10,000 above, are free and not among those of connections."""
    found = []
    while len(found) < count:
        port = free_port()
        if port < 22000 and reserve(port + 10000):
            found.append(port)
    return found


class Server:
    """One redis-server that may be killed and started again."""

    def __init__(self, port, *options, password=None):
        self.port, self.password, self.options = port, password, list(options)
        self.dir = temp_dir()
        if password:
            self.options += ["--requirepass", password, "--masterauth", password]
        self.client = redis.Redis(port=port, socket_timeout=5, password=password)
        self.replica_of, self.hangs, self.cut_off = None, False, False
        self.start()

    def start(self):
        more = ["--replicaof", f"127.0.0.1 {self.replica_of}"] if self.replica_of else []
        self.process = spawn([SERVER, "--port", self.port, "--bind", "127.0.0.1", "--dir",
                              self.dir, "--save", "", "--appendonly", "yes", "--appendfsync",
                              "everysec", "--repl-diskless-sync-delay", "0",
                              "--repl-ping-replica-period", "1", *self.options, *more])
        wait_until(self.answers, what=f"redis-server {self.port} answers")

    def answers(self):
        try:
            return self.client.ping()
        except redis.exceptions.RedisError:
            return False

    def here(self):
        return self.process.code() is None and not self.hangs

    def hang(self):
        self.hangs = True
        self.process.stop()

    def wake(self):
        self.process.cont()
        self.hangs = False

    def role(self):
        if not self.here():
            return "away"
        try:
            return self.client.role()[0].decode()
        except redis.exceptions.RedisError:
            return "away"

    def synced(self):
        try:
            return self.client.info("replication").get("master_link_status") == "up"
        except redis.exceptions.RedisError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cut_replication(self, master):
        """What the master does from here on does not arrive."""
        self.cut_off = True
        self.client.config_set("masterauth", "wrong")
        if self.password is None:  # then any password is refused
            self.client.config_set("masteruser", "nobody")
        master.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_until(lambda: not self.synced(), what="the replica to be cut off")

    def mend_replication(self):
        self.cut_off = False
        self.client.config_set("masterauth", self.password or "")
        self.client.config_set("masteruser", "")


class Fleet:
    """What both kinds share: where the job is, what becomes of it, and a report."""
    servers, sentinels, log = (), (), ()
    gate = None  # of the job, unless it lasts long enough by itself

    def close(self):
        """The servers of a fleet that a test has done with."""
        for process in [s.process for s in self.servers] + [p for p, _, _ in self.sentinels]:
            process.close()

    def job(self, name="j"):
        return Job(self.master(name), name)

    def run_words(self, params, *options, name="j"):
        return [TTG, "run", "--queue", self.url, "--job", name, "--params", params, *options]

    def tell(self, what, started):
        self.log.append((what, time.monotonic() - started))

    def report(self):
        for what, seconds in self.log:
            print(f"# {what}: work goes on after {seconds:.2f} s", flush=True)

    def completed(self, name="j"):
        try:
            return Job(self.master(name), name).completed()
        except (redis.exceptions.RedisError, StopIteration):
            return -1

    def kill_master(self, name="j", slowly=False, work=True, back=False):
        """Kills who serves the job, waits until another one does and, unless nobody works, until
        work goes on; `back`: with the old one as its replica again."""
        old = self.master(name)
        self.watch(DOWN_MS)
        started = time.monotonic()
        if slowly:
            old.hang()
        else:
            old.kill()
        if self.gate:
            self.gate.open()
        for server in self.servers:  # only now, or it would be quick enough to catch up
            if server.cut_off and server.here():
                server.mend_replication()
        wait_until(lambda: self.promoted(old, name), 60, "a replica to be promoted")
        promoted = time.monotonic() - started
        self.watch(CALM_MS)
        if back:
            old.start()
            wait_until(lambda: self.rejoined(old), 60, "the old master as a replica")
        before = self.completed(name)
        wait_until(lambda: not work or self.completed(name) > before or self.over(name), 30,
                   "work to go on")
        self.tell(f"master {old.port} {'hung' if slowly else 'killed'}, "
                  f"{self.master(name).port} promoted after {promoted:.2f} s", started)
        return old

    def over(self, name):
        try:
            return Job(self.master(name), name).state() >= 2
        except (redis.exceptions.RedisError, StopIteration):
            return False


class Sentinels(Fleet):
    """One master, replicas, three Sentinels."""

    def __init__(self, replicas=1, password=None, sentinel_password=None):
        if not have(SERVER):
            skip(f"{SERVER} is not installed")
        self.log = []
        ports = close_ports(1 + replicas + 3)
        self.password = password
        self.servers = [Server(port, password=password) for port in ports[:1 + replicas]]
        for server in self.servers[1:]:
            server.client.execute_command("REPLICAOF", "127.0.0.1", ports[0])
        for server in self.servers[1:]:
            wait_until(server.synced, what="the replica's first sync")
        self.sentinels = []
        for port in ports[1 + replicas:]:
            self._sentinel(port, ports[0], password, sentinel_password)
        self.sentinel_password = sentinel_password
        wait_until(self.agreed, 60, "the sentinels to know each other")
        self.watch(CALM_MS)
        self.url = self.address()

    def _sentinel(self, port, master, password, own):
        where = temp_dir()
        lines = [f"port {port}", "bind 127.0.0.1", f"dir {where}",
                 f"sentinel monitor {NAME} 127.0.0.1 {master} 2",
                 f"sentinel down-after-milliseconds {NAME} {DOWN_MS}",
                 f"sentinel failover-timeout {NAME} 6000"]
        lines += [f"sentinel auth-pass {NAME} {password}"] if password else []
        lines += [f"requirepass {own}"] if own else []
        path = write_file(os.path.join(where, "sentinel.conf"), "\n".join(lines) + "\n")
        process = spawn([SERVER, path, "--sentinel"])
        client = redis.Redis(port=port, socket_timeout=5, password=own)
        self.sentinels.append((process, client, port))

    def address(self, first=0, credentials="", query=""):
        """Of the sentinels from that number on."""
        order = self.sentinels[first:]
        credentials = credentials or (f":{self.password}@" if self.password else "")
        hosts = ",".join(f"127.0.0.1:{port}" for _, _, port in order)
        return f"redis+sentinel://{credentials}{hosts}/{NAME}{query}"

    def watch(self, ms):
        """From here on a master that is silent for so long is taken for dead."""
        for process, client, _ in self.sentinels:
            if process.code() is None:
                client.execute_command("SENTINEL", "SET", NAME, "down-after-milliseconds", ms)

    def _state(self, client):
        return client.sentinel_master(NAME)

    def agreed(self):
        try:
            states = [self._state(client) for _, client, _ in self.sentinels]
        except redis.exceptions.RedisError:
            return False
        return all(s["num-other-sentinels"] == 2 and s["num-slaves"] == len(self.servers) - 1
                   for s in states)

    def settled(self):
        """Whether all Sentinels see the same master, up, and are busy with nothing."""
        try:
            states = [self._state(client) for _, client, _ in self.sentinels]
            port = self.master().port
        except (redis.exceptions.RedisError, StopIteration):
            return False
        return all(s["port"] == port and set(s["flags"].split(",")) == {"master"} for s in states)

    def master(self, _=None):
        return next(s for s in self.servers if s.role() == "master")

    def replicas(self, _=None):
        master = self.master()
        return [s for s in self.servers if s is not master]

    def promoted(self, old, _=None):
        return any(s is not old and s.role() == "master" for s in self.servers)

    def rejoined(self, old):
        """Whether the old master has come back as a replica."""
        return old.role() == "slave" and old.synced()


class Cluster(Fleet):
    """Three masters with a replica each."""

    def __init__(self, replicas=1):
        if not have(SERVER) or not have("redis-cli"):
            skip(f"{SERVER} is not installed")
        self.log = []
        ports = close_ports(3 * (1 + replicas))
        self.servers = [Server(p, "--cluster-enabled", "yes", "--cluster-port", p + 10000,
                               "--cluster-node-timeout", DOWN_MS) for p in ports]
        run(["redis-cli", "--cluster", "create", *[f"127.0.0.1:{p}" for p in ports],
             "--cluster-replicas", replicas, "--cluster-yes"], deadline_s=60)
        wait_until(self.healthy, 60, "the cluster to stand")
        self.watch(CALM_MS)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{p}" for p in ports[:2])

    def watch(self, ms):
        for server in self.servers:
            if server.here():
                server.client.config_set("cluster-node-timeout", ms)

    def healthy(self):
        try:
            return all(b"cluster_state:ok" in s.client.execute_command("CLUSTER", "INFO")
                       and (s.role() == "master" or s.synced()) for s in self.servers)
        except redis.exceptions.RedisError:
            return False

    def shard(self, name):
        """Who masters the job's slot, and its replicas."""
        for server in self.servers:
            if not server.here():
                continue
            try:
                slot = server.client.execute_command("CLUSTER", "KEYSLOT", "ttg:{%s}:job" % name)
                parts = server.client.execute_command("CLUSTER", "SLOTS")
            except redis.exceptions.RedisError:
                continue
            for first, last, *nodes in parts:
                if first <= slot <= last:
                    return [s for n in nodes for s in self.servers if s.port == n[1]]
        raise StopIteration

    def master(self, name="j"):
        return self.shard(name)[0]

    def replicas(self, name="j"):
        """By their own word: CLUSTER SLOTS leaves out those that have heard nothing yet."""
        port = self.master(name).port
        return [s for s in self.servers if s.role() == "slave" and s.client.role()[2] == port]

    def promoted(self, old, name="j"):
        try:
            shard = self.shard(name)
            return shard and shard[0] is not old and shard[0].role() == "master"
        except StopIteration:
            return False

    def rejoined(self, old):
        return old.role() == "slave" and old.synced()


# ---- outputs

def read_lines(path):
    """The whole lines of an output as objects; none when it is not there yet."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def check_exact(path, chunks, per_chunk=1):
    """Each chunk once, with the right sum."""
    lines = read_lines(path)
    ids = [int(line["chunk_id"]) for line in lines]
    doubled = sorted({i for i in ids if ids.count(i) > 1}) if len(ids) != len(set(ids)) else []
    missing = sorted(set(range(chunks)) - set(ids))
    assert not doubled and not missing, f"doubled {doubled[:10]}, missing {missing[:10]}"
    for line in lines:
        first = int(line["chunk_id"]) * per_chunk
        want = sum(range(first, first + per_chunk))
        assert line["result_summary"] == {"sum": want, "count": per_chunk}, line
    return lines


# ---- runs

SOAK = bool(os.environ.get("SOAK"))
CHUNKS = 4000


def started(fleet, *options, chunks=CHUNKS, ms=2, name="j", out=None, gated=True):
    """A job that does not end before the master was killed, or `ended` waits for its end."""
    out = out or os.path.join(temp_dir(), "out")
    if gated and not fleet.gate:
        fleet.gate = Gate(800, ms)
    work = fleet.gate.words if gated else ["--simulate-ms", ms]
    process = spawn(fleet.run_words(chunks, "--chunk", 1, "--workers", 3, *work, "--output", out, "--json",
                                    *options, name=name))
    wait_until(lambda: len(read_lines(out)) > 100, what="the first results")
    return process, out


def ended(fleet, process, out, chunks=CHUNKS, name="j"):
    if fleet.gate:
        fleet.gate.open()
    assert process.wait(600 if SOAK else 90) == 0, process.err()
    said = json.loads(process.err().splitlines()[-1] if not process.out() else process.out())
    assert said["verified"] and said["completed"] == chunks, said
    check_exact(out, chunks)
    run([TTG, "verify", "--queue", fleet.url, "--output", out, name])
    status = Job(fleet.master(name), name).status()
    assert status["state"] == "finished" and status["leased"] == 0, status
    fleet.report()
    return said


def lose_writes(fleet, out, lines=200, name="j"):
    """Cuts replication until results that only the master has are in the output. How many others
    there are."""
    master = fleet.master(name)
    replicas = fleet.replicas(name)
    for server in replicas:
        server.cut_replication(master)
    known = len(Job(master, name).r.xrange(Job(master, name).key("results")))
    have = len(read_lines(out))
    least = max(known, have) + lines
    fleet.gate.more(least - have + 500)
    wait_until(lambda: len(read_lines(out)) > least, what="results that will be lost")
    return known


def storm(fleet, *options, slowly=False, name="j"):
    """A job under fire: the master of the moment dies (or hangs), the next one takes over, the old
    one comes back as its replica, and so on."""
    turns = 20 if SOAK else 2
    chunks = turns * 3000
    process, out = started(fleet, "--slots", 2, *options, chunks=chunks,
                           ms=30 if SOAK else 10, name=name, gated=False)
    for turn in range(turns):
        # A sentinel that got no processor for 2 s changes nothing for 30 s ("tilt").
        if turn > 0:
            wait_until(lambda: fleet.rejoined(old), 90, "the old master as a replica")
        if process.code() is not None:
            break
        old = fleet.kill_master(name, slowly, back=bool(options))
        if slowly:
            old.wake()
        elif not options:
            old.start()
    assert turn >= 1, "the job was too short to show anything"
    ended(fleet, process, out, chunks, name)

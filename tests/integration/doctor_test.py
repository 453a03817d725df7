#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ttg doctor with real servers: quiet on what is recommended, and each planted fault is found."""
import email.utils
import http.server
import json
import os
import resource
import threading
import time
import urllib.request

from faultrig import SmallDisk
from harness import TTG, Process, free_port, main, run, spawn, temp_dir, test, wait_until
from noderig import Node
from rabbitrig import Rabbit
from redisfleet import Cluster, Sentinels, Server, close_ports
from redisrig import Redis

SAFE_REDIS = ["--appendfsync", "always"]


def doctor(url, *options, code=None, env=None):
    """{id: level} of what is found."""
    words = ["--queue", url] if url else []
    done = run([TTG, "doctor", *words, *options, "--json"], code=code, env=env)
    said = json.loads(done.out)
    found = {f["id"]: f["level"] for f in said["findings"]}
    assert said["safe"] == ("unsafe" not in found.values()) == (done.code == 0), (said, done.code)
    assert said["unsafe"] + said["warnings"] == len(said["findings"]), said
    for f in said["findings"]:
        assert all(f[k] for k in ("id", "level", "where", "found", "means", "fix")), f
    return found


def quiet(url, *options):
    """One line on what was looked at, and nothing else."""
    assert doctor(url, *options, code=0) == {}
    words = ["--queue", url] if url else []
    out = run([TTG, "doctor", *words, *options]).out
    assert out.startswith("all good: ") and out.count("\n") == 1, out


@test
def a_single_redis():
    server = Redis(sync="always")
    quiet(server.url)
    planted = [
        ({"appendonly": "no"}, "redis-appendonly", "unsafe"),
        ({"appendfsync": "no"}, "redis-appendfsync-no", "unsafe"),
        ({"appendfsync": "everysec"}, "redis-appendfsync", "warning"),
        ({"no-appendfsync-on-rewrite": "yes"}, "redis-fsync-rewrite", "unsafe"),
        ({"maxmemory": "500mb", "maxmemory-policy": "allkeys-lru"}, "redis-eviction", "unsafe"),
        ({"maxmemory-policy": "volatile-lru"}, "redis-eviction-later", "warning"),
        ({"maxmemory": "1mb"}, "redis-memory", "unsafe"),
    ]
    for settings, name, level in planted:
        before = {k: server.client.config_get(k)[k] for k in settings}
        for key, value in settings.items():
            server.client.config_set(key, value)
        assert doctor(server.url) == {name: level}, name
        out = run([TTG, "doctor", "--queue", server.url], code=int(level == "unsafe")).out
        assert f"[{name}]" in out and "means:" in out and "fix:" in out, out
        for key, value in before.items():
            server.client.config_set(key, value)
    quiet(server.url)
    assert doctor(server.url, "--redis-wait", 1) == {"redis-wait": "unsafe"}
    server.client.execute_command("REPLICAOF", "127.0.0.1", 1)
    assert doctor(server.url) == {"redis-replica": "unsafe"}


@test
def rights_and_servers_that_are_not_there():
    server = Redis(sync="always", password="s3cret")
    run([TTG, "doctor", "--queue", server.url], code=3, err="NOAUTH.*goes into the address")
    run([TTG, "doctor", "--queue", f"redis://:wrong@127.0.0.1:{server.port}"], code=3,
        err="WRONGPASS.*goes into the address")
    server.client.execute_command("ACL", "SETUSER", "u", "on", ">pw", "~*", "+@all", "-config")
    url = f"redis://u:pw@127.0.0.1:{server.port}"
    assert doctor(url) == {"redis-config": "warning"}
    server.kill()
    done = run([TTG, "doctor", "--queue", url], code=3)
    assert "pw" not in done.err.replace("pwd", ""), done.err


@test
def sentinels():
    fleet = Sentinels()
    for server in fleet.servers:
        server.client.config_set("appendfsync", "always")
        server.client.config_set("min-replicas-to-write", 1)
    quiet(fleet.url)
    master = fleet.master()
    master.client.config_set("min-replicas-to-write", 0)
    assert doctor(fleet.url) == {"redis-isolated": "unsafe"}
    assert doctor(fleet.url, "--redis-wait", 1) == {}
    master.client.config_set("min-replicas-to-write", 1)
    for _, client, _ in fleet.sentinels:
        client.execute_command("SENTINEL", "SET", "mymaster", "quorum", 5)
    assert doctor(fleet.url) == {"sentinel-quorum": "unsafe"}
    for _, client, _ in fleet.sentinels:
        client.execute_command("SENTINEL", "SET", "mymaster", "quorum", 2)
    fleet.sentinels[0][0].kill()
    fleet.servers[1].kill()
    wait_until(lambda: master.client.info("replication")["connected_slaves"] == 0)
    assert doctor(fleet.url) == {"sentinel-away": "warning", "redis-no-replica": "unsafe"}


@test
def a_cluster():
    fleet = Cluster()
    for server in fleet.servers:
        server.client.config_set("appendfsync", "always")
        server.client.config_set("min-replicas-to-write", 1)
    quiet(fleet.url)
    fleet.replicas("j")[0].kill()
    master = fleet.master("j")
    wait_until(lambda: master.client.info("replication")["connected_slaves"] == 0)
    assert doctor(fleet.url) == {"redis-no-replica": "unsafe"}
    (port,) = close_ports(1)
    alone = Server(port, "--cluster-enabled", "yes", "--appendfsync", "always", "--cluster-port", port + 10000)
    url = f"redis+cluster://127.0.0.1:{alone.port}"
    assert doctor(url) == {"cluster-state": "unsafe", "cluster-masters": "unsafe"}


@test
def nodes():
    for sync, found in (("always", {}), ("interval:50", {"sync-interval": "warning"}),
                        ("never", {"sync-never": "unsafe"})):
        path = os.path.join(temp_dir(), "n.sock")
        node = spawn([TTG, "node", "--data", temp_dir(), "--unix", path, "--sync", sync])
        node.wait_for("^ready")
        if found:
            assert doctor("ttg+unix:" + path) == found
        else:
            quiet("ttg+unix:" + path)
    node = Node()
    quiet(f"ttg://127.0.0.1:{node.port}")


@test
def this_machine_and_its_disk():
    home = {"XDG_STATE_HOME": "/var/tmp", "HOME": "/var/tmp"}
    found = doctor(None, env=home)
    assert set(found) <= {"directory-room", "directory-full", "directory-memory"}, found
    assert doctor(None, "--sync", "never", env=home)["sync-never"] == "unsafe"

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    process = Process([TTG, "doctor", "--json"], env=home, preexec=few)
    assert process.wait() == 1 and '"id":"files"' in process.out(), process.out()


@test
def a_directory_in_memory():
    with SmallDisk(mib=2) as disk:
        assert doctor(f"embedded:{disk.dir}/not/there/yet") == {
            "directory-memory": "unsafe", "directory-full": "unsafe"}


class Shifted(http.server.BaseHTTPRequestHandler):
    """Hands a management API on, with another clock."""
    shift_s, target = 0, None

    def do_GET(self):  # pylint: disable=invalid-name
        request = urllib.request.Request(self.target + self.path, headers={
            "Authorization": self.headers["Authorization"]})
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
        self.send_response_only(200)
        if self.shift_s is not None:
            self.send_header("Date", email.utils.formatdate(time.time() + self.shift_s, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def clocks_of(broker, usual):
    """The time of a node is the one that its management API answers with."""
    Shifted.target = f"http://127.0.0.1:{broker.http}"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shifted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for shift_s, found in ((0, {}), (None, {}), (-60, {"clock": "warning"}), (60, {"clock": "warning"}),
                           (7200, {"clock-wrong": "warning"})):
        Shifted.shift_s = shift_s
        said = doctor(broker.url, "--management", f"http://127.0.0.1:{server.server_port}")
        assert said == {**usual, **found}, (shift_s, said)
    server.shutdown()
    server.server_close()


@test
def a_rabbitmq_broker():
    broker = Rabbit()
    management = ["--management", f"http://127.0.0.1:{broker.http}"]
    old = {"rabbit-consumer-timeout": "warning"}  # Debian's is before 3.12
    new = broker.api("GET", "overview")["rabbitmq_version"].split(".")[:2] >= ["3", "12"]
    usual = {} if new else old
    run([TTG, "run", "--queue", broker.url, "--job", "j", "--params", 100, "--simulate-ms", 0,
         "--workers", 1, "--output", os.path.join(temp_dir(), "out")])
    assert doctor(broker.url, *management) == usual
    clocks_of(broker, usual)
    broker.half_make("ttg.x.results", {"x-queue-type": "quorum"})
    wait_until(lambda: doctor(broker.url, *management) == {**usual, "rabbit-replicas": "unsafe"})
    broker.api("DELETE", "queues/%2F/ttg.x.results")
    broker.api("PUT", "queues/%2F/ttg.x.tasks", {"durable": False})
    wait_until(lambda: doctor(broker.url, *management) == {**usual, "rabbit-transient": "unsafe"})
    broker.api("DELETE", "queues/%2F/ttg.x.tasks")
    broker.api("PUT", "policies/%2F/short", {"pattern": "^ttg", "apply-to": "queues",
                                             "definition": {"max-length": 5}})
    broker.api("PUT", "queues/%2F/ttg.x.tasks", {"durable": True})
    wait_until(lambda: "rabbit-policy" in doctor(broker.url, *management))
    broker.api("DELETE", "policies/%2F/short")
    broker.ctl("set_vm_memory_high_watermark", "0.00001")
    wait_until(lambda: "rabbit-memory" in doctor(broker.url, *management))
    broker.ctl("set_vm_memory_high_watermark", "0.6")
    broker.ctl("set_disk_free_limit", "100000GB")
    wait_until(lambda: "rabbit-disk" in doctor(broker.url, *management))
    assert doctor(broker.url, "--management", "http://127.0.0.1:1") == {
        "rabbit-management": "warning"}
    wrong = broker.url.replace("guest:guest", "guest:wrong")
    done = run([TTG, "doctor", "--queue", wrong, *management], code=3, err="ACCESS_REFUSED")
    assert "wrong" not in done.err, done.err
    nobody = f"amqp://127.0.0.1:{free_port()}/"
    run([TTG, "doctor", "--queue", nobody, *management, "--queue-retry", 1], code=3,
        err="no connection to amqp://")


main()

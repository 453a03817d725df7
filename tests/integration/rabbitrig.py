# SPDX-License-Identifier: Apache-2.0
"""rabbitrig - real RabbitMQ brokers of our own, as plain processes with their own ports and files:
one on loopback (Rabbit), or a cluster of three, each in a network namespace (Cluster).

The namespaces have no names: a process in each keeps it alive, so they go with our processes."""
import base64
import ctypes
import json
import os
import pwd
import shutil
import socket
import threading
import urllib.error
import urllib.request

from harness import (DEADLINE_S, TTG, free_port, keep, run, skip, spawn, temp_dir, wait_until,
                     write_file)

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
# A broker refuses to run as root.
AS_RABBIT = [] if os.getuid() else ["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq",
                                    "--clear-groups"]


def needed():
    """Skips where there is no RabbitMQ; the user it runs as."""
    if not os.path.exists(SERVER):
        skip("rabbitmq-server is not installed")
    if AS_RABBIT and not shutil.which("setpriv"):
        skip("setpriv is missing")
    try:
        return pwd.getpwnam("rabbitmq") if AS_RABBIT else pwd.getpwuid(os.getuid())
    except KeyError:
        skip("there is no user rabbitmq" if AS_RABBIT else "this user has no name")


def open_to_all(path):
    """The broker's user has to get there."""
    parent = os.path.dirname(path) if AS_RABBIT else "/"
    while parent != "/":
        os.chmod(parent, os.stat(parent).st_mode | 0o011)
        parent = os.path.dirname(parent)


class Broker:
    """What both kinds have in common."""

    def start(self, wait=True):
        self.process = spawn([*self.prefix, *AS_RABBIT, SERVER], env=self.env)
        keep(self.process)
        if wait:
            wait_until(self.answers, 60, "the broker answers")

    def answers(self):
        try:
            return self.api("GET", "overview") is not None
        except OSError:
            return False

    def kill(self):
        """SIGKILL to the broker and what it has started."""
        self.process.close()

    def ctl(self, *words):
        return run([*self.prefix, *AS_RABBIT, "/usr/lib/rabbitmq/bin/rabbitmqctl", "-n",
                    self.env["RABBITMQ_NODENAME"], *self.ctl_options, *words],
                   env=self.env, cwd=self.dir)

    def request(self, method, path, body):
        request = urllib.request.Request(
            f"http://{self.address}:{self.http}/api/{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Basic " + base64.b64encode(self.login).decode(),
                     "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def api(self, method, path, body=None):
        return self.request(method, path, body)

    def queues(self):
        return {q["name"]: q for q in self.api("GET", "queues/%2F")}

    def half_make(self, queue, options):
        """A quorum queue that is noted and has no replica: its node died while it was declared."""
        words = ",".join(f'{{<<"{k}">>,{"longstr" if isinstance(v, str) else "signedint"},'
                         f'{"<<" + chr(34) + v + chr(34) + ">>" if isinstance(v, str) else v}}}'
                         for k, v in options.items())
        self.ctl("eval", f"""
            N = rabbit_misc:r(<<"/">>, queue, <<"{queue}">>),
            Q = amqqueue:new(N, none, true, false, none, [{words}], <<"/">>, #{{}},
                             rabbit_quorum_queue),
            Led = amqqueue:set_pid(Q, {{list_to_atom("%2F_{queue}"), node()}}),
            {{created, _}} = rabbit_amqqueue:internal_declare(
                amqqueue:set_type_state(Led, #{{nodes => rabbit_nodes:all()}}), false).""")

    def get(self, queue, count=1000):
        """Messages of a queue, which stay there."""
        found = self.api("POST", f"queues/%2F/{queue}/get",
                         {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"})
        return [(json.loads(m["payload"]), m["properties"].get("headers", {})) for m in found]

    def publish(self, queue, payload, headers=None):
        self.api("POST", "exchanges/%2F/amq.default/publish",
                 {"properties": {"delivery_mode": 2, "headers": headers or {}},
                  "routing_key": queue, "payload": json.dumps(payload),
                  "payload_encoding": "string"})


class Rabbit(Broker):
    """One broker; it may be killed and started again on the same files. With `tls` (paths of ca,
    cert and key) it also listens to clients that show a certificate; with `disk` (powerrig) its
    data is there."""

    def __init__(self, tls=None, disk=None):
        user = needed()
        self.port, self.http, self.dist = free_port(), free_port(), free_port()
        self.epmd, self.tls_port = free_port(), free_port()
        self.address, self.login, self.ctl_options = "127.0.0.1", b"guest:guest", []
        self.prefix = disk.prefix if disk else []
        self.dir = temp_dir()
        keep(self.dir)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        text = (f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http}\n"
                "collect_statistics_interval = 1000\n"
                "disk_free_limit.absolute = 1MB\n")
        if tls:
            text += (f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
                     f"ssl_options.cacertfile = {tls[0]}\nssl_options.certfile = {tls[1]}\n"
                     f"ssl_options.keyfile = {tls[2]}\nssl_options.verify = verify_peer\n"
                     "ssl_options.fail_if_no_peer_cert = true\n")
        conf = write_file(os.path.join(self.dir, "rabbitmq.conf"), text)
        plugins = write_file(os.path.join(self.dir, "plugins"), "[rabbitmq_management].\n")
        self.env = {
            "RABBITMQ_NODENAME": f"ttg{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_MNESIA_BASE": os.path.join(disk.at if disk else self.dir, "data"),
            "RABBITMQ_LOG_BASE": os.path.join(self.dir, "log"),
            "RABBITMQ_CONFIG_FILE": conf, "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "ERL_EPMD_PORT": str(self.epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1", "HOME": self.dir,
        }
        os.chmod(self.dir, 0o755)
        for path in (self.dir, conf, plugins):
            os.chown(path, user.pw_uid, user.pw_gid)
        open_to_all(self.dir)
        # In the foreground, or it would outlive us.
        keep(spawn([*AS_RABBIT, "epmd", "-address", "127.0.0.1", "-port", self.epmd]))
        self.start()

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return super().answers()


# ---- a cluster

CLONE_NEWNET = 0x40000000


def inside(pid, function):
    """Calls it in a thread that has the network of that process; sockets made there stay there."""
    result = []

    def body():
        try:
            with open(f"/proc/{pid}/ns/net", "rb") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append((function(), None))
        except Exception as e:  # pylint: disable=broad-except
            result.append((None, e))
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = result[0]
    if error:
        raise error
    return value


class Node(Broker):
    """One node of a cluster."""

    def __init__(self, cluster, number, user):
        self.cluster, self.number = cluster, number
        self.address, self.http, self.login = f"10.77.0.{number}", 15672, b"ttg:ttg"
        self.ctl_options = ["--longnames"]
        self.dir = os.path.join(cluster.dir, f"r{number}")
        os.mkdir(self.dir)
        self.host = cluster.namespace()
        self.prefix = ["nsenter", f"--net=/proc/{self.host.pid}/ns/net"]
        self.plug(user)

    def plug(self, user):
        """A cable from this node's network to the switch."""
        switch, host = self.cluster.switch.pid, self.host.pid
        cable = f"p{self.number}"
        run(["nsenter", f"--net=/proc/{switch}/ns/net", "ip", "link", "add", cable, "type", "veth",
             "peer", "name", "eth0", "netns", host])
        self.cluster.ip(switch, "link", "set", cable, "master", "br0", "up")
        self.cluster.ip(host, "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.cluster.ip(host, "link", "set", "eth0", "up")
        members = "".join(f"cluster_formation.classic_config.nodes.{n} = r{n}@10.77.0.{n}\n"
                          for n in (1, 2, 3))
        conf = write_file(os.path.join(self.dir, "rabbitmq.conf"),
                          "collect_statistics_interval = 1000\ndisk_free_limit.absolute = 1MB\n"
                          "loopback_users = none\ndefault_user = ttg\ndefault_pass = ttg\n"
                          "cluster_formation.peer_discovery_backend = classic_config\n"
                          "cluster_partition_handling = pause_minority\n"
                          "cluster_keepalive_interval = 2000\n" + members)
        plugins = write_file(os.path.join(self.dir, "plugins"), "[rabbitmq_management].\n")
        self.env = {
            "RABBITMQ_NODENAME": f"r{self.number}@{self.address}", "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_MNESIA_BASE": os.path.join(self.dir, "data"),
            "RABBITMQ_LOG_BASE": os.path.join(self.dir, "log"),
            "RABBITMQ_CONFIG_FILE": conf, "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel net_ticktime 4 "
                                                   "-kernel net_setuptime 2 "
                                                   "-kernel prevent_overlapping_partitions false",
            "HOME": self.cluster.dir,
        }
        for path in (self.dir, conf, plugins):
            os.chown(path, user.pw_uid, user.pw_gid)
        keep(spawn([*self.prefix, *AS_RABBIT, "epmd"]))

    def api(self, method, path, body=None):
        return inside(self.cluster.switch.pid, lambda: self.request(method, path, body))

    def members(self):
        """How many running nodes it sees; 0 while it does not answer."""
        try:
            return sum(bool(n.get("running")) for n in self.api("GET", "nodes"))
        except OSError:
            return 0

    def log(self):
        """The lines of its log."""
        name = self.env["RABBITMQ_NODENAME"] + ".log"
        with open(os.path.join(self.dir, "log", name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def cut(self):
        """Pulls its cable."""
        self.cluster.ip(self.cluster.switch.pid, "link", "set", f"p{self.number}", "down")

    def mend(self):
        """Puts its cable back, until all is well. Now and then this RabbitMQ (3.10 on Erlang 25) gets
        stuck when it comes back; then it is restarted, as one would do by hand."""
        self.cluster.ip(self.cluster.switch.pid, "link", "set", f"p{self.number}", "up")
        try:
            wait_until(self.cluster.is_whole, 60, "the node is back")
        except AssertionError:
            print(f"# r{self.number} did not come back by itself: restarted", flush=True)
            self.kill()
            self.start(wait=False)
        self.cluster.wait_whole()


class Cluster:
    """Three nodes, a switch, and a place for clients beside it."""

    def __init__(self):
        user = needed()
        if os.getuid() or not shutil.which("ip") or not shutil.which("nsenter"):
            skip("networks of our own take root, ip and nsenter")
        self.dir = temp_dir()
        keep(self.dir)
        os.chmod(self.dir, 0o755)
        os.chown(self.dir, user.pw_uid, user.pw_gid)
        open_to_all(self.dir)
        cookie = write_file(os.path.join(self.dir, ".erlang.cookie"), "ttg\n")
        os.chmod(cookie, 0o400)
        os.chown(cookie, user.pw_uid, user.pw_gid)
        self.switch = self.namespace()
        self.ip(self.switch.pid, "link", "add", "br0", "type", "bridge")
        self.ip(self.switch.pid, "addr", "add", "10.77.0.254/24", "dev", "br0")
        self.ip(self.switch.pid, "link", "set", "br0", "up")
        self.nodes = [Node(self, n, user) for n in (1, 2, 3)]
        self.prefix = ["nsenter", f"--net=/proc/{self.switch.pid}/ns/net"]
        self.url = "amqp://ttg:ttg@" + ",".join(n.address for n in self.nodes) + "/"
        for node in self.nodes:
            node.start(wait=False)
        self.wait_whole()

    def namespace(self):
        """A process that does nothing, in a network of its own."""
        process = spawn(["unshare", "--net", "sleep", "infinity"])
        keep(process)
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") !=
                   os.readlink("/proc/self/ns/net") or process.code() is not None,
                   what="a network namespace")
        if process.code() is not None:
            skip("no network namespaces here")
        self.ip(process.pid, "link", "set", "lo", "up")
        return process

    def ip(self, pid, *words):
        run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words])

    def wait_whole(self):
        """Three nodes are one, and so are the parts of each queue."""
        try:
            wait_until(self.is_whole, 120, "three nodes are one")
            wait_until(self.in_sync, 60, "the queues' replicas are back")
        except AssertionError:
            self.tell()
            raise

    def tell(self):
        """What is wrong, and where the brokers' whole logs are kept."""
        kept = os.path.join(os.path.dirname(TTG), "broker-logs")
        shutil.rmtree(kept, ignore_errors=True)
        for node in self.nodes:
            shutil.copytree(os.path.join(node.dir, "log"), os.path.join(kept, f"r{node.number}"))
            print(f"# r{node.number} sees {node.members()} nodes; the end of its log:")
            for line in node.log()[-20:]:
                print("#  ", line[:300])
            try:
                for q in node.queues().values():
                    if q.get("type") == "quorum" and set(q["online"]) != set(q["members"]):
                        print(f"# r{node.number}: {q['name']}: leader {q.get('leader')}, online "
                              f"{q['online']} of {q['members']}, state {q.get('state')}")
            except (OSError, KeyError) as e:
                print(f"# r{node.number}: queues: {e!r}")
        print(f"# their logs: {kept}", flush=True)

    def is_whole(self):
        return all(n.members() == 3 for n in self.nodes)

    def in_sync(self):
        try:
            return all(len(q["online"]) == len(q["members"]) and q.get("leader")
                       for q in self.nodes[0].queues().values() if q.get("type") == "quorum")
        except (OSError, KeyError):
            return False

    def leader(self, queue):
        """The node that leads a quorum queue."""
        for node in self.nodes:
            try:
                name = node.queues()[queue].get("leader")
            except (OSError, KeyError):
                continue
            for other in self.nodes:
                if other.env["RABBITMQ_NODENAME"] == name:
                    return other
        return None

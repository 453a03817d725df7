# SPDX-License-Identifier: Apache-2.0
"""rabbitrig - a real RabbitMQ broker of our own, as a plain process with its own ports and files."""
import base64
import json
import os
import pwd
import shutil
import socket
import urllib.error
import urllib.request

from harness import DEADLINE_S, free_port, keep, run, skip, spawn, temp_dir, wait_until, write_file

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class Rabbit:
    """One broker; it may be killed and started again on the same files."""

    def __init__(self):
        if not os.path.exists(SERVER) or os.getuid() != 0 or not shutil.which("setpriv"):
            skip("rabbitmq-server is not installed, or this is not root")
        try:
            user = pwd.getpwnam("rabbitmq")
        except KeyError:
            skip("there is no user rabbitmq")
        self.port, self.http, self.dist = free_port(), free_port(), free_port()
        self.epmd = free_port()
        self.dir = temp_dir()
        keep(self.dir)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        conf = write_file(os.path.join(self.dir, "rabbitmq.conf"),
                          f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
                          f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http}\n"
                          "collect_statistics_interval = 1000\n"
                          "disk_free_limit.absolute = 1MB\n")
        plugins = write_file(os.path.join(self.dir, "plugins"), "[rabbitmq_management].\n")
        self.env = {
            "RABBITMQ_NODENAME": f"ttg{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_MNESIA_BASE": os.path.join(self.dir, "data"),
            "RABBITMQ_LOG_BASE": os.path.join(self.dir, "log"),
            "RABBITMQ_CONFIG_FILE": conf, "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "ERL_EPMD_PORT": str(self.epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1", "HOME": self.dir,
        }
        os.chmod(self.dir, 0o755)
        for path in (self.dir, conf, plugins):
            os.chown(path, user.pw_uid, user.pw_gid)
        parent = os.path.dirname(self.dir)
        while parent != "/":
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
            parent = os.path.dirname(parent)
        # In the foreground, or it would outlive us.
        keep(spawn(["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups", "epmd",
                    "-address", "127.0.0.1", "-port", self.epmd]))
        self.start()

    def start(self):
        self.process = spawn(["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups",
                              SERVER], env=self.env)
        keep(self.process)
        wait_until(self.answers, 60, "the broker answers")

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return self.api("GET", "overview") is not None
        except OSError:
            return False

    def kill(self):
        """SIGKILL to the broker and what it has started."""
        self.process.close()

    def ctl(self, *words):
        run(["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups",
             "/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.env["RABBITMQ_NODENAME"], *words],
            env=self.env, cwd=self.dir)

    def api(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}/api/{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                     "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def queues(self):
        return {q["name"]: q for q in self.api("GET", "queues/%2F")}

    def get(self, queue, count=1000):
        """Messages of a queue, which stay there."""
        found = self.api("POST", f"queues/%2F/{queue}/get",
                         {"count": count, "ackmode": "ack_requeue_true", "encoding": "auto"})
        return [(json.loads(m["payload"]), m["properties"].get("headers", {})) for m in found]

    def publish(self, queue, payload):
        self.api("POST", "exchanges/%2F/amq.default/publish",
                 {"properties": {"delivery_mode": 2}, "routing_key": queue,
                  "payload": json.dumps(payload), "payload_encoding": "string"})

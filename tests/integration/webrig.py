# SPDX-License-Identifier: Apache-2.0
"""webrig - a node with its dashboard, for the tests that ask it by HTTP and those with a browser."""
import http.client

from harness import temp_dir, write_file
from noderig import Node

TOKEN = "correct-horse-battery"


def token_file():
    return write_file(temp_dir() + "/token", TOKEN + "\n", 0o600)


class Web(Node):
    """A node with its dashboard."""

    def ready(self):
        super().ready()
        self.http = self.http_port()
        self.url = f"http://127.0.0.1:{self.http}/"
        self.queue = f"ttg+unix:{self.unix}"

    def http_port(self):
        return int(self.process.wait_for(r"http\.listening address=\S+:(\d+)").group(1))


def ask(port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    if answer.getheader("Content-Type", "").startswith("text/event-stream"):
        text = answer.fp.readline() + answer.fp.readline()
    else:
        text = answer.read()
    connection.close()
    return answer.status, text.decode(errors="replace"), answer.headers


POST = {"Content-Type": "application/json", "X-TTG": "1", "Authorization": f"Bearer {TOKEN}"}

# SPDX-License-Identifier: Apache-2.0
"""noderig - a node for a test: started with the options given, addressed over loopback."""
import re
import socket
import ssl
import sys

from harness import TTG, spawn, temp_dir, wait_until

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's redis, whichever python runs us


class Node:
    """A running `ttg node`. `dir` None: a new one; the port is any free one."""

    def __init__(self, *options, data=None, env=None, preexec=None, listen="127.0.0.1:0", wait=True):
        self.data = data or temp_dir() + "/data"
        self.unix = temp_dir() + "/s"
        command = [TTG, "node", "--data", self.data, "--unix", self.unix]
        if listen:
            command += ["--listen", listen]
        self.process = spawn(command + list(options), env=env, preexec=preexec)
        if wait:
            self.ready()

    def ready(self):
        self.process.wait_for(r"^ready$")
        found = re.search(r"^listening on 127\.0\.0\.1:(\d+)$", self.process.out(), re.M)
        self.port = int(found.group(1)) if found else None

    def redis(self, **options):
        """A client of python3-redis, over the Unix socket."""
        import redis
        return redis.Redis(unix_socket_path=self.unix, decode_responses=True, **options)

    def raw(self, unix=True, timeout=30):
        return Raw(self.unix if unix else self.port, timeout)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        import signal
        self.process.kill(signal.SIGTERM)
        code = self.process.wait()
        assert code == 0, f"exit code {code}"

    def again(self, *options, **more):
        """A new process on the same directory."""
        return Node(*options, data=self.data, **more)

    def info(self, name):
        answer = self.raw()("INFO", "everything").decode()
        found = re.search(rf"^{name}:(.*?)\r?$", answer, re.M)
        assert found, f"no {name} in INFO"
        return found.group(1)

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


class Closed(Exception):
    pass


class Error(Exception):
    pass


class Raw:
    """A connection that says exactly what it is told, and reads replies of either protocol."""

    def __init__(self, where, timeout=30, context=None):
        family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        address = ("127.0.0.1", where) if isinstance(where, int) else where
        wait_until(lambda: self._connect(address), what="room in the backlog")
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.rest = b""

    def _connect(self, address):
        try:
            self.socket.connect(address)
            return True
        except BlockingIOError:  # a Unix socket says so when its backlog is full
            return False

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    @staticmethod
    def encode(*words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)

    def command(self, *words):
        return self.send(self.encode(*words))

    def __call__(self, *words):
        return self.command(*words).read()

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            raise Closed()
        self.rest += data

    def line(self):
        while b"\r\n" not in self.rest:
            self._more()
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def read(self):
        line = self.line()
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            raise Error(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"_":
            return None
        if kind == b"#":
            return text == b"t"
        if kind == b",":
            return float(text)
        if kind in b"$=":
            if text == b"-1":
                return None
            length = int(text) + 2
            while len(self.rest) < length:
                self._more()
            data, self.rest = self.rest[:length - 2], self.rest[length:]
            return data
        if kind in b"*~>":
            return None if text == b"-1" else [self.read() for _ in range(int(text))]
        if kind == b"%":
            return {self.read(): self.read() for _ in range(int(text))}
        raise AssertionError(f"not RESP: {line!r}")

    def closed(self):
        """Whether the peer closes, whatever it says before."""
        try:
            while True:
                self._more()
        except Closed:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()


def error_of(call, *words):
    """The text of the error that a command is answered with."""
    try:
        answer = call(*words)
    except Error as error:
        return str(error)
    raise AssertionError(f"no error for {words!r} but {answer!r}")


def wait_blocked(node, count):
    wait_until(lambda: int(node.info("blocked_clients")) == count, what=f"{count} blocked clients")

# SPDX-License-Identifier: Apache-2.0
"""faultrig - a network that cuts, freezes and delays, and a disk that fills up."""
import errno
import os
import selectors
import socket
import subprocess
import threading
import time

from harness import skip, temp_dir


class Proxy:
    """Forwards TCP connections to a port of 127.0.0.1, and can cut, freeze and delay them.

    One thread with a selector. `links` are pairs of sockets; what was read from one waits, with
    the time at which it is due, until it is written to the other."""

    class Side:
        def __init__(self, sock):
            self.sock, self.peer, self.pending, self.ended = sock, None, [], False
            self.frozen_until = 0.0

    def __init__(self, target_port):
        self.target = target_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.links, self.delay_until, self.delay_s, self.refuse_until = [], 0.0, 0.0, 0.0
        self.stopped, self.last_word = False, None
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def close(self):
        self.stopped = True
        self.thread.join()

    def cut(self, rng, refuse_s=0.0):
        """Ends some connections, each by FIN or by RST; refuses new ones for a while."""
        with self.lock:
            chosen = [link for link in self.links if rng.random() < 0.7] or list(self.links)
            self.refuse_until = time.monotonic() + refuse_s
            for link in chosen:
                self._drop(link, reset=rng.random() < 0.5)
        return len(chosen)

    def freeze(self, rng, seconds):
        """Some connections transport nothing for a while, in one direction or both."""
        with self.lock:
            until = time.monotonic() + seconds
            way = rng.choice(("to", "from", "both"))
            for near, far in self.links:
                if rng.random() < 0.7:
                    if way != "from":
                        near.frozen_until = until
                    if way != "to":
                        far.frozen_until = until
        return way

    def freeze_first(self, seconds):
        """Of the first connection the answers: with it `ttg run` asks for the job's status."""
        with self.lock:
            self.links[0][1].frozen_until = time.monotonic() + seconds

    def no_answer_after(self, word):
        """Who says that word hears nothing any more."""
        self.last_word = word

    def delay(self, by_s, seconds):
        with self.lock:
            self.delay_s, self.delay_until = by_s, time.monotonic() + seconds

    def _passing(self, _side, data):
        """What of the data read from a side goes on; for proxies that look at it."""
        return data

    def _drop(self, link, reset=False):
        if link in self.links:
            self.links.remove(link)
        for side in link:
            try:
                if reset:
                    side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                side.sock.close()
            except OSError:
                pass

    def _accept(self):
        try:
            near = self.listener.accept()[0]
        except OSError:
            return
        if time.monotonic() < self.refuse_until:
            near.close()
            return
        far = socket.socket()
        try:
            far.connect(("127.0.0.1", self.target))
        except OSError:
            near.close()
            far.close()
            return
        link = (self.Side(near), self.Side(far))
        for side, peer in (link, link[::-1]):
            side.peer = peer
            side.sock.setblocking(False)
            side.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(link)

    def _pump(self, side, readable, now):
        """False when the connection is over."""
        if readable and not side.ended and len(side.pending) < 64:
            try:
                data = side.sock.recv(1 << 16)
            except BlockingIOError:
                data = None
            if data == b"":
                side.ended = True
            elif data:
                late = self.delay_s if now < self.delay_until else 0.0
                passing = self._passing(side, data)
                if passing:
                    side.pending.append((now + late, passing))
                if self.last_word and self.last_word in data:
                    side.peer.frozen_until = float("inf")
        while side.pending and side.pending[0][0] <= now and side.frozen_until <= now:
            due, data = side.pending[0]
            try:
                sent = side.peer.sock.send(data)
            except BlockingIOError:
                break
            side.pending[0] = (due, data[sent:])
            if sent == len(data):
                side.pending.pop(0)
        return not (side.ended and not side.pending)

    def _loop(self):
        while not self.stopped:
            selector = selectors.DefaultSelector()
            now = time.monotonic()
            with self.lock:
                selector.register(self.listener, selectors.EVENT_READ, None)
                waiting = False
                for link in self.links:
                    for side in link:
                        waiting = waiting or bool(side.pending)
                        if not side.ended and len(side.pending) < 64 and side.frozen_until <= now:
                            selector.register(side.sock, selectors.EVENT_READ, side)
            ready = {key.data for key, _ in selector.select(0.001 if waiting else 0.02)}
            selector.close()
            now = time.monotonic()
            with self.lock:
                if None in ready:
                    self._accept()
                for link in list(self.links):
                    try:
                        if not all([self._pump(side, side in ready, now) for side in link]):
                            self._drop(link)
                    except OSError:
                        self._drop(link)
        with self.lock:
            for link in list(self.links):
                self._drop(link)
            self.listener.close()


class SmallDisk:
    """A file system of its own that a test may fill up. Use with `with`."""

    def __init__(self, mib):
        self.dir, self.mib = temp_dir(), mib
        self.ballast = self.dir + "/ballast"

    def __enter__(self):
        words = ["mount", "-t", "tmpfs", "-o", f"size={self.mib}m", "ttg-test", self.dir]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            skip(f"no tmpfs may be mounted here: {done.stdout.decode().strip()}")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.dir], check=True)

    def fill(self):
        """Takes all the room that is left, also while somebody else takes some."""
        size, step = 0, 1 << 26
        with open(self.ballast, "wb") as file:
            while step >= 1 << 12:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    step //= 2

    def free(self):
        os.unlink(self.ballast)

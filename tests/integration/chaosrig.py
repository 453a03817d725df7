# SPDX-License-Identifier: Apache-2.0
"""chaosrig - a job under fire: what is killed, stopped, cut and filled up, and what must hold then.

A `Rig` runs one job of `ttg run` on one kind of queue (`Embedded`, `NodeQueue`, `RedisQueue`).
Faults are chosen by a seed; the moment at which one hits a process is up to the machine. `check`
compares all that is left with a run that nobody disturbed."""
import errno
import json
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

from harness import DEADLINE_S, TTG, alive, free_port, run, skip, spawn, temp_dir, wait_until
from noderig import Closed, Node, Raw
from rabbitrig import Cluster, Rabbit
from redisrig import Job, Redis

JOB = "chaos"
PLUGIN = os.path.join(os.path.dirname(os.path.realpath(TTG)), "tests/unit/plugins/chaos.so")
FIRST = -500  # of the parameters
MARK = "CHAOS_MARK"


# ---- processes that carry our mark

def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


class Marked:
    """All processes that were started below one `ttg run`, whoever is their parent by now."""

    def __init__(self):
        self.mark = f"chaos-{uuid.uuid4()}"
        self.needle = f"{MARK}={self.mark}\0".encode()

    def find(self, role=None):
        """Process ids; `role` is the command (run, worker, node)."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or self.needle not in _read(f"/proc/{name}/environ") + b"\0":
                continue
            words = _read(f"/proc/{name}/cmdline").split(b"\0")
            if role is None or (len(words) > 1 and words[1] == role.encode()):
                found.append(int(name))
        return sorted(pid for pid in found if alive(pid))


def send(pid, number):
    """A signal to one of our own processes; whether it was still there."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


# ---- a network that misbehaves

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
        self.stopped = False
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

    def delay(self, by_s, seconds):
        with self.lock:
            self.delay_s, self.delay_until = by_s, time.monotonic() + seconds

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
                side.pending.append((now + late, data))
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


# ---- the kinds of queue

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

    def kill_server(self):
        RabbitClusterQueue.kills += 1
        node = self.broker.leader(f"ttg.{JOB}.tasks") if self.kills % 2 else None
        node = node or self.broker.nodes[self.kills % 3]
        node.kill()
        node.start(wait=False)
        self.broker.wait_whole()
        return True


# ---- the job

def projection(path):
    """What must not depend on who computed when: one line a chunk, in order."""
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            assert line.endswith("\n"), f"a torn line in {path}: {line!r}"
            r = json.loads(line)
            assert r["status"] == "complete", r
            lines.append((int(r["chunk_id"]), json.dumps(
                {name: r.get(name) for name in ("chunk_id", "start_param", "end_param",
                                                "params_processed", "result_summary", "output")})))
    lines.sort()
    return [text for _, text in lines]


def expected(chunks, per_chunk):
    """The projection by arithmetic, to judge the undisturbed run as well."""
    def line(c):
        first = FIRST + c * per_chunk
        last = first + per_chunk - 1
        return json.dumps({"chunk_id": f"{c:05d}", "start_param": first, "end_param": last,
                           "params_processed": per_chunk,
                           "result_summary": {"sum": (first + last) * per_chunk // 2,
                                              "count": per_chunk}, "output": None})
    return [line(c) for c in range(chunks)]


_digests = {}


def undisturbed_digest(chunks, per_chunk):
    """The digest that a quiet run ends with."""
    key = (chunks, per_chunk)
    if key not in _digests:
        where = temp_dir()
        run([TTG, "run", "--queue", f"embedded:{where}/j", "--job", JOB, "--range",
             f"{FIRST}..{FIRST + chunks * per_chunk - 1}", "--chunk", per_chunk, "--simulate-ms", 0,
             "--output", where + "/out", "--workers", 1], deadline_s=120)
        assert projection(where + "/out") == expected(chunks, per_chunk)
        node = Node(data=where + "/j/node", listen=None)
        _digests[key] = node_status(node.raw())["digest"]
        node.stop()
    return _digests[key]


class Rig:
    """One job of `chunks` chunks, its `ttg run`, and the faults it has seen."""

    def __init__(self, queue, seed, chunks=10000, per_chunk=3, ms=4, workers=3, slots=4,
                 output=None, through_proxy=False, options=(), **more):
        if not os.path.exists(PLUGIN):
            skip(f"{PLUGIN} is not built: make check builds it")
        self.rng = random.Random(seed)
        self.seed, self.chunks, self.per_chunk = seed, chunks, per_chunk
        self.digest = undisturbed_digest(chunks, per_chunk)
        self.marked = Marked()
        self.env = {MARK: self.marked.mark}
        self.queue = queue(self.marked, through_proxy, **more)
        self.dir = temp_dir()
        self.output = output or self.dir + "/out"
        self.starts = self.dir + "/starts"
        self.prefix = getattr(self.queue, "prefix", [])
        self.options = ["--workers", workers, "--slots", slots, "--plugin", PLUGIN,
                        "--plugin-arg", f"{ms}:{self.starts}",
                        *getattr(self.queue, "options", []), *options]
        self.faults = []  # (when, kind, pid)
        self.stopped = {}  # pid: when it goes on
        self.process = None
        self.start()

    def command(self):
        last = FIRST + self.chunks * self.per_chunk - 1
        return [*self.prefix, TTG, "run", "--queue", self.queue.url, "--job", JOB, "--range", f"{FIRST}..{last}",
                "--chunk", self.per_chunk, "--max-attempts", 100000, "--output", self.output,
                "--resume", "--json", "--drain", 2, *self.options]

    def start(self):
        self.process = spawn(self.command(), env=self.env)

    def lines(self):
        try:
            with open(self.output, "rb") as file:
                return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        except FileNotFoundError:
            return 0

    def wait_lines(self, count):
        wait_until(lambda: self.lines() >= count, what=f"{count} lines of output")

    def ended(self):
        """Whether the run has ended by itself; then it was successful."""
        code = self.process.code()
        if code is None:
            return False
        assert code == 0, f"seed {self.seed}: ttg run ended with {code}\n{self.process.err()}"
        return True

    # -- faults; each says whether it hit

    def fault(self, kind):
        self.faults.append((time.monotonic(), kind, None))
        if not getattr(self, "_" + kind)():
            self.faults.pop()
            return False
        return True

    def _worker(self):
        pids = self.marked.find("worker")
        if not pids:
            return False
        pid = self.rng.choice(pids)
        self.faults[-1] = (time.monotonic(), "worker", pid)
        return send(pid, signal.SIGKILL)

    def _collector(self):
        """The run, which collects; a new one resumes at once, while the old workers still go."""
        if self.process.code() is not None:
            return False
        self.process.kill()
        self.process.wait()
        self.start()
        return True

    def _submitter(self):
        """The run, while it starts and creates the job or joins in."""
        if not self._collector():
            return False
        time.sleep(self.rng.uniform(0, 0.03))  # the moment of the kill, not a wait
        return self._collector()

    def _server(self):
        return self.queue.kill_server()

    def _everything(self):
        """Run, workers and an embedded node at once, as by a power button that spares the disk."""
        if self.process.code() is not None:
            return False
        self.process.kill()
        for pid in self.marked.find():
            send(pid, signal.SIGKILL)
        self.process.wait()
        self.start()
        return True

    def _stop(self, low_s, high_s):
        pids = [p for p in self.marked.find("worker") if p not in self.stopped]
        if not pids:
            return False
        pid = self.rng.choice(pids)
        self.stopped[pid] = time.monotonic() + self.rng.uniform(low_s, high_s)
        self.faults[-1] = (time.monotonic(), self.faults[-1][1], pid)
        return send(pid, signal.SIGSTOP)

    def _pause(self):
        return self._stop(0.05, 1)

    def _hang(self):
        """Beyond 2.5 s a worker is lost; this one wakes up late."""
        return self._stop(3.5, 5)

    def _cut(self):
        return self.queue.proxy.cut(self.rng, self.rng.choice((0, 0, 0.3, 1.0))) > 0

    def _freeze(self):
        return self.queue.proxy.freeze(self.rng, self.rng.choice((0.2, 1.0, 2.0, 4.0))) is not None

    def _delay(self):
        self.queue.proxy.delay(self.rng.uniform(0.005, 0.1), self.rng.uniform(0.1, 1.0))
        return True

    # -- the course of things

    def wake(self, all_of_them=False):
        now = time.monotonic()
        for pid, when in list(self.stopped.items()):
            if all_of_them or when <= now:
                send(pid, signal.SIGCONT)
                del self.stopped[pid]

    def storm(self, wanted, pause_s=(0.02, 0.5), deadline_s=600):
        """Faults of the kinds in `wanted` (kind: count), at random, until all have come or the job
        has ended. Returns how many of each there were."""
        counts, end = dict.fromkeys(wanted, 0), time.monotonic() + deadline_s
        while not self.ended():
            left = [kind for kind in wanted for _ in range(wanted[kind] - counts[kind])]
            if not left:
                break
            assert time.monotonic() < end, f"seed {self.seed}: faults took too long: {counts}"
            pause = time.monotonic() + self.rng.uniform(*pause_s)
            while time.monotonic() < pause and self.process.code() is None:
                self.wake()
                time.sleep(0.005)
            kind = self.rng.choice(left)
            counts[kind] += self.fault(kind)
        return counts

    def finish(self, deadline_s=120):
        """No more faults: the job has to end, and what is left has to be right."""
        def over():
            self.wake()
            return self.ended()
        wait_until(over, deadline_s, f"seed {self.seed}: the end of the job "
                   f"({self.lines()} of {self.chunks} lines)")
        self.wake(all_of_them=True)
        self.check()

    def check(self):
        seed = f"seed {self.seed}: "
        got, want = projection(self.output), expected(self.chunks, self.per_chunk)
        if got != want:
            ids = [int(json.loads(line)["chunk_id"]) for line in got]
            missing = sorted(set(range(self.chunks)) - set(ids))
            doubled = sorted({i for i, n in zip(ids, ids[1:]) if i == n})
            raise AssertionError(f"{seed}{len(missing)} chunks missing {missing[:10]}, "
                                 f"{len(doubled)} doubled {doubled[:10]}, or another result")
        assert not os.path.exists(self.output + ".cursor"), seed + "the cursor stays"
        said = json.loads(self.process.out() or self.process.err().splitlines()[-1])
        assert said["verified"] and said["completed"] == self.chunks, seed + str(said)
        wait_until(lambda: not self.marked.find(), DEADLINE_S,
                   f"{seed}processes are left over: {self.left_over()}")
        status = self.queue.after()
        assert status["state"] == "finished", seed + str(status)
        assert status["completed"] == self.chunks and status["leased"] == 0, seed + str(status)
        digest = status.get("digest", self.digest)  # RabbitMQ: `ttg verify` compares it
        assert digest == self.digest, seed + "another digest than the undisturbed run's"
        self.verify()
        self.queue.close()

    def verify(self):
        """The independent judge: with the ledger, and of the file alone."""
        run([*self.prefix, TTG, "verify", "--queue", self.queue.url, "--output", self.output, JOB],
            env=self.env)
        run([TTG, "verify", "--chunks", self.chunks, "--output", self.output], env=self.env)

    def left_over(self):
        return [(pid, _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ")[:200])
                for pid in self.marked.find()]

    # -- figures

    def recoveries(self, kind):
        """Seconds from a fault of a worker to the start elsewhere, for each chunk that it was in
        the middle of; without those that nobody had to start again."""
        starts, of_pid = {}, {}
        with open(self.starts, encoding="ascii") as file:
            for line in file:
                what, at, chunk, _, pid, _ = line.split()
                at, chunk, pid = int(at) / 1e9, int(chunk), int(pid)
                if what == "S":
                    starts.setdefault(chunk, []).append((at, pid))
                of_pid.setdefault(pid, []).append((at, what, chunk))
        found = []
        for when, its_kind, pid in self.faults:
            going = set()
            for at, what, chunk in of_pid.get(pid, ()) if its_kind == kind else ():
                if at < when:
                    (going.add if what == "S" else going.discard)(chunk)
            for chunk in going:
                later = [at for at, who in starts[chunk] if at > when and who != pid]
                if later:
                    found.append(min(later) - when)
        return found


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def comment(text):
    print("#", text, flush=True)
    sys.stdout.flush()


# ---- jobs in a storm

SOAK = bool(os.environ.get("SOAK"))
SEED = int(os.environ.get("SEED") or 1)
FAULTS = int(os.environ.get("FAULTS") or (50 if SOAK else 3))  # of each kind
CHUNKS = int(os.environ.get("CHUNKS") or (20000 if SOAK else 2000))
CHUNK_MS = 40 if SOAK else 8
KINDS = ("worker", "submitter", "collector", "server", "everything")
NETWORK = ("cut", "freeze", "delay", "pause", "hang", "worker")


def storm(queue, kinds, **options):
    """Jobs, one after the other, until each kind of fault has come often enough."""
    total, found, jobs = dict.fromkeys(kinds, 0), {"worker": [], "hang": []}, 0
    while any(n < FAULTS for n in total.values()):
        rig = Rig(queue, SEED + jobs, chunks=CHUNKS, ms=CHUNK_MS, **options)
        jobs += 1
        counts = rig.storm({k: FAULTS - n for k, n in total.items() if n < FAULTS})
        rig.finish()
        for kind, values in found.items():
            values += rig.recoveries(kind)
        for kind, n in counts.items():
            total[kind] += n
    comment(f"{queue.__name__}, seed {SEED}: {jobs} jobs of {CHUNKS} chunks; " +
            ", ".join(f"{n} x {kind}" for kind, n in total.items()))
    for kind, values in found.items():
        if values:
            comment(f"from {kind} to its chunks' start elsewhere: "
                    f"p50 {percentile(values, .5) * 1e3:.0f} ms, "
                    f"p99 {percentile(values, .99) * 1e3:.0f} ms ({len(values)} chunks)")

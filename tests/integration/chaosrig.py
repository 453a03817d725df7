# SPDX-License-Identifier: Apache-2.0
"""chaosrig - a job under fire: what is killed, stopped, cut and filled up, and what must hold then.

A `Rig` runs one job of `ttg run` on one kind of queue (chaosqueues). Faults are chosen by a seed; the
moment at which one hits a process is up to the machine. `check` compares all that is left with a run
that nobody disturbed."""
import json
import os
import random
import signal
import sys
import threading
import time
import uuid

from chaosqueues import JOB, node_status, send
from harness import DEADLINE_S, TTG, alive, run, skip, spawn, temp_dir, wait_until, write_file
from noderig import Node

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


class Growth(threading.Thread):
    """Notes when a file has grown, to tell afterwards how long it did not."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.times, self.over = path, [time.monotonic()], threading.Event()
        self.start()

    def run(self):
        size = 0
        while not self.over.wait(0.01):
            before = size
            try:
                size = os.stat(self.path).st_size
            except FileNotFoundError:
                size = 0
            if size > before:
                self.times.append(time.monotonic())

    def stop(self):
        self.over.set()
        self.join()

    def longest_stop(self, begin, end):
        """Seconds of the longest time without growth that touches that span."""
        gaps = [b - a for a, b in zip(self.times, self.times[1:]) if b > begin and a < end]
        return max(gaps, default=0.0)


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
                 output=None, through_proxy=False, options=(), limit=None, **more):
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
        self.growth = Growth(self.output)
        self.limit(limit)
        self.start()

    def command(self):
        last = FIRST + self.chunks * self.per_chunk - 1
        return [*self.prefix, TTG, "run", "--queue", self.queue.url, "--job", JOB, "--range", f"{FIRST}..{last}",
                "--chunk", self.per_chunk, "--max-attempts", 100000, "--output", self.output,
                "--resume", "--json", "--drain", 2, *self.options]

    def start(self):
        self.process = spawn(self.command(), env=self.env)

    def limit(self, chunks):
        """No chunk from this one on is computed; None: all are. So a test that is slow itself does not find
        the job ended."""
        if chunks is None:
            if os.path.exists(self.starts + ".limit"):
                os.unlink(self.starts + ".limit")
        else:
            os.rename(write_file(self.starts + ".new", str(chunks)), self.starts + ".limit")

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

    def _partition(self):
        """A node of the cluster is cut off from all, until work goes on without it."""
        mend = self.queue.cut_off()
        before = self.lines()
        # A job that is just being created: its queues take seconds each while a node is out of reach.
        wait_until(lambda: self.lines() > before or self.process.code() is not None, 120,
                   "work goes on without the node")
        mend()
        return True

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
        """No more faults and no limit: the job has to end, and what is left has to be right."""
        self.limit(None)
        def over():
            self.wake()
            return self.ended()
        wait_until(over, deadline_s, f"seed {self.seed}: the end of the job "
                   f"({self.lines()} of {self.chunks} lines)")
        self.wake(all_of_them=True)
        self.check()

    def check(self):
        self.growth.stop()
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


    def stops(self, kind):
        """Seconds for which no result came, for each fault of that kind."""
        whens = [when for when, _, _ in self.faults] + [time.monotonic()]
        return [self.growth.longest_stop(when, whens[i + 1])
                for i, (when, its_kind, _) in enumerate(self.faults) if its_kind == kind]


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


def storm(queue, kinds, few=None, **options):
    """Jobs, one after the other, until each kind of fault has come often enough; `few`: how often
    that is where nobody has said and it is no soak."""
    faults = FAULTS if few is None or SOAK or os.environ.get("FAULTS") else few
    total, found, jobs = dict.fromkeys(kinds, 0), {"worker": [], "hang": []}, 0
    stops = {kind: [] for kind in ("server", "partition") if kind in kinds}
    while any(n < faults for n in total.values()):
        rig = Rig(queue, SEED + jobs, chunks=CHUNKS, ms=CHUNK_MS, **options)
        jobs += 1
        counts = rig.storm({k: faults - n for k, n in total.items() if n < faults})
        rig.finish()
        for kind, values in found.items():
            values += rig.recoveries(kind)
        for kind, values in stops.items():
            values += rig.stops(kind)
        for kind, n in counts.items():
            total[kind] += n
    comment(f"{queue.__name__}, seed {SEED}: {jobs} jobs of {CHUNKS} chunks; " +
            ", ".join(f"{n} x {kind}" for kind, n in total.items()))
    for kind, values in found.items():
        if values:
            comment(f"from {kind} to its chunks' start elsewhere: "
                    f"p50 {percentile(values, .5) * 1e3:.0f} ms, "
                    f"p99 {percentile(values, .99) * 1e3:.0f} ms ({len(values)} chunks)")
    for kind, values in stops.items():
        if values:
            comment(f"{kind}: no result for p50 {percentile(values, .5):.2f} s, "
                    f"p99 {percentile(values, .99):.2f} s, at most {max(values):.2f} s")

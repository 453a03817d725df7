# SPDX-License-Identifier: Apache-2.0
"""redisrig - a real redis-server of our own, jobs on it, and the scripts called by hand."""
import functools
import os
import subprocess

import redis

from clockrig import Clock
from harness import ROOT, TTG, free_port, have, skip, spawn, temp_dir, wait_until


@functools.lru_cache(None)
def script(name):
    """A script as Redis gets it."""
    return subprocess.run([os.path.join(ROOT, "tools", "embed-lua"),
                           os.path.join(ROOT, "src", "queue", "redis"), name],
                          check=True, stdout=subprocess.PIPE).stdout


def pairs(words):
    """A flat list of keys and values as a dict; numbers become int."""
    def value(v):
        if isinstance(v, bytes):
            v = v.decode()
            return int(v) if v.lstrip("-").isdigit() and len(v) < 32 else v
        return v
    return {words[i].decode(): value(words[i + 1]) for i in range(0, len(words), 2)}


# Another server than the one in PATH: REDIS_SERVER=/path/of/redis-6.2/src/redis-server
SERVER = os.environ.get("REDIS_SERVER") or "redis-server"


class Redis:
    """redis-server with its own port and directory; it may be killed and started again. With a `clock`
    (clockrig) that is what it takes for the time."""

    def __init__(self, *options, sync="everysec", password=None, env=None, clock=None):
        if not have(SERVER):
            skip(f"{SERVER} is not installed")
        self.port, self.password, self.clock = free_port(), password, clock
        self.env = clock.env if clock else env
        self.dir = temp_dir()
        self.options = ["--appendonly", "yes", "--appendfsync", sync, "--save", "", *options]
        if password:
            self.options += ["--requirepass", password]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = spawn([SERVER, "--port", self.port, "--bind", "127.0.0.1",
                              "--dir", self.dir, *self.options], env=self.env)
        self.client = redis.Redis(port=self.port, socket_timeout=20, password=self.password)
        wait_until(self.answers, what="redis-server answers")

    def answers(self):
        try:
            return self.client.ping()
        except redis.exceptions.RedisError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def worker(self, number, *options, job="j", env=None):
        return spawn([TTG, "worker", "--queue", self.url, "--job", job, *options],
                     env={"WORKER_ID": number, **(env or {})})


class Job:
    """A job on a Redis, by the scripts; what the client adds to their words is added here."""

    def __init__(self, server, name="j"):
        self.server, self.name = server, name
        self.prefix = "ttg:" if name == "default" else "ttg:{%s}:" % name

    @property
    def r(self):
        return self.server.client

    def key(self, what):
        return self.prefix + what

    def __call__(self, verb, *words):
        return self.r.eval(script(verb), 1, self.key("job"), self.name, *words)

    def create(self, params, chunk=1, first=0, **options):
        chunks = -(-params // chunk)
        words = {"FIRST": first, "LAST": first + params - 1, "CHUNK": chunk, "WINDOW": 65536,
                 "MAXATTEMPTS": 5, "RETRYMIN": 100, "RETRYMAX": 5000, "RETRYJITTER": 25,
                 "STALE": 60000, "KERNEL": "", "INPUT": "", **options, "CHUNKS": chunks,
                 "LASTCOUNT": params - (chunks - 1) * chunk if chunks else 0, "PARAMS": params}
        answer = self("create", *[w for pair in words.items() for w in pair])
        self.first, self.chunk, self.params = first, chunk, params
        self.r.sadd("ttg:jobs", self.name)
        return pairs(answer)

    def join(self, worker, incarnation=1, slots=1, held=()):
        words = ["HELD", *held] if held else []
        answer = self("join", worker, incarnation, "SLOTS", slots, "INFLIGHT", 1024,
                      "VERSION", "test", *words)
        return {k.decode(): v for k, v in zip(answer[::2], answer[1::2])}

    def take(self, worker, incarnation=1, count=1):
        """[(chunk, epoch, attempt)]"""
        runs = [int(w) for w in self("take", worker, incarnation, "COUNT", count)[1:]]
        return [(runs[i] + k, runs[i + 2] + k, runs[i + 3])
                for i in range(0, len(runs), 4) for k in range(runs[i + 1])]

    def range(self, chunk):
        first = self.first + chunk * self.chunk
        return first, min(first + self.chunk, self.first + self.params) - 1

    def sum(self, chunk):
        first, last = self.range(chunk)
        return (first + last) * (last - first + 1) // 2

    def commit(self, worker, leases, incarnation=1, sums=None):
        """{chunk: verdict} of those that were not accepted."""
        words, total, parts = [], 0, ""
        for i, (chunk, epoch, *_) in enumerate(leases):
            value = sums[i] if sums else self.sum(chunk)
            total += value
            first, last = self.range(chunk)
            words += [chunk, epoch, "0.000005", "result_summary",
                      '{"sum":%d,"count":%d}' % (value, last - first + 1)]
            parts += f"1 2 {value};"
        answer = self("commit", worker, incarnation, total, len(leases), 2 * len(leases),
                      parts, *words)
        return {int(answer[i]): answer[i + 1].decode() for i in range(1, len(answer), 2)}

    def fail(self, worker, lease, reason="broken", final=False, incarnation=1):
        answer = self("fail", worker, incarnation, lease[0], lease[1],
                      "FINAL" if final else "RETRY", reason, "RANDOM", "0.5")
        return answer[0].decode(), answer[1]

    def now_ms(self):
        seconds, micros = self.r.time()
        return seconds * 1000 + micros // 1000

    def pass_by(self, ms):
        """So much time, on a timeless server."""
        self.server.clock.pass_by(ms)

    def status(self):
        s = pairs(self("status"))
        total = sum(s[k] for k in ("completed", "dead_letters", "dropped", "unfed", "fresh",
                                   "ready", "delayed", "leased"))
        assert total == s["chunks"], s
        return s

    def completed(self):
        return int(self.r.hget(self.key("job"), "completed") or 0)

    def state(self):
        """0 running, 1 paused, 2 finished, 3 canceled; -1: it is not there"""
        state = self.r.hget(self.key("job"), "state")
        return -1 if state is None else int(state)

    def finished(self, deadline_s=60):
        """Waits for the end of the job; the server may be away meanwhile."""
        def over():
            try:
                return self.state() >= 2
            except redis.exceptions.RedisError:
                return False
        wait_until(over, deadline_s, "the end of the job")

    def results(self):
        """The results in order, as dicts."""
        self("look")
        return [{k.decode(): v.decode(errors="replace") for k, v in fields.items()}
                for _, fields in self.r.xrange(self.key("results"))]

    def events(self, name=None):
        found = [pairs(e) for e in self("events", 0, "COUNT", 1024)]
        return [e for e in found if not name or e["event"] == name]

    def run(self, worker, incarnation=1, batch=64):
        """Works until nothing is left to take."""
        while True:
            leases = self.take(worker, incarnation, batch)
            if not leases:
                return
            assert self.commit(worker, leases, incarnation) == {}

    def check(self):
        """Finished, each chunk exactly once, the sum exact."""
        s = self.status()
        assert s["state"] == "finished" and s["completed"] == s["chunks"], s
        got = [int(r["chunk_id"]) for r in self.results()]
        assert sorted(got) == list(range(s["chunks"])), "a result is doubled or missing"
        want = (2 * self.first + self.params - 1) * self.params // 2
        assert int(s["sum"]) == want, (s["sum"], want)
        assert int(s["params"]) == self.params, s
        return s


def timeless():
    """A server whose clock stands, so that nothing depends on how long a test takes."""
    return Redis(clock=Clock().stand())


def a_job(params, **options):
    """A job on a timeless server of its own."""
    job = Job(timeless())
    job.create(params, **options)
    return job


def entries(job, what="tasks"):
    return [(i.decode(), {k.decode(): v.decode() for k, v in f.items()})
            for i, f in job.r.xrange(job.key(what))]


def pending(job):
    return job.r.xpending_range(job.key("tasks"), "ttg-workers", "-", "+", 1000)


def silence(job, *workers):
    """As if these had not been heard of for a while, others just now."""
    now = job.now_ms()
    job.r.hset(job.key("job"), mapping={"seen_ms": now, "grace_ms": 0})
    for worker in workers:
        job.r.zadd(job.key("alive"), {worker: now - 2500})


def error_of(call, *words, **more):
    try:
        answer = call(*words, **more)
    except redis.exceptions.ResponseError as error:
        return str(error)
    raise AssertionError(f"no error but {answer!r}")

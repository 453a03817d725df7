# SPDX-License-Identifier: Apache-2.0
"""RQ, as it comes (a fork a job) and in the fastest sane setting (no fork)."""
from .base import NAP_MS, SLOW, PythonSystem, harness, module_version, need_module
from .on_broker import OnRedis
from .place import Redis


class Rq(OnRedis, PythonSystem):
    name = "rq"
    title = "RQ, default"
    classes = {d: f"{s}; a fork a job" for d, s in
               (("fsync", "appendfsync always"), ("everysec", "appendfsync everysec"),
                ("none", "no append-only file"))}
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 300, "exec": 200, "nap": 300}
    worker_class = "Worker"

    @classmethod
    def version(cls):
        need_module("rq")
        return f"rq {module_version('rq')}, {Redis.version()}"

    def start(self):
        super().start()
        for i in range(self.workers):
            self.add_worker(slow=self.kind == "nap" and i == 0, wait=False)
        for worker in self.members:
            self.wait_worker(worker)

    def python_env(self, env=None):
        return super().python_env({"BENCH_REDIS_PORT": str(self.broker.port), **(env or {})})

    def add_worker(self, slow=False, wait=True):
        name = f"w{self.started()}"
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.python("rq_worker.py", self.worker_class, name,
                             env={"BENCH_NAP_S": str(nap_s), "BENCH_HANG": self.place.hang,
                                  "BENCH_STARTS": self.place.starts})
        worker.key = f"rq:worker:{name}"
        self.members.append(worker)
        if wait:
            self.wait_worker(worker)
        return worker

    def wait_worker(self, worker):
        harness.wait_until(lambda: self.broker.client.hget(worker.key, "state") == b"idle"
                           or worker.code() is not None, 30, "a worker of RQ")
        assert worker.code() is None, worker.err()[-3000:]

    def retries(self):
        return 0

    def submit_one(self):
        self.drive(*self.python_command("rq_driver.py", "submit", self.retries()),
                   env=self.python_env())

    def work(self, count):
        return self.drive(*self.python_command("rq_driver.py", self.kind, count),
                          env=self.python_env())


class RqFast(Rq):
    name = "rq-fast"
    title = "RQ, fastest"
    classes = {d: s.replace("a fork a job", "SimpleWorker, enqueue_many, retries")
               for d, s in Rq.classes.items()}
    sizes = {"noop": 1500, "exec": 600, "nap": 600}
    worker_class = "SimpleWorker"

    def retries(self):
        return 100


SYSTEMS = [Rq, RqFast]

# SPDX-License-Identifier: Apache-2.0
"""Celery on Redis and on RabbitMQ, as it comes and in the fastest sane setting."""
import json
import os

from .base import NAP_MS, PYTHON, SLOW, PythonSystem, harness, module_version, need_module
from .on_broker import OnRabbit, OnRedis
from .place import Rabbit, Redis

# Of the Redis transport, where a task that a dead worker held comes back after this time, and also
# when its worker still lives and needs longer. The default is an hour; whoever lives looks every
# 100 s (kombu's restore_visible at each tenth tick of 10 s).
VISIBILITY_S = 10


class Celery(PythonSystem):
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 2000, "exec": 600}
    fast = False
    broker_kind = Redis

    @classmethod
    def version(cls):
        need_module("celery")
        return f"celery {module_version('celery')}, {cls.broker_kind.version()}"

    def python_env(self, env=None):
        return super().python_env({"BENCH_CELERY": json.dumps(self.config()), **(env or {})})

    def config(self):
        config = {"task_serializer": "json", "result_serializer": "json",
                  "broker_connection_retry": True, **self.broker_config()}
        if self.fast:
            config.update(task_acks_late=True, task_reject_on_worker_lost=True,
                          worker_prefetch_multiplier=64 if self.kind in ("noop", "exec") else 1)
        return config

    def worker_options(self, count):
        if not self.fast:
            return [f"--concurrency={count}"]
        pool = ["--concurrency=1"] if self.kind == "hang" else ["--pool=solo"]
        return [*pool, "--without-gossip", "--without-mingle", "--without-heartbeat"]

    def start(self):
        # In (c) and (d) each worker has to be known; the fast ones have a process each anyhow.
        if self.fast or self.kind in ("nap", "hang"):
            for i in range(self.workers):
                self.add_worker(slow=self.kind == "nap" and i == 0, wait=False)
        else:
            self.launch(self.workers)
        for worker in self.members:
            self.wait_worker(worker)

    def launch(self, count, slow=False):
        ready = f"{self.dir}/ready{self.launched + 1}"
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.spawn(
            [PYTHON, "-m", "celery", "-A", "celery_app", "worker", "--loglevel=ERROR",
             f"--hostname=w{self.started()}@bench", *self.worker_options(count)],
            self.python_env({"BENCH_READY": ready, "BENCH_NAP_S": str(nap_s),
                             "C_FORCE_ROOT": "1", "BENCH_HANG": self.place.hang,
                             "BENCH_STARTS": self.place.starts}))
        worker.ready = ready
        self.members.append(worker)
        return worker

    def add_worker(self, slow=False, wait=True):
        worker = self.launch(1, slow)
        if wait:
            self.wait_worker(worker)
        return worker

    def wait_worker(self, worker):
        harness.wait_until(lambda: os.path.exists(worker.ready) or worker.code() is not None, 60,
                           "a worker of Celery")
        assert worker.code() is None, worker.err()[-3000:]

    def submit_one(self):
        self.drive(*self.python_command("celery_driver.py", "submit"), env=self.python_env())

    def work(self, count):
        return self.drive(*self.python_command("celery_driver.py", self.kind, count),
                          env=self.python_env())


class CeleryRedis(OnRedis, Celery):
    name = "celery-redis"
    title = "Celery on Redis, default"
    classes = {d: f"{s}; early acks, prefork" for d, s in
               (("fsync", "appendfsync always"), ("everysec", "appendfsync everysec"),
                ("none", "no append-only file"))}

    def broker_config(self):
        options = {"visibility_timeout": VISIBILITY_S} if self.fast and self.kind == "hang" else {}
        return {"broker_url": self.broker.url + "/0", "result_backend": self.broker.url + "/1",
                "broker_transport_options": options}


class CeleryRedisFast(CeleryRedis):
    name = "celery-redis-fast"
    title = "Celery on Redis, fastest"
    fast = True
    classes = {d: s.replace("early acks, prefork", "acks_late, solo pool, prefetch 64")
               for d, s in CeleryRedis.classes.items()}

    def settings(self):
        if self.kind in ("noop", "exec"):
            return super().settings()
        settings = super().settings().replace("prefetch 64", "prefetch 1")
        if self.kind == "hang":
            settings = (settings.replace("solo pool", "reject_on_worker_lost")
                        + f", visibility timeout {VISIBILITY_S} s")
        return settings


class CeleryRabbit(OnRabbit, Celery):
    name = "celery-rabbit"
    title = "Celery on RabbitMQ, default"
    broker_kind = Rabbit
    classes = {"none": "durable queue, no confirms, results by rpc:// in memory; early acks, "
                       "prefork"}

    def broker_config(self):
        return {"broker_url": self.broker.url, "result_backend": "rpc://"}


class CeleryRabbitFast(CeleryRabbit):
    name = "celery-rabbit-fast"
    title = "Celery on RabbitMQ, fastest"
    fast = True
    classes = {"fsync": "durable queues, confirms, persistent results by rpc://; acks_late, "
                        "solo pool, prefetch 64"}

    def settings(self):
        if self.kind in ("noop", "exec"):
            return super().settings()
        return super().settings().replace("prefetch 64", "prefetch 1")

    def broker_config(self):
        return {"broker_url": self.broker.url, "result_backend": "rpc://",
                "result_persistent": True, "broker_transport_options": {"confirm_publish": True}}

    def check_durability(self):
        assert any(q["name"] == "celery" for q in self.broker.durable_queues()), "no durable queue"


SYSTEMS = [CeleryRedis, CeleryRedisFast, CeleryRabbit, CeleryRabbitFast]

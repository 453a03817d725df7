# SPDX-License-Identifier: Apache-2.0
"""Dask distributed: a scheduler and worker processes of one thread, all in memory."""
from .base import NAP_MS, PYTHON, SLOW, PythonSystem, harness, module_version, need_module


class Dask(PythonSystem):
    name = "dask"
    title = "Dask distributed"
    classes = {"none": "in memory; worker processes of one thread, a nanny each"}
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 3000, "exec": 600}
    options = ()

    @classmethod
    def version(cls):
        need_module("distributed")
        return f"distributed {module_version('distributed')}"

    def start(self):
        self.file = f"{self.dir}/scheduler.json"
        self.spawn([PYTHON, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
                    "0", "--no-dashboard", "--scheduler-file", self.file], self.python_env())
        for i in range(self.workers):
            self.add_worker(slow=self.kind == "nap" and i == 0, wait=False)
        for worker in self.members:
            self.wait_worker(worker)

    def add_worker(self, slow=False, wait=True):
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.spawn(
            [PYTHON, "-m", "distributed.cli.dask_worker", "--scheduler-file", self.file,
             "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory",
             self.dir, *self.options],
            self.python_env({"BENCH_NAP_S": str(nap_s), "BENCH_HANG": self.place.hang,
                             "BENCH_STARTS": self.place.starts}))
        self.members.append(worker)
        if wait:
            self.wait_worker(worker)
        return worker

    def wait_worker(self, worker):
        harness.wait_until(lambda: "Registered to" in worker.err() + worker.out()
                           or worker.code() is not None, 60, "a worker of Dask")
        assert worker.code() is None, worker.err()[-3000:]

    def submit_one(self):
        self.client = self.python("dask_driver.py", self.file, "submit", env=self.python_env())
        self.client.wait_for("submitted")

    def work(self, count):
        return self.drive(*self.python_command("dask_driver.py", self.file, self.kind, count,
                                               self.workers), env=self.python_env())


class DaskFast(Dask):
    name = "dask-fast"
    title = "Dask distributed, fastest"
    classes = {"none": "in memory; no nannies"}
    options = ("--no-nanny",)


SYSTEMS = [Dask, DaskFast]

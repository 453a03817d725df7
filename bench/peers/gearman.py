# SPDX-License-Identifier: Apache-2.0
"""gearmand with clients in Python. Foreground jobs, as only they bring results back; those are in
memory. Background jobs can be kept in a database but return nothing."""
from .base import NAP_MS, SLOW, PythonSystem, first_line, harness, need_program


class Gearman(PythonSystem):
    name = "gearman"
    title = "gearmand, one job a round trip"
    classes = {"none": "foreground jobs, in memory"}
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 10000, "exec": 2000}
    batch = 1

    @classmethod
    def version(cls):
        return first_line(need_program("gearmand"), "--version")

    def start(self):
        self.port = harness.free_port()
        self.spawn([need_program("gearmand"), "--listen=127.0.0.1", f"--port={self.port}",
                    "--log-file=stderr", "--file-descriptors=1000"])
        harness.wait_until(lambda: harness.run(
            self.python_command("gearman_driver.py", self.port, "ping"), code=None,
            env=self.python_env()).code == 0, what="gearmand")
        for i in range(self.workers):
            self.add_worker(slow=self.kind == "nap" and i == 0)

    def add_worker(self, slow=False):
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.python("gearman_driver.py", self.port, "worker",
                             self.kind,
                             self.batch if self.kind == "noop" else 1,
                             env={"BENCH_NAP_S": str(nap_s), "BENCH_HANG": self.place.hang,
                                  "BENCH_STARTS": self.place.starts})
        self.members.append(worker)
        worker.wait_for("ready")
        return worker

    def submit_one(self):
        client = self.python("gearman_driver.py", self.port, "submit")
        client.wait_for("submitted")

    def work(self, count):
        return self.drive(*self.python_command("gearman_driver.py", self.port, "drive", count),
                          env=self.python_env())


class GearmanFast(Gearman):
    name = "gearman-fast"
    title = "gearmand, 64 at once"
    kinds = ("noop",)
    sizes = {"noop": 300000}
    batch = 64


SYSTEMS = [Gearman, GearmanFast]

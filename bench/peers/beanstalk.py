# SPDX-License-Identifier: Apache-2.0
"""beanstalkd with its write-ahead log, with clients in Python that take one job a round trip or up
to 64 at once."""
from .base import (NAP_MS, SLOW, PythonSystem, System, first_line, harness, need_program)

LOG = {"fsync": ["-f0"], "everysec": ["-f1000"]}


class Beanstalk(PythonSystem):
    name = "beanstalkd"
    title = "beanstalkd, one job a round trip"
    classes = {"fsync": "-b -f0", "everysec": "-b -f1000", "none": "no log"}
    kinds = ("noop", "exec", "nap", "hang", "cold")
    sizes = {"noop": 4000, "exec": 600}
    batch = 1

    @classmethod
    def version(cls):
        need_program("beanstalkd")
        return first_line("beanstalkd", "-v")

    def start(self):
        self.port = harness.free_port()
        log = ["-b", self.dir, *LOG[self.durability]] if self.durability in LOG else []
        self.server = System.spawn(self, ["beanstalkd", "-l", "127.0.0.1", "-p", self.port, *log])
        harness.wait_until(lambda: harness.run(
            self.python_command("beanstalk_driver.py", self.port, "ping"), code=None,
            env=self.python_env()).code == 0, what="beanstalkd")
        for i in range(self.workers):
            self.add_worker(slow=self.kind == "nap" and i == 0)

    def add_worker(self, slow=False):
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.python("beanstalk_driver.py", self.port, "worker",
                             self.kind,
                             self.batch if self.kind == "noop" else 1,
                             env={"BENCH_NAP_S": str(nap_s), "BENCH_HANG": self.place.hang,
                                  "BENCH_STARTS": self.place.starts})
        self.members.append(worker)
        worker.wait_for("ready")
        return worker

    def submit_one(self):
        self.drive(*self.python_command("beanstalk_driver.py", self.port, "submit"),
                   env=self.python_env())

    def work(self, count):
        return self.drive(*self.python_command("beanstalk_driver.py", self.port, "drive", count,
                                               self.batch), env=self.python_env())

    def check_durability(self):
        """Its command line is all that there is; the syncs are counted."""
        with open(f"/proc/{self.server.pid}/cmdline", "rb") as file:
            words = file.read().decode().split("\0")
        assert ("-b" in words) == (self.durability != "none"), words


class BeanstalkFast(Beanstalk):
    name = "beanstalkd-fast"
    title = "beanstalkd, 64 at once"
    kinds = ("noop",)
    sizes = {"noop": 10000}
    batch = 64


SYSTEMS = [Beanstalk, BeanstalkFast]

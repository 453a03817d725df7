# SPDX-License-Identifier: Apache-2.0
"""beanstalkd with its write-ahead log, with clients in Python that take one job a round trip or up
to 64 at once."""
from .base import DrivenSystem, first_line, need_program

LOG = {"fsync": ["-f0"], "everysec": ["-f1000"]}


class Beanstalk(DrivenSystem):
    name = "beanstalkd"
    title = "beanstalkd, one job a round trip"
    classes = {"fsync": "-b -f0", "everysec": "-b -f1000", "none": "no log"}
    sizes = {"noop": 4000, "exec": 600}
    script = "beanstalk_driver.py"

    @classmethod
    def version(cls):
        need_program("beanstalkd")
        return first_line("beanstalkd", "-v")

    def start_server(self):
        log = ["-b", self.dir, *LOG[self.durability]] if self.durability in LOG else []
        self.server = self.spawn(["beanstalkd", "-l", "127.0.0.1", "-p", self.port, *log])

    def submit_one(self):
        self.driver("submit")

    def work(self, count):
        return self.driver("drive", count, self.batch)

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

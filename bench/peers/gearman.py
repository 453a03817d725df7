# SPDX-License-Identifier: Apache-2.0
"""gearmand with clients in Python. Foreground jobs, as only they bring results back; those are in
memory. Background jobs can be kept in a database but return nothing."""
from .base import DrivenSystem, first_line, need_program


class Gearman(DrivenSystem):
    name = "gearman"
    title = "gearmand, one job a round trip"
    classes = {"none": "foreground jobs, in memory"}
    sizes = {"noop": 10000, "exec": 2000}
    script = "gearman_driver.py"

    @classmethod
    def version(cls):
        return first_line(need_program("gearmand"), "--version").split(" - ")[0]  # then a URL

    def start_server(self):
        self.spawn([need_program("gearmand"), "--listen=127.0.0.1", f"--port={self.port}",
                    "--log-file=stderr", "--file-descriptors=1000"])

    def submit_one(self):
        client = self.python(self.script, self.port, "submit")
        client.wait_for("submitted")

    def work(self, count):
        return self.driver("drive", count)


class GearmanFast(Gearman):
    name = "gearman-fast"
    title = "gearmand, 64 at once"
    kinds = ("noop",)
    sizes = {"noop": 300000}
    batch = 64


SYSTEMS = [Gearman, GearmanFast]

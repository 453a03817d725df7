# SPDX-License-Identifier: Apache-2.0
"""gaterig - a job that cannot be over before a test has done what it does in the middle of one, however
late the test gets the processor."""
import os
import struct

from harness import TTG, skip, temp_dir, write_file

PLUGIN = os.path.join(os.path.dirname(os.path.realpath(TTG)), "tests/unit/plugins/gate.so")
ALL = 1 << 62


class Gate:
    """So many chunks may begin, whichever come first, and take `ms` each; the others wait. Put `words` behind
    a `run` or a `worker`."""

    def __init__(self, chunks, ms=1):
        if not os.path.exists(PLUGIN):
            skip(f"{PLUGIN} is not built: make check builds it")
        self.path = os.path.join(temp_dir(), "gate")
        write_file(self.path, struct.pack("=qq", chunks, 0))
        self.words = ["--plugin", PLUGIN, "--plugin-arg", f"{ms}:{self.path}"]

    def open(self, chunks=ALL):
        """So many in all."""
        with open(self.path, "r+b") as file:
            file.write(struct.pack("=q", chunks))

    def begun(self):
        """How many chunks were to begin, those that wait among them."""
        with open(self.path, "rb") as file:
            return struct.unpack("=qq", file.read())[1]

    def more(self, chunks):
        """So many from now on, and those that wait."""
        self.open(self.begun() + chunks)

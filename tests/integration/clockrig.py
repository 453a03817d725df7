# SPDX-License-Identifier: Apache-2.0
"""clockrig - a wall clock that a test sets, for a process under tests/shim/clock.c."""
import os
import struct
import time

from harness import shim, temp_dir


class Clock:
    """What a process with `env` takes for the time: ours and an offset, or where it was told to stand."""

    def __init__(self):
        self.path = os.path.join(temp_dir(), "clock")
        self.env = shim("clock", TTG_SHIM_CLOCK=self.path)
        self.offset_s, self.stands_ms = 0, 0
        with open(self.path, "wb") as file:
            file.write(bytes(16))

    def _write(self):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("=qq", self.offset_s, self.stands_ms))

    def set(self, seconds):
        self.offset_s = seconds
        self._write()

    def stand(self):
        """Where it is now; from here on only `pass_by` moves it."""
        self.stands_ms = int(time.time() * 1000)
        self._write()
        return self

    def pass_by(self, ms):
        self.stands_ms += ms
        self._write()

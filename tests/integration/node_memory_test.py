#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a node keeps in memory, however many results wait for somebody to collect them."""
import os
import re
import time

from harness import TTG, main, shim, skip, spawn, temp_dir, test, ttg, wait_until, write_file
from noderig import Node

MB = 1 << 20


def memory(pid, kind="Pss"):
    """Bytes; 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(rf"^{kind}:\s+(\d+)", file.read(), re.M).group(1)) << 10
    except (AttributeError, FileNotFoundError, ProcessLookupError):
        return 0


def state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(n) for n in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Busy:
    """A node with a job of `chunks`, whose results nobody collects, and two workers."""

    def __init__(self, chunks, *options, env=None):
        with open(TTG, "rb") as file:
            if b"__asan_init" in file.read():
                skip("a sanitizer keeps memory of its own")
        self.node = Node(*options, env=env)
        self.pid = self.node.process.pid
        if not memory(self.pid):
            skip("no /proc/PID/smaps_rollup here")
        url = f"ttg+unix:{self.node.unix}"
        ttg("submit", "j", "--queue", url, "--params", chunks, "--chunk", 1, "--simulate-ms", 0)
        self.client = self.node.raw()
        self.workers = [spawn([TTG, "worker", "--queue", url, "--job", "j", "--simulate-ms", 0])
                        for _ in range(2)]

    def completed(self):
        words = self.client("TTG.JOB", "STATUS", "j")
        return words[words.index(b"completed") + 1]


@test
def results_that_wait_cost_no_memory():
    chunks, most, early = 1500000, 0, 0
    b = Busy(chunks)
    while (done := b.completed()) < chunks:
        most = max(most, sum(memory(pid) for pid in [b.pid, *children(b.pid)]))
        if done < chunks // 3:
            early = max(early, memory(b.pid))
        time.sleep(0.02)  # how often to look
    late = memory(b.pid)
    for cursor in (0, chunks // 2, chunks - 1):
        assert b.client("TTG.RESULTS", "j", cursor, "COUNT", 1)[0] == cursor + 1
    print(f"# {early / MB:.1f} MB, at the end {late / MB:.1f}, with a snapshot {most / MB:.1f}")
    assert late - early < 8 * MB and most < 64 * MB, (early, late, most)


@test
def a_snapshot_that_waits_for_the_disk_keeps_no_copy():
    hold = write_file(os.path.join(temp_dir(), "hold"))
    b = Busy(10 ** 8, "--snapshot-log", 4 * MB, env=shim("slowchild", TTG_SHIM_HOLD=hold))
    child = wait_until(lambda: children(b.pid), what="a snapshot")[0]
    asleep, begin = 0, b.completed()

    def waits():
        """The child has written what it writes before a sync, and the node goes on."""
        nonlocal asleep
        asleep = asleep + 1 if state(child) == "S" else 0
        return asleep > 20 and b.completed() > begin + 20000
    wait_until(waits, what="20,000 chunks beside a snapshot")
    kept = memory(child, "Private_Dirty")
    print(f"# the child kept {kept / MB:.1f} MB")
    assert 0 < kept < 3 * MB, kept
    os.unlink(hold)
    wait_until(lambda: child not in children(b.pid), what="the end of the snapshot")


if __name__ == "__main__":
    main()

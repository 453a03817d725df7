#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a node keeps in memory, however many results wait for somebody to collect them."""
import re
import time

from harness import TTG, main, shim, skip, spawn, test, ttg, wait_until
from noderig import Node

MB = 1 << 20


def memory(pid, kind="Pss"):
    """Bytes; 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(rf"^{kind}:\s+(\d+)", file.read(), re.M).group(1)) << 10
    except (AttributeError, FileNotFoundError, ProcessLookupError):
        return 0


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
    b = Busy(10 ** 8, "--snapshot-log", 4 * MB, env=shim("slowchild", TTG_SHIM_MS="700"))
    seen = {}

    def waited():
        """The child has written all and waited for a sync, while the node went on."""
        for child in children(b.pid):
            seen.setdefault(child, []).append((memory(child, "Private_Dirty"), b.completed()))
        return any(len(all_of) > 3 and all_of[-1][1] - all_of[0][1] > 20000 and
                   not memory(child) for child, all_of in seen.items())
    wait_until(waited, 30, "a snapshot beside 20,000 chunks")
    kept = min(max(size for size, _ in all_of[len(all_of) // 2:]) for all_of in seen.values())
    print(f"# the child kept {kept / MB:.1f} MB")
    assert kept < 3 * MB, seen


if __name__ == "__main__":
    main()

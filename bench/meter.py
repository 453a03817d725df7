# SPDX-License-Identifier: Apache-2.0
"""meter - what a run has used: processor time, memory, bytes and syncs, of all its processes.

Everything is counted for the tree of processes below this one, in the same way for every system:

- time: from the clock of the one who waits for the results;
- processor time: user + system of every process of the tree, also of those that have ended;
- memory: the greatest sum of their PSS (shared pages divided among those who share them), looked
  at ten times a second;
- disk: by how much what it keeps has grown;
- written: bytes that they caused to be written to the disk (/proc/PID/io);
- syncs: calls of fsync and fdatasync, counted by bench/syncs.c in each process.

Two things tell whether a round was a fair one: how long a sync took just before (some disks take
many times as long for minutes after files were removed), and how many processors others used."""
import ctypes
import os
import resource
import signal
import statistics
import struct
import tempfile
import threading
import time

FEW_S = 0.04  # what counting in ticks may be wrong by
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What outlives its parent stays below us, so that its time is not lost."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def read_text(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def tree(beside=()):
    """{pid: fields of /proc/PID/stat from the state on} of all processes below this one, without
    those `beside` and what they have started."""
    stats, children = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = read_text(f"/proc/{name}/stat").rpartition(")")[2].split()
            if fields:
                stats[int(name)] = fields
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = {}, list(children.get(os.getpid(), ()))
    while todo:
        pid = todo.pop()
        if pid not in beside:
            found[pid] = stats[pid]
            todo += children.get(pid, ())
    return found


def family(pid, whole=None):
    """pid and what it has started."""
    whole, found = whole or tree(), [pid]
    for one in found:
        found += [p for p, fields in whole.items() if int(fields[1]) == one]
    return found


def end(pids):
    """Kills those of them that still are below this process (adopted orphans are)."""
    for pid in set(pids) & set(tree()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def cpu_seconds(beside=()):
    """User + system of what is below this process or was."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(
        sum(map(int, fields[11:15])) for fields in tree(beside).values()) / TICKS


def own_seconds():
    """Of the harness itself."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def busy_seconds():
    """Of all processors, whoever uses them, since the machine was started."""
    user, nice, system, _, _, irq, softirq = map(int, read_text("/proc/stat").split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def pss_bytes(beside=()):
    total = 0
    for pid in tree(beside):
        for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def written_bytes(beside=()):
    """By the living ones and their children that have ended; ours have, so we count too."""
    total = 0
    for pid in [os.getpid(), *tree(beside)]:
        for line in read_text(f"/proc/{pid}/io").splitlines():
            if line.startswith("write_bytes:"):
                total += int(line.split()[1])
    return total


def disk_bytes(directory):
    """Blocks that the files there take."""
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:
                pass
    return total


def sync_us(directory, size=4096, times=30):
    """Median of writing over a block of a file and fdatasync."""
    took = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(times):
            began = time.monotonic()
            os.pwrite(file.fileno(), bytes(size), 0)
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - began)
    return round(statistics.median(took) * 1e6)


class Syncs:
    """The counter that bench/syncs.c raises in each process that is started with `env`."""

    def __init__(self, library, path):
        self.path, self.library = path, library
        with open(path, "wb") as file:
            file.write(bytes(8))
        os.chmod(path, 0o666)  # brokers have users of their own

    def env(self):
        return {"LD_PRELOAD": self.library, "BENCH_SYNCS": self.path,
                "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}

    def count(self):
        with open(self.path, "rb") as file:
            return struct.unpack("Q", file.read(8))[0]


class Meter:
    """with Meter(directory, counters) as m: …; then m.used. Processes `beside` are not counted."""

    def __init__(self, directory, syncs=(), memory=False, beside=()):
        self.directory, self.syncs, self.memory, self.used = directory, syncs, memory, {}
        self.beside = beside
        self.peak, self.over = 0, threading.Event()

    def synced(self):
        return sum(counter.count() for counter in self.syncs)

    def watch(self):
        while True:
            self.peak = max(self.peak, pss_bytes(self.beside))
            if self.over.wait(0.1):
                return

    def __enter__(self):
        self.before = (cpu_seconds(self.beside), written_bytes(self.beside),
                       disk_bytes(self.directory), self.synced())
        self.began = time.monotonic(), busy_seconds() - cpu_seconds() - own_seconds()
        if self.memory:
            self.thread = threading.Thread(target=self.watch, daemon=True)
            self.thread.start()
        return self

    def __exit__(self, kind, *_):
        if self.memory:
            self.over.set()
            self.thread.join()
            self.used["memory_bytes"] = self.peak
        if kind is None:
            at, others = self.began
            others = busy_seconds() - cpu_seconds() - own_seconds() - others
            self.used["others"] = round(max(others - FEW_S, 0) / (time.monotonic() - at), 2)
            cpu, written, disk, syncs = self.before
            self.used["cpu_s"] = round(cpu_seconds(self.beside) - cpu, 3)
            self.used["written_bytes"] = written_bytes(self.beside) - written
            self.used["disk_bytes"] = max(disk_bytes(self.directory) - disk, 0)
            if self.syncs:
                self.used["syncs"] = self.synced() - syncs

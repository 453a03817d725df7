# SPDX-License-Identifier: Apache-2.0
"""meter - what a run has used: processor time, memory, bytes and syncs, of all its processes.

Everything is counted for the tree of processes below this one, in the same way for every system:

- time: from the clock of the one who waits for the results;
- processor time: user + system of every process of the tree, also of those that have ended;
- memory: the greatest sum of their PSS (shared pages divided among those who share them), looked
  at ten times a second;
- disk: by how much what it keeps has grown;
- written: bytes that they caused to be written to the disk (/proc/PID/io);
- syncs: calls of fsync and fdatasync, counted by bench/syncs.c in each process."""
import ctypes
import os
import resource
import signal
import struct
import threading

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


def tree():
    """{pid: fields of /proc/PID/stat from the state on} of all processes below this one."""
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


def cpu_seconds():
    """User + system of what is below this process or was."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(
        sum(map(int, fields[11:15])) for fields in tree().values()) / TICKS


def pss_bytes():
    total = 0
    for pid in tree():
        for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def written_bytes():
    """By the living ones and their children that have ended; ours have, so we count too."""
    total = 0
    for pid in [os.getpid(), *tree()]:
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
    """with Meter(directory, syncs) as m: …; then m.used."""

    def __init__(self, directory, syncs=None, memory=False):
        self.directory, self.syncs, self.memory, self.used = directory, syncs, memory, {}
        self.peak, self.over = 0, threading.Event()

    def watch(self):
        while True:
            self.peak = max(self.peak, pss_bytes())
            if self.over.wait(0.1):
                return

    def __enter__(self):
        self.before = (cpu_seconds(), written_bytes(), disk_bytes(self.directory),
                       self.syncs.count() if self.syncs else 0)
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
            cpu, written, disk, syncs = self.before
            self.used["cpu_s"] = round(cpu_seconds() - cpu, 3)
            self.used["written_bytes"] = written_bytes() - written
            self.used["disk_bytes"] = max(disk_bytes(self.directory) - disk, 0)
            if self.syncs:
                self.used["syncs"] = self.syncs.count() - syncs

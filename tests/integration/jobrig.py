# SPDX-License-Identifier: Apache-2.0
"""jobrig - jobs of the real binary in a state directory of their own, and what they left."""
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios

from harness import TTG, alive, open_pty, run, spawn, temp_dir, wait_until


def bars(columns, words, env):
    """What a command that ends with 0 draws as bars on a terminal of so many columns."""
    ours, theirs = open_pty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen([TTG, *map(str, words)], stdout=subprocess.DEVNULL, stderr=theirs,
                             env={**os.environ, **env, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert child.wait() == 0, shown
    return re.findall(r"\r\x1b\[K([^\r\n]+)\r(?!\n)", shown.decode())


class Jobs:
    """A user with an empty state directory."""

    def __init__(self):
        self.dir = temp_dir()
        self.env = {"XDG_STATE_HOME": self.dir, "HOME": self.dir, "TMPDIR": self.dir}
        self.output = os.path.join(self.dir, "results")

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, *words, **checks):
        return run([TTG, *words], env=self.env, **checks)

    def spawn(self, *words, **more):
        return spawn([TTG, *words], env=self.env, **more)

    def json(self, *words, **checks):
        """A command's line of JSON."""
        return json.loads(self.run(*words, "--json", **checks).out.splitlines()[-1])

    def kept(self):
        """The directories of jobs that were not completed."""
        try:
            return sorted(os.listdir(os.path.join(self.dir, "ttg", "jobs")))
        except FileNotFoundError:
            return []

    def lines(self, path=None):
        """The lines of an output as objects."""
        try:
            with open(path or self.output, encoding="utf-8") as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def chunks(self, path=None):
        return [int(line["chunk_id"]) for line in self.lines(path)]


def children(pid, word=None):
    """The processes that `pid` started, as {pid: command line}; only those with `word`."""
    found = {}
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            numbers = [int(n) for n in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    for number in numbers:
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                line = file.read().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if (word is None or f" {word} " in line) and alive(number):
            found[number] = line
    return found


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def kill_all(process):
    """kill -9 for a run and all it started, at once."""
    process.stop()
    wait_until(lambda: is_stopped(process.pid), what="no more to be started")
    pids = [process.pid, *children(process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids), what="everybody to be gone")


def counted(jobs, name="runs", sleep="0", until=None, after=0):
    """A command that notes each execution in a file, and the file's reader. It sleeps; with `until`
    chunks from `after` on wait for that file instead."""
    path = jobs.path(name)

    def executions():
        try:
            with open(path, encoding="ascii") as file:
                return [int(line) for line in file]
        except FileNotFoundError:
            return []
    wait = f"sleep {sleep}"
    if until:
        wait = f"until [ $TTG_CHUNK -lt {after} ] || [ -e {until} ]; do sleep 0.02; done"
    return ["sh", "-c", f"echo $TTG_CHUNK >>{path}; {wait}; cat"], executions

# SPDX-License-Identifier: Apache-2.0
"""base - what a system under measurement looks like to the harness.

A system is started with a number of workers, gets COUNT tasks of one kind and hands back what came
of them. Task number n has the result n, whatever the system, so that the sum proves the work:

    noop    nothing but that number
    exec    an external command that prints it
    nap     10 ms of sleep inside the worker, ten times as long in the one that was started as the
            slow one (a command that sleeps where there are only commands: xargs, parallel)
    hang    notes its start in a file and never ends (for the kills)

`classes` says which durability a system can be measured in, and by which settings:

    fsync     what was answered is synced to the disk; a power cut loses nothing
    everysec  synced about once a second; a power cut may lose that second
    none      not synced, or in memory only"""
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
PEERS = os.path.join(BENCH, "peers")
PYTHON = "/usr/bin/python3"  # Debian's, which sees Debian's packages
NAP_MS, SLOW = 10, 10        # a nap, and how many times longer the slow worker's is
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
import harness  # noqa: E402 pylint: disable=wrong-import-position
import meter  # noqa: E402 pylint: disable=wrong-import-position

BIN = os.path.join(os.path.dirname(os.path.realpath(harness.TTG)), "bench")  # of the same build
Outcome = collections.namedtuple("Outcome", "seconds count total")  # distinct results, their sum


class Unavailable(Exception):
    """This system cannot be measured here; the text says why."""


def need_program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Unavailable(f"{name} is not installed (tools/deps bench)")
    return path


def need_module(name):
    if subprocess.run([PYTHON, "-c", f"import {name}"], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        raise Unavailable(f"python3-{name} is not installed (tools/deps bench)")


def first_line(*command):
    """What a program says of its version."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return (done.stdout.strip() or "?").splitlines()[0]


def module_version(name):
    return first_line(PYTHON, "-c", f"import {name}; print({name}.__version__)")


class System:
    """Base of all. `place` (place.py) holds directory, brokers and environment."""

    name = title = ""
    classes = {}
    kinds = ("noop",)
    killed = "the worker"  # what is killed, for the table
    sizes = {}             # tasks a round, by kind

    def __init__(self, place, durability, workers, kind):
        self.place, self.durability, self.workers, self.kind = place, durability, workers, kind
        self.dir = harness.temp_dir()
        harness.keep(self.dir)
        self.processes, self.members = [], []  # all of them; those that are workers
        self.launched = 0
        self.payload = 0  # bytes that go with each result (work growth)
        self.broker = None

    @classmethod
    def version(cls):
        """Raises Unavailable; else what is measured."""
        return ""

    def settings(self):
        return self.classes[self.durability]

    def size(self):
        return self.sizes.get(self.kind, 1000)

    def started(self):
        """Number of one more worker; never that of one that is gone."""
        self.launched += 1
        return self.launched

    def spawn(self, command, env=None):
        process = harness.spawn(command, env={**self.place.env(), **(env or {})})
        harness.keep(process)
        self.processes.append(process)
        return process

    def start(self):
        """Servers and workers, until they are ready."""

    def add_worker(self, slow=False):
        """One more, for the works that need to know each of them."""
        raise NotImplementedError

    def submit_one(self):
        """A task of kind hang, without waiting for it."""
        raise NotImplementedError

    def work(self, count):
        """Outcome of so many tasks of this kind."""
        raise NotImplementedError

    def data_dir(self):
        """Where what it keeps lies."""
        return self.broker.dir if self.broker else self.dir

    def check_durability(self):
        """Raises AssertionError where the system itself says other than its class."""

    def drive(self, *words, env=None, deadline_s=140):
        """Runs a driver to its end: it prints {"seconds":, "count":, "total":}."""
        _, process = self.timed(words, env, deadline_s)
        said = json.loads(process.out().splitlines()[-1])
        return Outcome(said["seconds"], said["count"], said["total"])

    def timed(self, words, env=None, deadline_s=140):
        """Runs a command to its end and returns (seconds of the whole command, process)."""
        began = time.monotonic()
        process = self.spawn(words, env)
        watchdog = threading.Timer(deadline_s, process.kill)
        watchdog.start()
        code = process.popen.wait()  # blocks: a wait with a deadline would look every 50 ms
        took = time.monotonic() - began
        watchdog.cancel()
        assert code == 0, f"{words}: exit code {code}\n{process.err()[-3000:]}"
        return took, process

    def stop(self):
        """Ends everything, also what has left its group."""
        tree = meter.tree()
        pids = [pid for process in self.processes for pid in meter.family(process.pid, tree)]
        for process in reversed(self.processes):
            if process.code() is None:
                process.kill(signal.SIGTERM)
        for process in reversed(self.processes):
            process.close()
        meter.end(pids)
        shutil.rmtree(self.dir, ignore_errors=True)


class PythonSystem(System):
    """A peer whose tasks are Python functions (tasks.py)."""

    def python(self, script, *words, env=None):
        return self.spawn(self.python_command(script, *words), self.python_env(env))

    def python_command(self, script, *words):
        return [PYTHON, os.path.join(PEERS, script), *map(str, words)]

    def python_env(self, env=None):
        return {"PYTHONPATH": PEERS, "BENCH_DIR": self.dir, "PYTHONDONTWRITEBYTECODE": "1",
                **(env or {})}


class DrivenSystem(PythonSystem):
    """A job server and one script that is its worker and its client: SCRIPT PORT ping, worker KIND
    BATCH, submit, or drive COUNT …."""
    kinds = ("noop", "exec", "nap", "hang", "cold")
    script = ""
    batch = 1

    def start_server(self):
        """On self.port."""
        raise NotImplementedError

    def start(self):
        self.port = harness.free_port()
        self.start_server()
        harness.wait_until(lambda: harness.run(self.python_command(self.script, self.port, "ping"),
                                               code=None, env=self.python_env()).code == 0,
                           what=f"{self.name} answers")
        for i in range(self.workers):
            self.add_worker(slow=self.kind == "nap" and i == 0)

    def add_worker(self, slow=False):
        nap_s = NAP_MS * (SLOW if slow else 1) / 1000
        worker = self.python(self.script, self.port, "worker", self.kind,
                             self.batch if self.kind == "noop" else 1,
                             env={"BENCH_NAP_S": str(nap_s), "BENCH_HANG": self.place.hang,
                                  "BENCH_STARTS": self.place.starts})
        self.members.append(worker)
        worker.wait_for("ready")
        return worker

    def driver(self, *words):
        return self.drive(*self.python_command(self.script, self.port, *words),
                          env=self.python_env())

# SPDX-License-Identifier: Apache-2.0
"""demorig - `ttg demo` with a state directory of its own, and what it must have told."""
import glob
import json
import os
import re
import signal
import socket

from harness import TTG, have, run, skip, spawn, temp_dir, wait_until


class Demo:
    """A user who has nothing yet; its environment or directory tells a process of the demo
    (Redis writes its title over its environment)."""

    def __init__(self):
        self.dir = temp_dir()
        self.env = {"XDG_STATE_HOME": self.dir, "HOME": self.dir}

    def run(self, *words, env=None, **checks):
        return run([TTG, "demo", *words], env={**self.env, **(env or {})}, **checks)

    def spawn(self, *words):
        return spawn([TTG, "demo", *words], env=self.env)

    def json(self, *words, **checks):
        lines = self.run(*words, "--json", **checks).out.splitlines()
        assert len(lines) == 1, lines
        return json.loads(lines[0])

    def processes(self):
        """{pid: command line} of all that were started with our environment."""
        found, mark = {}, self.dir.encode()
        for path in glob.glob("/proc/[0-9]*/environ"):
            where = os.path.dirname(path)
            try:
                with open(path, "rb") as file:
                    ours = mark in file.read()
                ours = ours or os.readlink(os.path.join(where, "cwd")).startswith(self.dir)
                with open(os.path.join(where, "cmdline"), "rb") as file:
                    line = file.read().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if ours and line:
                found[int(path.split("/")[2])] = line
        return found

    def kill_all(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def files(self):
        """Everything that is not an empty directory."""
        return [os.path.join(where, name) for where, _, names in os.walk(self.dir) for name in names]

    def lines(self, name=".ndjson"):
        """How many results the demo's jobs have written, or that one."""
        total = 0
        for path in self.files():
            if path.endswith(name):
                with open(path, "rb") as file:
                    total += file.read().count(b"\n")
        return total

    def check_gone(self):
        wait_until(lambda: not self.processes(), what="all processes to be gone")
        assert not self.files(), self.files()
        left = os.listdir(os.path.join(self.dir, "ttg/demo")) if os.path.exists(
            os.path.join(self.dir, "ttg/demo")) else []
        assert not left, left


def check_story(out):
    """Both acts are verified, and the second one tells of a death in the middle of a chunk."""
    assert out.count("sum 499500, verified: 100 of 100") == 2, out
    kill = re.search(r"kill -9 \d+ +# worker-1, (\d+) ms into a chunk", out)
    taken = re.search(r"(worker-[02]) took over chunk (\d{5}), (\d+) ms after the kill", out)
    assert kill and taken, out
    assert re.search(r"^undisturbed [\d.]+ s, with the kill [\d.]+ s: it cost", out, re.M), out
    assert re.search(r"^100 of 100 chunks, [1-3] taken over from the killed worker, "
                     r"sum 499500 = 1000 \* 999 / 2$", out, re.M), out
    return int(taken.group(3))


# Who says first why a worker is gone: the queue, which sees its connection end, or who started it.
WHY_LOST = r"(?:killed by SIGKILL|connection lost)"


def stopped(start, moment, stop, code):
    """The demo that `start()` gives as (demo, process) ends with that code when `stop(demo, process)` comes at
    that moment. Where that was too late, as it had just ended by itself, another one is begun."""
    for _ in range(5):
        demo, process = start()
        process.wait_for(moment)
        stop(demo, process)
        got = process.wait()
        if got != 0:
            assert got == code, (got, process.out(), process.err())
            return demo, process
        demo.check_gone()
    raise AssertionError(f"nothing stops it: {process.out()}")


def need(backend):
    """Skips where that server is not installed."""
    if backend == "redis" and not have("redis-server"):
        skip("redis-server is not installed")
    if backend == "rabbitmq" and not os.path.exists("/usr/lib/rabbitmq/bin/rabbitmq-server"):
        skip("rabbitmq-server is not installed")


def check_port_free(out):
    """Nobody serves any more where the demo's server did. Killed, it may take a moment to be gone."""
    port = int(re.search(r"serves at \w+://(?:guest:guest@)?127\.0\.0\.1:(\d+)", out).group(1))
    wait_until(lambda: not serves(port), what=f"nobody to serve on {port}")


def serves(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0

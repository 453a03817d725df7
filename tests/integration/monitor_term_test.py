#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg monitor` on a terminal of its own: what is seen, what keys do, and how it leaves."""
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import termios
import threading

from harness import TTG, main, open_pty, run, spawn, temp_dir, test, wait_until

SEQUENCE = re.compile(r"\033\[[0-9;?]*[A-Za-z]")


class Node:
    """A node on a Unix socket; it may be killed and started again."""

    def __init__(self):
        self.dir = temp_dir()
        self.queue = f"ttg+unix:{self.dir}/s"
        self.start()

    def start(self):
        self.process = spawn([TTG, "node", "--data", self.dir + "/data", "--unix", self.dir + "/s"])
        self.process.wait_for("^ready")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ttg(self, *words, **checks):
        return run([TTG, *words, "--queue", self.queue], **checks)

    def state(self, job):
        return json.loads(self.ttg("status", job, "--json").out)["state"]

    def worker(self, number, job, ms=100, *more):
        """Of a job of 200 chunks it has enough for minutes."""
        return spawn([TTG, "worker", "--queue", self.queue, "--job", job, "--name",
                      f"worker-{number}", "--simulate-ms", str(ms), *more])


class Screen:
    """The monitor on a pseudo terminal."""

    def __init__(self, node, *words, size=(24, 80), env=None):
        self.master, self.slave = open_pty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.raw = b""
        whole = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        whole.update({"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})

        def own_terminal():
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        # stderr is not looked at by the monitor; a harness process would not have a terminal.
        self.process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
            [TTG, "monitor", *words, "--queue", node.queue, "--watch", "0.1"], stdin=self.slave,
            stdout=self.slave, stderr=subprocess.PIPE, env=whole, preexec_fn=own_terminal)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.raw += data

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self):
        """The lines of the last whole picture, without colour."""
        frames = self.raw.decode(errors="replace").split("\033[H")
        frame = frames[-1] if len(frames) == 1 or "ttg monitor" in frames[-1] else frames[-2]
        return SEQUENCE.sub("", frame).replace("\r", "").split("\n")

    def sees(self, pattern):
        def look():
            assert self.process.poll() is None, f"it ended: {self.process.stderr.read()!r}"
            return any(re.search(pattern, line) for line in self.lines())
        try:
            wait_until(look)
        except AssertionError as error:
            raise AssertionError(f"no {pattern!r}: {error}\n" + "\n".join(self.lines())) from None

    def key(self, text):
        os.write(self.master, text.encode())

    def ended(self, code):
        assert self.process.wait(60) == code, self.process.stderr.read()
        wait_until(lambda: self.raw.endswith(b"\033[?1049l") or b"\033[?1049l" in self.raw[-64:])
        assert b"\033[?25h" in self.raw[-64:], "the cursor is still hidden"
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        for fd in (self.master, self.slave):
            try:
                os.close(fd)
            except OSError:
                pass


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def with_screen(function):
    """A test with a node, a job `sweep` of which nothing is done yet, and a monitor."""
    def body():
        node = Node()
        node.ttg("submit", "sweep", "--params", "2000", "--chunk", "10")
        screen = Screen(node)
        try:
            screen.sees("job  sweep  running")
            function(node, screen)
        finally:
            screen.close()
    body.__name__ = function.__name__
    return test(body)


@with_screen
def a_killed_worker_is_seen_and_its_chunk_moves(node, screen):
    workers = [node.worker(i, "sweep") for i in range(3)]
    screen.sees(r"worker-1 +busy +\d{5}")
    workers[1].kill()
    screen.sees(r"worker-1 +lost +\d{5} +[\d.]+ m?s ago")
    screen.sees(r"chunk \d{5} taken over: worker-1 → worker-[02], [\d.]+ m?s after the loss")
    screen.sees(r"[12] taken over \(\d{5} worker-1 → worker-[02]")
    screen.sees("1 loss")
    wait_until(lambda: len(screen.lines()) == 24, what="a whole picture")
    screen.key("q")
    screen.ended(0)


@with_screen
def keys_pause_and_go_on(node, screen):
    node.worker(0, "sweep")
    screen.key("p")
    screen.sees("PAUSED")
    assert node.state("sweep") == "paused"
    screen.key("p")
    screen.sees("job  sweep  running")
    screen.key("d")
    screen.sees(r"drain: .*\[y/n\]")
    screen.key("n")
    screen.sees("nothing was done")
    assert node.state("sweep") == "running"
    screen.key("dy")
    screen.sees("PAUSED, drained")
    screen.key("?")
    screen.sees("the job goes on")
    screen.key("x")
    screen.sees("WORKER")
    screen.process.send_signal(signal.SIGTERM)
    screen.ended(143)


@with_screen
def dead_letters_are_redriven_when_asked(node, screen):
    node.ttg("cancel", "sweep")
    node.ttg("submit", "faulty", "--params", "2000", "--chunk", "10", "--max-attempts", "1")
    node.worker(0, "faulty", 0, "--fault-rate", "1").wait(60)
    screen.sees(r"DEAD LETTERS 200")
    screen.sees("given up after 1 attempt: simulated fault")
    screen.key("r")
    screen.sees(r"give 200 dead letters fresh attempts\? \[y/n\]")
    screen.key("y")
    screen.sees("200 dead letters have fresh attempts")
    assert node.state("faulty") == "running"
    screen.process.send_signal(signal.SIGINT)
    screen.ended(130)


@with_screen
def it_follows_the_size(node, screen):
    node.worker(0, "sweep")
    screen.sees("worker-0 +busy")
    screen.resize(12, 40)
    screen.process.send_signal(signal.SIGWINCH)
    wait_until(lambda: len(screen.lines()) == 12 and max(map(len, screen.lines())) <= 40)
    screen.resize(50, 160)
    screen.process.send_signal(signal.SIGWINCH)
    screen.sees("the last 30 s")
    wait_until(lambda: len(screen.lines()) == 50)
    screen.key("\033[B\033[A\033[5~\033[99zq")
    screen.ended(0)


@with_screen
def it_outlives_its_queue(node, screen):
    node.kill()
    screen.sees("not connected; it is tried again; below is what was known before")
    screen.sees("job  sweep  running")
    screen.key("p")
    screen.sees("not connected: try again later")
    node.start()
    screen.sees("connected$")
    node.ttg("pause", "sweep")
    screen.sees("PAUSED")
    screen.process.send_signal(signal.SIGHUP)
    screen.ended(143)


@with_screen
def jobs_are_chosen(node, screen):
    node.ttg("submit", "other", "--params", "10")
    screen.sees("job  other ")  # the newest
    screen.key("j")
    screen.sees("job  sweep ")
    screen.key("k")
    screen.sees("job  other ")
    screen.key("jg")
    screen.sees("job  other ")
    screen.key("q")
    screen.ended(0)


@with_screen
def it_may_be_stopped_and_continued(_node, screen):
    screen.process.send_signal(signal.SIGTSTP)
    wait_until(lambda: screen.raw.endswith(b"\033[?1049l"), what="the terminal is given back")
    wait_until(lambda: termios.tcgetattr(screen.slave) == screen.before)
    wait_until(lambda: state_of(screen.process.pid) == "T", what="it is stopped")
    screen.raw = b""
    screen.process.send_signal(signal.SIGCONT)
    screen.sees("job  sweep  running")
    assert b"\033[?1049h" in screen.raw
    screen.key("q")
    screen.ended(0)


@test
def colour_is_left_out_when_asked():
    node = Node()
    node.ttg("submit", "sweep", "--params", "10")
    for env, colored in (({}, True), ({"NO_COLOR": "1"}, False)):
        screen = Screen(node, env=env)
        try:
            screen.sees("job  sweep")
            assert bool(re.search(rb"\033\[[0-9;]+m", screen.raw.replace(b"\033[0m", b""))) == colored
        finally:
            screen.close()
    screen = Screen(node, env={"TERM": "dumb"})
    try:
        wait_until(lambda: b"job  sweep" in screen.raw)
        assert b"\033" not in screen.raw, screen.raw
    finally:
        screen.close()
    screen = Screen(node, env={"LC_ALL": "C"})
    try:
        screen.sees("job  sweep")
        assert all(byte < 128 for byte in screen.raw), screen.raw
    finally:
        screen.close()


@test
def one_picture_and_json():
    node = Node()
    node.ttg("monitor", "--once", out="no jobs on this queue yet")
    node.ttg("submit", "sweep", "--params", "100", "--chunk", "10")
    node.worker(0, "sweep", 0).wait()
    done = node.ttg("monitor", out="job  sweep  complete .* 100.0 %  10 of 10")
    assert "\033" not in done.out, done
    node.ttg("monitor", "nosuch", "--once", out="waiting for job nosuch")
    view = json.loads(node.ttg("monitor", "sweep", "--json").out)
    assert view["connected"] is True and view["job"], view
    watching = spawn([TTG, "monitor", "--watch", "0.1", "--json", "--queue", node.queue])
    wait_until(lambda: watching.out().count("\n") >= 3)
    for line in watching.out().splitlines()[:3]:
        json.loads(line)
    watching.kill(signal.SIGTERM)
    assert watching.wait() == 143
    run([TTG, "monitor", "--once", "--queue", "ttg+unix:/nonexistent/s", "--queue-retry", "0.2"],
        code=3, err="/nonexistent/s")


main()

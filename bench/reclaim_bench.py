#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""reclaim_bench - kill -9 of a worker until its chunk has started elsewhere.

Two workers run chunks that take very long; a third one is free and waits. One of those that run is
killed; the time until a command of its chunk has started in the free worker is taken from the
command itself (the clock of the machine, monotonic). Then a new worker becomes the free one.

    bench/reclaim_bench.py [--kills N] [--tcp | --redis | --rabbit] [--stop] [--load N]

--tcp: over TCP instead of a Unix socket (a worker may come back for a second); --redis: on a
redis-server of its own; --rabbit: on a RabbitMQ broker of its own; --stop: SIGSTOP instead of SIGKILL (nobody can know before 2.5 s of
silence); --load: beside N processes that only compute."""
import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TTG = os.environ.get("TTG", os.path.join(ROOT, "build", "ttg"))


class Worker:
    count = 0

    def __init__(self, queue, directory):
        Worker.count += 1
        self.log = f"{directory}/w{Worker.count}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [TTG, "worker", "--queue", queue, "--job", "bench", "--name", f"w{Worker.count}", "--",
                 f"{directory}/chunk", "{chunk}", f"{directory}/starts"], stderr=log)

    def joined(self):
        joined = False
        while not joined:
            time.sleep(0.001)
            with open(self.log, "rb") as log:
                joined = b"worker.joined" in log.read()


def starts(directory):
    try:
        with open(f"{directory}/starts", encoding="ascii") as file:
            return [tuple(map(int, line.split())) for line in file.read().splitlines()]
    except FileNotFoundError:
        return []


def wait_starts(directory, count, deadline_s=10):
    end = time.monotonic() + deadline_s
    while len(starts(directory)) < count:
        if time.monotonic() > end:
            sys.exit(f"only {starts(directory)} of {count} starts")
        time.sleep(0.0005)


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def build_chunk(directory):
    """A tiny program: `chunk INDEX FILE` notes index, pid and the clock in FILE and sleeps."""
    source = f"{directory}/chunk.c"
    with open(source, "w", encoding="ascii") as file:
        file.write('#include <fcntl.h>\n#include <stdio.h>\n#include <time.h>\n#include <unistd.h>\n'
                   'int main(int c, char **v)\n{\n    struct timespec t;\n    char line[99];\n'
                   '    clock_gettime(CLOCK_MONOTONIC, &t);\n'
                   '    int fd = open(v[2], O_WRONLY | O_CREAT | O_APPEND, 0600);\n'
                   '    int n = snprintf(line, sizeof line, "%s %d %lld\\n", v[1], getppid(),\n'
                   '                     t.tv_sec * 1000000000LL + t.tv_nsec);\n'
                   '    write(fd, line, n);\n    close(fd);\n    pause();\n    return c;\n}\n')
    subprocess.run(["cc", "-O2", "-w", "-o", f"{directory}/chunk", source], check=True)


def start_redis():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1",
                               "--save", ""], stdout=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.01)
    return server, f"redis://127.0.0.1:{port}"


class Rabbit:
    """A broker of the tests' rig, with the face of a process."""

    def __init__(self):
        sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
        import rabbitrig  # pylint: disable=import-outside-toplevel
        self.broker = rabbitrig.Rabbit()

    def terminate(self):
        self.broker.kill()

    def wait(self):
        """It is gone."""


def start_rabbit():
    server = Rabbit()
    return server, server.broker.url


def start_node(options, directory):
    node = subprocess.Popen([TTG, "node", "--data", f"{directory}/data", "--unix", f"{directory}/s",
                             "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    port = None
    for line in node.stdout:
        found = re.match(rb"listening on 127.0.0.1:(\d+)", line)
        port = int(found.group(1)) if found else port
        if line == b"ready\n":
            break
    return node, f"ttg://127.0.0.1:{port}" if options.tcp else f"ttg+unix:{directory}/s"


def measure(options, directory):
    server, queue = (start_redis() if options.redis else start_rabbit() if options.rabbit
                     else start_node(options, directory))
    subprocess.run([TTG, "submit", "--queue", queue, "--job", "bench", "--params", "2", "--chunk", "1",
                    "--max-attempts", "1000000", "--", f"{directory}/chunk"], check=True,
                   stdout=subprocess.DEVNULL)
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(options.load)]
    workers, times = [Worker(queue, directory) for _ in range(2)], []
    try:
        wait_starts(directory, 2)
        for _ in range(options.kills):
            free = Worker(queue, directory)
            free.joined()
            time.sleep(0.05)  # its take is parked
            victim = workers.pop(0)
            before = len(starts(directory))
            at = time.monotonic_ns()
            victim.process.send_signal(signal.SIGSTOP if options.stop else signal.SIGKILL)
            wait_starts(directory, before + 1)
            _, by, start = starts(directory)[-1]
            assert by == free.process.pid, f"{by} runs it, not {free.process.pid}"
            times.append((start - at) / 1e6)
            victim.process.kill()
            victim.process.wait()
            workers.append(free)
    finally:
        for process in [*load, *(w.process for w in workers)]:
            process.kill()
            process.wait()
        server.terminate()
        server.wait()
    return sorted(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--rabbit", action="store_true")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--load", type=int, default=0)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="ttg-bench-")
    try:
        build_chunk(directory)
        times = measure(options, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"kills {len(times)}  p50 {percentile(times, .5):.2f} ms  p99 {percentile(times, .99):.2f} ms"
          f"  max {times[-1]:.2f} ms")


main()

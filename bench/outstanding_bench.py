#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""outstanding_bench - what a job of 10^9 parameters costs a node in memory.

Creates the job, lets workers take as many chunks as the window holds, commits every second one, so
that what is done has as many gaps as it can have, and takes again until the window is full of
leases. Prints the node's resident memory after each step, and after a start on the same data.

    bench/outstanding_bench.py [--window N] [--data DIR]"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "integration")]
from noderig import Raw  # noqa: E402  (a bare client)

TTG = os.environ.get("TTG", os.path.join(ROOT, "build", "ttg"))


def start(data, path):
    began = time.monotonic()
    node = subprocess.Popen([TTG, "node", "--data", data, "--unix", path], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while node.stdout.readline() != "ready\n":
        if node.poll() is not None:
            sys.exit("the node ended")
    client = Raw(path, 60)
    client("PING")
    return node, client, time.monotonic() - began


def memory(node, what):
    with open(f"/proc/{node.pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    print(f"{what:<42} {int(lines['VmRSS'].split()[0]) / 1024:7.1f} MB resident,"
          f" {int(lines['VmHWM'].split()[0]) / 1024:6.1f} MB at most", flush=True)


def take(client, worker, count):
    """Leases (chunk, epoch), all that there are up to `count`."""
    leases = []
    while len(leases) < count:
        answer = client("TTG.TAKE", "big", worker, 1, "COUNT", min(4096, count - len(leases)))
        runs = [answer[i:i + 4] for i in range(1, len(answer), 4)]
        if not runs:
            break
        leases += [(chunk + i, epoch + i) for chunk, n, epoch, _ in runs for i in range(n)]
    return leases


def commit(client, worker, leases):
    for at in range(0, len(leases), 512):
        words = []
        for chunk, epoch in leases[at:at + 512]:
            words += [chunk, epoch, 5, "s", chunk]
        client("TTG.COMMIT", "big", worker, 1, *words)


def main():
    options = argparse.ArgumentParser(description="memory of a node with a big job")
    options.add_argument("--window", type=int, default=100000)
    options.add_argument("--data")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data, path = options.data or f"{scratch}/data", f"{scratch}/node.sock"
        node, client, _ = start(data, path)
        memory(node, "idle")
        began = time.monotonic()
        client("TTG.JOB", "CREATE", "big", "FIRST", 0, "LAST", 10**9 - 1, "CHUNK", 1, "WINDOW",
               options.window)
        memory(node, f"created in {time.monotonic() - began:.3f} s")
        client("TTG.JOIN", "big", "w", 1, "SLOTS", 1024)
        leases = take(client, "w", options.window)
        memory(node, f"{len(leases)} chunks leased")
        commit(client, "w", leases[1::2])
        more = take(client, "w", options.window)
        memory(node, f"every second done, {len(leases[::2]) + len(more)} leased")
        node.kill()
        node.wait()
        node, client, seconds = start(data, path)
        memory(node, f"killed, started, answered in {seconds:.3f} s")
        node.kill()
        node.wait()


main()

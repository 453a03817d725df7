#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""snapshot_bench - what other clients feel while a node with much state writes a snapshot.

Fills a stream, then two clients, a process each, ask one thing after the other, PING and XADD,
before and during BGSAVE. Prints what their answers took.

    bench/snapshot_bench.py [--gigabytes N] [--rounds N] [--data DIR]"""
import argparse
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "integration")]
from noderig import Raw  # noqa: E402  (a bare client)

TTG = os.environ.get("TTG", os.path.join(ROOT, "build", "ttg"))
PAYLOAD = 150


def words(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def fill(path, entries):
    """Pipelined; answers are counted by their lines."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    block = words(b"XADD", b"big", b"*", b"f", b"x" * PAYLOAD) * 500
    for _ in range(entries // 500):
        client.sendall(block)
        lines = 0
        while lines < 1000:
            lines += client.recv(1 << 16).count(b"\n")


def ask(path, command, begin, end, pipe):
    """Answer times in seconds between two events, with the time of day of each."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    begin.wait()
    times = []
    while not end.is_set():
        before = time.monotonic()
        client.sendall(command)
        while not client.recv(4096).endswith(b"\r\n"):
            pass
        times.append(time.monotonic() - before)
    pipe.send(times)


def report(what, times):
    times.sort()
    p = [times[int(len(times) * share)] * 1000 for share in (0.5, 0.99, 0.999)]
    print(f"{what:<26} {len(times):>8} answers  p50 {p[0]:6.2f}  p99 {p[1]:6.2f}  "
          f"p99.9 {p[2]:6.2f}  greatest {times[-1] * 1000:7.2f} ms", flush=True)


def measure(path, what, work):
    begin, end = multiprocessing.Event(), multiprocessing.Event()
    clients = []
    for name, command in (("PING", words(b"PING")),
                          ("XADD", words(b"XADD", b"small", b"*", b"f", b"x" * PAYLOAD))):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=ask, args=(path, command, begin, end, there))
        process.start()
        clients.append((name, process, here))
    time.sleep(0.2)
    begin.set()
    work()
    end.set()
    for name, process, pipe in clients:
        report(f"{name}, {what}", pipe.recv())
        process.join()


def info(client, name):
    for line in client("INFO").decode().split("\r\n"):
        if line.startswith(name + ":"):
            return int(line.split(":")[1])
    raise KeyError(name)


def save(path):
    client = Raw(path, 60)
    client("BGSAVE")
    while info(client, "rdb_bgsave_in_progress"):
        time.sleep(0.05)


def main():
    options = argparse.ArgumentParser(description="answer times during a snapshot")
    options.add_argument("--gigabytes", type=float, default=1)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--data")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data, path = options.data or f"{scratch}/data", f"{scratch}/node.sock"
        node = subprocess.Popen([TTG, "node", "--data", data, "--unix", path, "--snapshot-log",
                                 "1TiB"], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        try:
            while node.stdout.readline() != "ready\n":
                if node.poll() is not None:
                    sys.exit("the node ended")
            fill(path, int(options.gigabytes * 1e9 / PAYLOAD))
            with open(f"/proc/{node.pid}/status", encoding="ascii") as file:
                rss = next(line for line in file if line.startswith("VmRSS"))
            print(f"{rss.split()[1]} KiB resident")
            measure(path, "before", lambda: time.sleep(3))
            for _ in range(options.rounds):
                began = time.monotonic()
                measure(path, "during a snapshot", lambda: save(path))
                fork_ms = info(Raw(path, 60), "latest_fork_usec") / 1000
                print(f"  fork {fork_ms:.1f} ms, snapshot {time.monotonic() - began:.1f} s")
        finally:
            node.kill()
            node.wait()


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures `ttg run` on RabbitMQ beside a bare client (bench/amqp_bare.c) that waits for each confirm,
and beside the same with a window, in turn on the same broker. Prints a Markdown table of medians.

    make all build/release/bench/amqp_bare
    bench/amqp.py [--rounds N] [--chunks N] [--window W] [--only classic|quorum|cluster]

classic and quorum: one broker of its own; cluster: three nodes in network namespaces, quorum."""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
import harness  # noqa: E402 pylint: disable=wrong-import-position
from rabbitrig import Cluster, Rabbit  # noqa: E402 pylint: disable=wrong-import-position

BARE = os.path.join(ROOT, "build/release/bench/amqp_bare")


def bare(prefix, where, chunks, window, quorum):
    said = subprocess.run([*prefix, BARE, *where, "--chunks", str(chunks), "--window", str(window),
                           *(["--quorum"] if quorum else [])], check=True, stdout=subprocess.PIPE,
                          text=True, timeout=120)
    return float(re.search(r"\d+", said.stdout)[0])


def ttg(prefix, url, chunks, quorum, number):
    with tempfile.TemporaryDirectory() as d:
        said = subprocess.run([*prefix, harness.TTG, "run", "--queue", url, "--job",
                               f"bench{number}", "--queue-type", "quorum" if quorum else "classic",
                               "--params", str(chunks), "--chunk", "1", "--simulate-ms", "0",
                               "--workers", "3", "--output", f"{d}/out", "--json"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              timeout=120)
    return chunks / json.loads(said.stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=20000)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--only", default="classic,quorum,cluster")
    o = parser.parse_args()
    print(f"| queues | waits for each confirm | window of {o.window} | ttg run | of waiting | of windowed |")
    print("|---|---|---|---|---|---|")
    number, one = 0, None
    for kind in o.only.split(","):
        if kind == "cluster":
            broker = Cluster()
            where = ["--host", "10.77.0.1", "--user", "ttg", "--password", "ttg"]
            prefix = broker.prefix
        else:
            broker = one = one or Rabbit()
            where, prefix = ["--port", str(broker.port)], []
        quorum, rows = kind != "classic", []
        for _ in range(o.rounds):
            number += 1
            rows.append((bare(prefix, where, o.chunks // 4, 1, quorum),
                         bare(prefix, where, o.chunks, o.window, quorum),
                         ttg(prefix, broker.url, o.chunks, quorum, number)))
        waits, windowed, ours = (statistics.median(column) for column in zip(*rows))
        print(f"| {kind} | {waits:,.0f} | {windowed:,.0f} | {ours:,.0f} | {ours / waits:.1f} x | "
              f"{ours / windowed:.0%} |", flush=True)


main()

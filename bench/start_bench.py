#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long the command takes to start and end: the time that every short use pays.

usage: bench/start_bench.py [RUNS]      (TTG names the binary, default build/ttg)

Beside it /bin/true, the floor of this machine at this moment. Target: `ttg version` <= 5 ms."""
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TTG = os.environ.get("TTG") or os.path.join(ROOT, "build", "ttg")
COMMANDS = [["/bin/true"], [TTG, "version"], [TTG, "help"],
            [TTG, "worker", "--params", "1", "--total-workers", "1", "--simulate-ms", "0"]]


def once_ms(command):
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1e3


def main():
    runs = int(sys.argv[1]) if sys.argv[1:] else 200
    print(f"{'ms':>8} {'p50':>7} {'p99':>7}  command ({runs} runs)")
    for command in COMMANDS:
        times = sorted(once_ms(command) for _ in range(runs))
        print(f"{min(times):8.2f} {statistics.median(times):7.2f} {times[int(runs * 0.99)]:7.2f}  "
              f"{' '.join([os.path.basename(command[0]), *command[1:]])}")


if __name__ == "__main__":
    main()

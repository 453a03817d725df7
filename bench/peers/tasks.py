# SPDX-License-Identifier: Apache-2.0
"""The tasks of the peers that run Python functions (base.py says what each kind is)."""
import json
import os
import subprocess
import time


def noop(n):
    return n


def exec_(n):
    command = os.environ.get("BENCH_COMMAND", "/bin/echo").split()
    return int(subprocess.run([*command, str(n)], stdout=subprocess.PIPE, check=True).stdout)


def nap(n):
    time.sleep(float(os.environ["BENCH_NAP_S"]))
    return n


def hang(n):
    subprocess.run([os.environ["BENCH_HANG"], str(n), os.environ["BENCH_STARTS"]], check=True)
    return n


BY_KIND = {"noop": noop, "cold": noop, "exec": exec_, "nap": nap, "hang": hang}


def report(began, results):
    """The last line of a driver: how long it took, how many different results, their sum."""
    took = time.monotonic() - began
    distinct = set(results)
    print(json.dumps({"seconds": took, "count": len(distinct), "total": sum(distinct)}
                     if len(distinct) == len(results) else
                     {"seconds": took, "count": -len(results), "total": sum(results)}), flush=True)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A coprocess: starts once, then answers one line for each chunk. Copy it when your program takes
long to start (imports, models, tables).

    ttg run --range 1..1000000 --chunk 10000 --coproc -- python3 examples/coproc.py

Adds up the Collatz steps of all parameters. docs/kernels.md explains the two lines."""
import json
import sys


def collatz_steps(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def compute(task):
    if task["start_param"] < 1:
        return {"error": "parameters must be positive", "permanent": True}
    parameters = range(task["start_param"], task["end_param"] + 1)
    return {"sum": sum(map(collatz_steps, parameters))}


def main():
    # Whatever prints by mistake must not end up between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = compute(task)
        except Exception as problem:  # pylint: disable=broad-except
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        answer["chunk_id"] = task["chunk_id"]
        print(json.dumps(answer), file=answers, flush=True)


main()

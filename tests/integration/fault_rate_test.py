#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIMULATE_FAULT_RATE=0.3 on every kind of queue: each chunk is done, or a dead letter after exactly its
attempts, and the sums of both are the job's. A permanent failure is a dead letter at once; to redrive one
or all of them twice is to do it once."""
import json
import os

from harness import TTG, main, run, temp_dir, test
from noderig import Node
from rabbitrig import Rabbit
from redisfleet import Cluster, Sentinels
from redisrig import Redis

PARAMS, CHUNK, ATTEMPTS = 3000, 10, 3
CHUNKS = PARAMS // CHUNK

_rabbit = []


def faults(url, *options):
    out = os.path.join(temp_dir(), "out")
    done = run([TTG, "run", "--queue", url, "--job", "faulty", "--params", PARAMS, "--chunk", CHUNK,
                "--simulate-ms", 0, "--workers", 3, "--max-attempts", ATTEMPTS, "--retry-delay", 0.02,
                "--output", out, "--json", *options], code=1, env={"SIMULATE_FAULT_RATE": "0.3"})
    said = json.loads(done.out)
    with open(out, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    listed = run([TTG, "dlq", "list", "--queue", url, "--job", "faulty", "--json"]).out
    letters = [json.loads(line) for line in listed.splitlines()]
    results = {int(line["chunk_id"]): line for line in lines}
    dead = {letter["chunk"]: letter for letter in letters}
    assert len(results) == len(lines) and len(dead) == len(letters), "something is there twice"
    assert sorted([*results, *dead]) == list(range(CHUNKS)), (len(results), len(dead))
    # Of 300 chunks 8 die on average; that none does, or 60, has a probability of 0.0003, or 0.
    assert 0 < len(dead) < 60, len(dead)
    assert said["completed"] == len(results) and said["dead_letters"] == len(dead), said

    total = sum(line["result_summary"]["sum"] for line in lines)
    total += sum(sum(range(chunk * CHUNK, (chunk + 1) * CHUNK)) for chunk in dead)
    assert total == PARAMS * (PARAMS - 1) // 2, total

    assert all(letter["attempts"] == ATTEMPTS and letter["reason"] for letter in letters), letters
    assert all(1 <= line["attempt"] <= ATTEMPTS for line in lines)
    attempts = sum(line["attempt"] for line in lines) + ATTEMPTS * len(dead)
    assert said["attempts"] == attempts > 1.2 * CHUNKS, (said, attempts)
    shown = json.loads(run([TTG, "dlq", "show", letters[0]["chunk"], "--queue", url, "--job", "faulty",
                            "--json"]).out)
    assert [r["attempt"] for r in shown["reasons"]] == [1, 2, 3], shown
    permanent(url, *options)


def permanent(url, *options):
    out = os.path.join(temp_dir(), "out")
    to = ["--queue", url, "--job", "hopeless"]
    done = run([TTG, "run", *to, "--params", 8, "--chunk", 1, "--workers", 2, "--output", out, "--json",
                *options, "--", "/bin/sh", "-c", "[ {chunk} -lt 5 ] || { echo never >&2; exit 100; }"],
               code=1)
    said = json.loads(done.out)
    assert said["completed"] == 5 and said["dead_letters"] == 3 and said["attempts"] == 8, said
    letters = [json.loads(line) for line in run([TTG, "dlq", "list", *to, "--json"]).out.splitlines()]
    assert sorted(letter["chunk"] for letter in letters) == [5, 6, 7], letters
    assert all(d["attempts"] == 1 and "never" in d["reason"] for d in letters), letters
    assert "1 chunks" in run([TTG, "dlq", "redrive", 5, *to]).out
    run([TTG, "dlq", "redrive", 5, *to], code=2)
    assert "2 chunks" in run([TTG, "dlq", "redrive", "--all", *to]).out
    assert "0 chunks" in run([TTG, "dlq", "redrive", "--all", *to]).out


@test
def on_an_embedded_node():
    faults(f"embedded:{temp_dir()}/j")


@test
def on_a_node():
    faults(f"ttg+unix:{Node().unix}")


@test
def on_redis():
    faults(Redis().url)


@test
def behind_sentinels():
    faults(Sentinels().url)


@test
def on_a_redis_cluster():
    faults(Cluster().url, "--redis-wait", 1)


def rabbit():
    if not _rabbit:
        _rabbit.append(Rabbit())
    broker = _rabbit[0]
    for name in broker.queues():
        broker.api("DELETE", f"queues/%2F/{name}")
    return broker.url


@test
def on_rabbitmq_with_classic_queues():
    faults(rabbit(), "--queue-type", "classic")


@test
def on_rabbitmq_with_quorum_queues():
    faults(rabbit(), "--queue-type", "quorum")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pipelines under fire: the result of the sales example equals a plain program's whatever is killed,
on a node, Redis and RabbitMQ; who lost a partition sends and writes nothing more; killed at each
system call, an aggregate and a sink count once. SOAK=1 runs the full counts (make soak)."""
import collections
import json
import os
import random
import signal
import time

from harness import main, skip, temp_dir, test, wait_until
from pipelinerig import Inbox, Instance, Pipeline, Redis, check_sales, go_on, held_back, medians_with_kills, \
    rabbit, redis, run_with_kills, sales
from statefulrig import shim

SOAK = os.environ.get("SOAK")


def sales_with_kills(queue, count, kills, seed, name="sales", env=None):
    p = sales(count, queue, name)
    p.env.update(env or {})
    print(f"# {run_with_kills(p, kills, seed)} kills")
    check_sales(p, count)


# ---- the show

@test
def sales_on_a_node_with_kills_in_every_stage_and_of_the_supervisor():
    sales_with_kills(None, 500000 if SOAK else 15000, 300 if SOAK else 15, 1)


@test
def sales_on_redis_with_kills():
    sales_with_kills(redis(), 300000 if SOAK else 10000, 200 if SOAK else 8, 2)


@test
def sales_on_rabbitmq_with_kills():
    sales_with_kills(rabbit().url, 100000 if SOAK else 3000, 100 if SOAK else 4, 3)


@test
def sales_on_quorum_queues_with_kills():
    sales_with_kills(rabbit().url, 50000 if SOAK else 2000, 50 if SOAK else 3, 4, name="quorum",
                     env={"TTG_QUEUE_TYPE": "quorum"})


@test
def a_command_and_a_library_aggregate_with_kills_on_rabbitmq():
    medians_with_kills(rabbit().url, 50000 if SOAK else 2000, 100 if SOAK else 4, 7)


@test
def sales_while_redis_is_killed_and_comes_back():
    server = Redis(sync="always")
    p = sales(15000, f"redis://127.0.0.1:{server.port}")
    running = p.start()
    for share in (2000, 8000):
        wait_until(lambda: p.stage("sum").get("in", 0) > share or running.code() is not None)
        server.kill()
        server.start()
    assert running.wait(60) == 0, running.err()[-3000:]
    check_sales(p, 15000)


# ---- who lost a partition

SUM = [{"name": "sum", "input": True, "aggregate": "sum"},
       {"name": "out", "from": "sum", "sink": "out.jsonl"}]


def numbers(count, clients=("a", "b")):
    return [{"id": f"m{n}", "client": clients[n % len(clients)], "value": n} for n in range(count)]


END = {"id": "end", "client": "*", "end": True}


def expected(count):
    return {c: sum(n for n in range(count) if n % 2 == i) for i, c in enumerate("ab")}


def a_stopped_owner_is_fenced(kind, count):
    inbox = Inbox(kind, "fence")
    p = Pipeline(SUM, inbox.url, "fence")
    os.mkdir(p.state)
    first = Instance(p, "sum")
    first.order("own 0 100")
    wait_until(lambda: first.part().get("owned"))
    inbox.put(numbers(count))
    wait_until(lambda: first.part()["in"] > 0)
    first.process.stop()
    second = Instance(p, "sum")
    second.order("own 0 101")
    inbox.put([END])
    wait_until(lambda: second.part()["finished"])
    first.process.cont()
    if kind == "rabbitmq": # it finds its connection closed and waits until the inbox is free
        second.stop()
    lost = wait_until(lambda: [r for r in first.reports() if "lost" in r], 60)
    assert lost[0]["epoch"] == 100, lost
    assert lost[0]["code"] == -1007, lost
    data = [m for m in inbox.sent() if "end" not in m]
    assert {m["client"]: m["value"] for m in data} == expected(count), data
    assert len(data) == 2, data
    assert os.listdir(os.path.join(p.state, "sum.0")) == ["101"] or \
        sorted(os.listdir(os.path.join(p.state, "sum.0"))) == ["100", "101"]
    if kind != "rabbitmq":
        second.stop()


@test
def a_stopped_owner_that_wakes_up_is_fenced_by_its_epoch_on_a_node():
    a_stopped_owner_is_fenced("node", 10000)


@test
def a_stopped_owner_that_wakes_up_is_fenced_by_its_epoch_on_redis():
    a_stopped_owner_is_fenced("redis", 10000)


@test
def a_stopped_owner_that_wakes_up_is_fenced_on_rabbitmq():
    a_stopped_owner_is_fenced("rabbitmq", 60)


@test
def a_stopped_instance_is_killed_and_its_partitions_move():
    p = sales(10000)
    held_back(p, 10000, 5000)
    running = p.start()
    pid = wait_until(lambda: p.pids("sum"))[0]
    os.kill(pid, signal.SIGSTOP)
    running.wait_for(r"instance.silent stage=sum")
    go_on(p)
    assert running.wait(60) == 0
    check_sales(p, 10000)


# ---- a kill at each step

# What an aggregate and a sink do to the world outside, in the order of a life.
STEPS = ("open", "connect", "send", "recv", "pwrite", "mkdir", "rename", "openat", "fallocate",
         "fsync", "renameat", "fdatasync", "write", "ftruncate", "unlinkat")
LATER = ("send", "recv", "pwrite", "fdatasync", "write") # and again
WHEN = ("before", "after", "half")


def lives_of(p, stage, shims):
    """Owners of the partition one after the other, each dying where its shim says, and a last one
    that lives. Yields whether each died."""
    for epoch, variables in enumerate([*shims, {}], 100):
        one = Instance(p, stage, **variables)
        one.order(f"own 0 {epoch}")
        wait_until(lambda: one.process.code() is not None or one.part()["finished"], 60)
        one.order("stop")
        code = one.process.wait()
        if code == 0 and not variables:
            break
        assert code in (0, -signal.SIGKILL) and variables, f"{code}: {one.process.err()}"
        yield code != 0


def kills(inbox, name, *shims):
    """Of owners of `sum` and of `out` in a pipeline of its own; how many died."""
    inbox.name = name
    p = Pipeline(SUM, inbox.url, name)
    os.mkdir(p.state)
    inbox.put(numbers(40) + [END])
    deaths = sum(sum(lives_of(p, stage, shims)) for stage in ("sum", "out"))
    got = p.lines()
    assert {m["client"]: m["value"] for m in got} == expected(40), (name, got)
    assert len(got) == 2, (name, got)
    return deaths


@test
def killed_at_each_kind_of_call_an_aggregate_and_a_sink_count_once():
    inbox, log = Inbox("node", "x"), os.path.join(temp_dir(), "kills")
    deaths = 0
    for i, call in enumerate(STEPS):
        shims = [shim(1, WHEN[i % 2], log, call)]
        if call in LATER:
            shims.append(shim(3, WHEN[1 + i % 2], log, call))
        if call == "rename": # what another has left is taken over
            shims.insert(0, shim(1, "before", log, "fdatasync"))
        deaths += kills(inbox, call, *shims)
    with open(log, encoding="utf-8") as file:
        calls = collections.Counter(line.split()[1] for line in file)
    print(f"# {deaths} deaths, at {dict(calls)}")
    assert deaths == sum(calls.values()), deaths
    assert not set(STEPS) - set(calls), set(STEPS) - set(calls)


@test
def killed_at_each_single_call_an_aggregate_and_a_sink_count_once():
    if not SOAK:
        skip("some hundred lives; SOAK=1")
    inbox, log = Inbox("node", "x"), os.path.join(temp_dir(), "kills")
    for when in WHEN:
        at = 1
        while kills(inbox, f"{when}{at}", shim(at, when, log)):
            at += 1
        print(f"# {when}: {at - 1} calls")
        assert at > 40, at


main()

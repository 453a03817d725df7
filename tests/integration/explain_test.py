#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg explain` in every state that a job and a chunk can be in, on a node and on Redis."""
import json
import re
import threading
import time

from harness import TTG, main, run, test, wait_until
from noderig import Node
from redisrig import Job, Redis


class Pulse:
    """Says that a worker lives, as its pulse would: between two words of it whole programs run."""

    def __init__(self, beat):
        self.over = threading.Event()
        threading.Thread(target=self.run, args=[beat], daemon=True).start()

    def run(self, beat):
        while not self.over.wait(0.3):
            try:
                beat()
            except Exception:  # it has left, or the server has gone
                return


class OnNode:
    """The same words as redisrig.Job has, for a node."""

    def __init__(self):
        self.node = Node()
        self.url = f"ttg+unix:{self.node.unix}"
        self.raw = self.node.raw()

    def create(self, params, **options):
        words = [w for pair in options.items() for w in pair]
        self.raw("TTG.JOB", "CREATE", "j", "FIRST", 0, "LAST", params - 1, "CHUNK", 1, *words)

    def join(self, worker):
        self.raw("TTG.JOIN", "j", worker, 1, "SLOTS", 1)
        own = self.node.raw()
        return Pulse(lambda: own("TTG.BEAT", "j", worker, 1))

    def take(self, worker, count=1):
        _, *runs = self.raw("TTG.TAKE", "j", worker, 1, "COUNT", count)
        return [(runs[i] + k, runs[i + 2] + k) for i in range(0, len(runs), 4) for k in range(runs[i + 1])]

    def commit(self, worker, leases, us=1000):
        for chunk, epoch in leases:
            self.raw("TTG.COMMIT", "j", worker, 1, chunk, epoch, us, "s", chunk)

    def fail(self, worker, lease, final=False):
        self.raw("TTG.FAIL", "j", worker, 1, *lease, "FINAL" if final else "RETRY", "no such file")

    def __call__(self, verb, *words):
        names = {"release": ("TTG.RELEASE",), "control": ("TTG.JOB", words[0]), "dead_drop": ("TTG.DEAD", "DROP"),
                 "leave": ("TTG.LEAVE",)}
        self.raw(*names[verb], "j", *(words[1:] if verb == "control" else words))


class OnRedis(Job):
    def __init__(self):
        super().__init__(Redis())
        self.url = self.server.url

    def join(self, worker):
        super().join(worker)
        return Pulse(lambda: self("beat", worker, 1))

    def fail(self, worker, lease, final=False):
        super().fail(worker, lease, "no such file", final)


def on_both(function):
    for kind in (OnNode, OnRedis):
        def case(kind=kind):
            function(kind())
        case.__name__ = f"{function.__name__}_{kind.__name__.lower()}"
        test(case)


def explain(q, *chunk):
    return json.loads(run([TTG, "explain", "--queue", q.url, "j", *chunk, "--json"]).out)


def check(q, chunk, place, why, **more):
    got = explain(q, chunk)
    assert got["place"] == place and why in got["why"], got
    for name, expected in more.items():
        value = got[name]
        assert expected(value) if callable(expected) else value == expected, (name, got)
    text = run([TTG, "explain", "--queue", q.url, "j", chunk]).out
    assert text.startswith(f"job j, chunk {chunk}: {place}: "), text
    return text


def just_now(ms):
    return abs(ms / 1000 - time.time()) < 60


@on_both
def each_place_of_a_chunk(q):
    q.create(12, WINDOW=8, RETRYMIN=60000, RETRYMAX=60000, RETRYJITTER=0, MAXATTEMPTS=3)
    redis = isinstance(q, OnRedis)
    for chunk, place in (5, "fresh"), (11, "unfed"):
        check(q, chunk, place, "no worker is here")
    q.join("w")
    check(q, 5, "fresh", "waits for a free worker")
    check(q, 11, "unfed", "window has not reached it")
    check(q, 12, "none", "has no such chunk")
    done = q.take("w")
    q.commit("w", done)
    check(q, 0, "done", "result")
    (failed,) = q.take("w")
    q.fail("w", failed)
    text = check(q, 1, "delayed", "waits until it is due", attempts=1, reason="no such file",
                 due_ms=lambda ms: 30 < ms / 1000 - time.time() < 90)
    assert "due  " in text and "last error no such file" in text, text
    (dead,) = q.take("w")
    q.fail("w", dead, final=True)
    check(q, 2, "dead", "`ttg dlq redrive`", attempts=1, reason="no such file")
    (dropped,) = q.take("w")
    q.fail("w", dropped, final=True)
    q("dead_drop", 3)
    check(q, 3, *(("done", "was dropped") if redis else ("dropped", "for good")))
    (held,) = q.take("w")
    check(q, 4, "leased", "worker", worker="w", since_ms=just_now)
    q("release", "w", 1)
    check(q, held[0], "ready", "next in line for a free worker", attempts=0)
    # What holds up the job holds up its chunks.
    q("control", "PAUSE")
    for chunk, place in (held[0], "ready"), (5, "fresh"), (11, "unfed"), (1, "delayed"):
        check(q, chunk, place, "the job is paused: `ttg resume`")
    check(q, 0, "done", "result")
    q("control", "CANCEL")
    if not redis:  # where a job's keys go at once
        check(q, 5, "fresh", "the job was canceled")
        check(q, 1, "delayed", "the job was canceled")
    run([TTG, "explain", "--queue", q.url, "j", "x"], code=2, err="no number of a chunk")


@on_both
def each_state_of_a_job(q):
    q.create(3, RETRYMIN=60000, RETRYMAX=60000, RETRYJITTER=0)

    def why():
        got = explain(q)
        return f"{got['place']}: {got['why']}"
    assert why() == "running: no worker is here: `ttg worker` starts one", why()
    q.join("w")
    assert why() == "running: chunks wait for a free worker", why()
    q("control", "PAUSE")
    assert why().startswith("paused: ") and "ttg resume" in why(), why()
    q("control", "RESUME")
    for _ in range(3):
        (lease,) = q.take("w")
        if lease[0] < 2:
            q.fail("w", lease)
        else:
            assert why() == "running: workers run all open chunks but those that wait for their retry", why()
            q.commit("w", [lease])
    assert why() == "running: all open chunks wait for their retry", why()
    q("control", "CANCEL")
    if isinstance(q, OnNode):
        assert why() == "canceled: it was canceled: no chunk runs any more", why()


@test
def the_end_is_left_to_quicker_workers():
    q = OnNode()
    q.create(20)
    q.join("quick")
    q.join("slow")
    for _ in range(5):
        for worker, seconds in ("quick", 5), ("slow", 100):
            q.commit(worker, q.take(worker), seconds * 1000000)
    # Both are free, and one of them may take.
    check(q, 19, "fresh", "it waits for a free worker")
    (held,) = q.take("quick")
    left = "left to quicker workers on purpose: slow is free, but"
    got = explain(q)
    assert got["place"] == "running" and left in got["why"], got
    check(q, 19, "fresh", left, worker="")
    check(q, held[0], "leased", "the worker runs it", worker="quick")
    q("release", "quick", 1)  # who gives back is not counted on for a while
    check(q, 19, "fresh", "it waits for a free worker")


@on_both
def an_ended_job(q):
    q.create(2)
    q.join("w")
    q.commit("w", q.take("w"))
    (lease,) = q.take("w")
    q.fail("w", lease, final=True)
    got = explain(q)
    assert got["place"] == "finished", got
    assert got["why"] == "it ended with dead letters: `ttg dlq list` shows them", got
    run([TTG, "explain", "--queue", q.url, "nope"], code=2, err="there is no job nope")


@test
def a_worker_that_nobody_hears_of_on_redis():
    q = OnRedis()
    q.create(4)
    pulse = q.join("w")
    q.take("w")
    check(q, 0, "leased", "the worker runs it", worker="w")
    pulse.over.set()
    wait_until(lambda: "heard" in explain(q, 0)["why"], what="the silence")
    text = check(q, 0, "leased", "nobody has heard of the worker for ", worker="w")
    assert float(re.search(r"of the worker for ([\d.]+) s", text)[1]) >= 2, text
    check(q, 2, "fresh", "no worker was heard of for ")
    assert "no worker was heard of for " in explain(q)["why"]


@test
def a_long_reason_is_indented():
    q = OnNode()
    q.create(1, MAXATTEMPTS=1)
    q.join("w")
    q.raw("TTG.FAIL", "j", "w", 1, *q.take("w")[0], "RETRY", "exit status 1\nno such file:\nin.1\n")
    text = run([TTG, "explain", "--queue", q.url, "j", 0]).out
    assert text.endswith("last error exit status 1\n           no such file:\n           in.1\n"), text


main()

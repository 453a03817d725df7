#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs by hand: submit, status, wait, results, pause, cancel, dlq, explain; on a node and on Redis."""
import json
import os
import random
import signal

from faultrig import Proxy
from harness import TTG, main, run, spawn, test, wait_until
from jobrig import Jobs, counted
from noderig import Node
from redisrig import Redis


class Embedded(Jobs):
    """A queue in a directory; nobody runs its node but the commands themselves."""

    def __init__(self):
        super().__init__()
        self.url = "embedded:" + self.path("queue")

    def to(self, *words):
        return (words[0], "-q", self.url, *words[1:])

    def work(self, *words, job="j", **checks):
        """A worker until the job has ended, with a node of its own if need be."""
        socket = os.path.join(self.path("queue"), "node.sock")
        data = os.path.join(self.path("queue"), "node")

        def serves():
            """The node of a command that was killed may still be on its way out."""
            node = self.spawn("node", "--data", data, "--unix", socket, "--log-level", "WARN")
            wait_until(lambda: "ready" in node.out() or node.code() is not None)
            return node if node.code() is None else None
        node = wait_until(serves, what="a node that serves")
        self.run("worker", "-q", "ttg+unix:" + socket, "--job", job, *words, **checks)
        node.kill(signal.SIGTERM)
        node.wait()


class OnRedis(Jobs):
    def __init__(self):
        super().__init__()
        self.redis = Redis()
        self.url = self.redis.url

    def to(self, *words):
        return (words[0], "-q", self.url, *words[1:])

    def work(self, *words, job="j", **checks):
        self.run("worker", "-q", self.url, "--job", job, *words, **checks)


def on_both(function):
    """Registers a test for each kind of queue."""
    for kind in (Embedded, OnRedis):
        def case(kind=kind):
            function(kind())
        case.__name__ = f"{function.__name__}_on_{kind.__name__.lower()}"
        test(case)
    return function


@on_both
def a_job_by_hand(j):
    spec = ["--params", 100, "--chunk", 10, "--simulate-ms", 0]
    made = json.loads(j.run(*j.to("submit", "j", "--json", *spec)).out)
    assert made == {"job": "j", "created": True, "chunks": 10, "params": 100}, made
    assert json.loads(j.run(*j.to("submit", "j", "--json", *spec)).out)["created"] is False
    j.run(*j.to("submit", "j", "--params", 100, "--chunk", 20), code=2, err="exists with")
    j.run(*j.to("status", "j"), out="10: 0 done, 0 at work, 10 waiting")
    j.run(*j.to("explain", "j"), out="no worker is here")
    j.run(*j.to("wait", "j", "--timeout", 0.1), code=124, err="has not ended")
    j.run(*j.to("verify", "j"), code=4, out="10 chunks are still to be done")
    j.work("--simulate-ms", 0)
    j.run(*j.to("wait", "j"), out="10 of 10 chunks")
    s = json.loads(j.run(*j.to("status", "j", "--json")).out)
    assert s["state"] == "finished" and s["completed"] == 10 and s["sum"] == 4950, s
    assert s["verified"] is None and s["params"] == 100, s
    j.run(*j.to("status"), out=r"^j +finished +10 +10 +0 ")
    listed = json.loads(j.run(*j.to("status", "--json")).out)["jobs"]
    assert [job["job"] for job in listed] == ["j"], listed
    rows = [json.loads(line) for line in j.run(*j.to("results", "j", "--ordered")).out.splitlines()]
    assert [int(r["chunk_id"]) for r in rows] == list(range(10))
    j.run(*j.to("verify", "j"), out="10 of 10 chunks have exactly one result, sum 4950")
    j.run(*j.to("explain", "j", "3"), out="chunk 3: done")
    j.run(*j.to("submit", "j", *spec), code=2, err="has finished already|has ended")
    j.run(*j.to("status", "nope"), code=2, err="there is no job nope")


@on_both
def results_of_a_job_that_has_not_ended(j):
    """Those there are, and no waiting for more."""
    command = ["sh", "-c", "[ $1 -ne 3 ] || kill -TERM $PPID; echo done", "sh", "{start}"]
    j.run(*j.to("submit", "j", "--params", 100, "--chunk", 1, "--", *command))
    assert j.run(*j.to("results", "j")).out == ""
    j.work("--", *command, code=143)  # its fourth chunk tells it to leave
    done = json.loads(j.run(*j.to("status", "j", "--json")).out)["completed"]
    rows = [json.loads(line) for line in j.run(*j.to("results", "j")).out.splitlines()]
    assert 4 <= done < 100 and [int(r["chunk_id"]) for r in rows] == list(range(done)), (done, rows)
    j.run(*j.to("results", "j", "-o", j.output))
    j.work("--", *command)
    j.run(*j.to("results", "j", "-o", j.output, "--resume"))
    assert sorted(j.chunks()) == list(range(100))


@on_both
def results_into_a_file(j):
    j.run(*j.to("submit", "j", "--params", 50, "--chunk", 1))
    follower = j.spawn(*j.to("results", "j", "--follow", "-o", j.output, "--trim"))
    wait_until(lambda: os.path.exists(j.output + ".cursor"), what="the cursor")
    if isinstance(j, OnRedis):
        j.work("--simulate-ms", 0)
        assert follower.wait() == 0, follower.err()
    else:
        follower.kill()
        follower.wait()
        j.work("--simulate-ms", 0)
        j.run(*j.to("results", "j", "--follow", "-o", j.output, "--resume"))
    assert sorted(j.chunks()) == list(range(50))
    assert not os.path.exists(j.output + ".cursor")
    j.run(*j.to("results", "j", "-o", j.output), code=2, err="not empty")
    j.run(*j.to("results", "j", "--trim"), code=2, err="need --output")
    j.run(*j.to("verify", "j", "-o", j.output), out="digest as in the ledger")


@on_both
def pause_resume_cancel(j):
    command, executions = counted(j)
    j.run(*j.to("submit", "j", "--params", 20, "--chunk", 1, "--", *command))
    j.run(*j.to("pause", "j"), out="paused")
    j.run(*j.to("status", "j"), out="state +paused")
    j.run(*j.to("explain", "j"), out="paused")
    j.run(*j.to("resume", "j"), out="goes on")
    j.work("--", *command)
    assert len(executions()) == 20
    j.run(*j.to("pause", "j"), code=2, err="finished|ended")
    j.run(*j.to("submit", "k", "--params", 20, "--chunk", 1))
    j.run(*j.to("cancel", "k"), out="canceled")
    j.run(*j.to("wait", "k"), code=1)


@on_both
def a_forgotten_job_makes_room_for_another(j):
    words = ("submit", "j", "--params", 20, "--chunk", 1)
    j.run(*j.to(*words))
    j.work("--simulate-ms", 0)
    j.run(*j.to(*words), code=2, err="cancel --forget")
    j.run(*j.to("cancel", "j", "--forget"), out="forgotten")
    j.run(*j.to("status", "j"), code=2, err="no job j")
    j.run(*j.to("submit", "j", "--params", 30, "--chunk", 1))
    j.run(*j.to("cancel", "j", "--forget"), out="forgotten") # one that runs, too
    j.run(*j.to("cancel", "j", "--forget"), code=2, err="no job j")


@on_both
def dead_letters(j):
    command = ["sh", "-c", "[ $TTG_CHUNK -lt 5 ] || { echo why >&2; exit 1; }; cat"]
    j.run(*j.to("submit", "j", "--params", 8, "--chunk", 1, "--max-attempts", 2,
                "--retry-delay", 0, "--", *command))
    j.work("--", *command)
    j.run(*j.to("wait", "j"), code=1, out="3 dead letters")
    letters = [json.loads(line) for line in
               j.run(*j.to("dlq", "list", "--job", "j", "--json")).out.splitlines()]
    assert sorted(l["chunk"] for l in letters) == [5, 6, 7], letters
    j.run(*j.to("dlq", "list", "j"), out="exit status 1")
    j.run(*j.to("dlq", "list", "j", "--job", "k"), code=2, err="different jobs")
    j.run(*j.to("dlq", "list", "k"), code=2, err="there is no job k")
    shown = json.loads(j.run(*j.to("dlq", "show", "j", 6, "--json")).out)
    assert len(shown["reasons"]) == 2 and shown["start_param"] == 6, shown
    j.run(*j.to("dlq", "show", 1, "--job", "j"), code=2, err="no dead letter")
    j.run(*j.to("dlq", "redrive", "j", 1), code=2, err="no dead letter")
    j.run(*j.to("verify", "j"), out="5 of 8 chunks have exactly one result, 3 were given up")
    assert j.run(*j.to("dlq", "drop", "j", 5, "--json")).out == '{"job":"j","dropped":1}\n'
    assert j.run(*j.to("dlq", "redrive", "j", 6, "--json")).out == '{"job":"j","redriven":1}\n'
    j.run(*j.to("dlq", "redrive", "j", "--all"), out="1 chunks of job j are tried again")
    j.work("--", "cat")
    s = json.loads(j.run(*j.to("status", "j", "--json")).out)
    assert s["completed"] == 7 and s["dropped"] == 1 and s["state"] == "finished", s
    j.run(*j.to("dlq", "list", "--job", "j"), out="no dead letters")


@on_both
def a_run_joins_a_job_that_was_submitted(j):
    spec = ["--params", 60, "--chunk", 3, "--simulate-ms", 0]
    j.run(*j.to("submit", "j", *spec))
    s = json.loads(j.run(*j.to("run", "--job", "j", "-w", 2, "--json", "-o", j.output, *spec)).out)
    assert s["completed"] == 20 and s["verified"] is True and s["sum"] == 1770, s
    j.run(*j.to("run", "--job", "j", *spec), code=2, err="has finished already|has ended")


@test
def a_run_on_redis_survives_it():
    j = OnRedis()
    p = j.spawn(*j.to("run", "--job", "j", "--params", 300, "--chunk", 2, "-w", 2, "--simulate-ms", 10,
                      "--json", "-o", j.output))
    wait_until(lambda: len(j.lines()) >= 10, what="ten results")
    j.redis.kill()
    j.redis.start()
    assert p.wait(60) == 0, p.err()
    s = json.loads(p.out())
    assert s["completed"] == 150 and s["verified"] is True and s["sum"] == 44850, s


@test
def questions_of_usage():
    j = Jobs()
    j.run("submit", "--params", 5, code=2, err="--queue is missing")
    j.run("status", code=2, err="no job is kept")
    j.run("status", "-q", "embedded:" + j.path("nowhere"), code=2, err="no embedded queue")
    j.run("status", "-q", "redis://127.0.0.1:1", "--queue-retry", 0, code=3)
    j.run("dlq", code=2, err="list, show, redrive or drop")
    j.run("dlq", "j", "list", code=2, err="'j' is none of list, show, redrive and drop")
    j.run("dlq", "show", "x", code=2, err="no number of a chunk")
    j.run("dlq", "redrive", code=2, err="or --all")
    j.run("dlq", "redrive", "j", code=2, err="'j' is no number of a chunk: redrive takes .*, or --all")
    j.run("dlq", "redrive", "j", 3, "--all", code=2, err="or --all")
    j.run("dlq", "show", "--all", code=2, err="show takes the number of a chunk, and before")
    j.run("dlq", "list", "j", 3, code=2, err="list takes no chunk")
    j.run("explain", "a b", code=2, err="no name of a job")
    j.run("verify", "--chunks", 5, code=2, err="needs --output")

@test
def forgotten_though_the_answer_was_lost():
    node = Node()
    proxy = Proxy(node.port)
    run([TTG, "submit", "j", "-q", f"ttg://127.0.0.1:{node.port}", "--params", "10", "--chunk", "1"])
    proxy.no_answer_after(b"FORGET")
    cancel = spawn([TTG, "cancel", "j", "--forget", "-q", f"ttg://127.0.0.1:{proxy.port}"])
    wait_until(lambda: node.raw()("TTG.JOB", "LIST") == [], what="no job")
    proxy.last_word = None
    assert proxy.cut(random) == 1 and cancel.code() is None  # so it asks again
    assert cancel.wait() == 0, cancel.err()
    proxy.close()


main()

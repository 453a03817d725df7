#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chunks that kill their worker: dead letters with the signal and what was said last."""
import os
import signal
import subprocess

from harness import ROOT, TTG, alive, main, skip, test, wait_until, write_file
from jobrig import Jobs, children
from redisrig import Redis

PLUGIN = r"""
#include <ttg/plugin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static int run(void *state, struct ttg_call *call)
{
    (void)state;
    if (call->chunk == 2) {
        fprintf(stderr, "the matrix is singular\nno way out\n");
        %s;
    }
    ttg_sum(call, 1);
    return TTG_DONE;
}
TTG_PLUGIN(.name = "deadly", .run = run);
"""


def plugin(jobs, end):
    source = write_file(jobs.path("deadly.c"), PLUGIN % end)
    made = subprocess.run(["cc", "-std=gnu11", "-shared", "-fPIC", f"-I{ROOT}/include", source,
                           "-o", jobs.path("deadly.so")], check=False)
    if made.returncode:
        skip("no C compiler")
    return ["--plugin", jobs.path("deadly.so")]


def command(jobs, url):
    """Chunk 2 kills the process that runs it, the others are done; each says so. It waits for the results of
    those that were done before: with one on its way still, that chunk would be the one to blame."""
    done = jobs.path("done")
    os.makedirs(done, exist_ok=True)
    status = f"'{TTG}' status -q '{url}' deadly --json 2>&1"
    return ["sh", "-c", "echo about to do {chunk} >&2; "
            f"if [ {{chunk}} != 2 ]; then : >{done}/{{chunk}}; echo done; exit; fi; "
            f"until told=$({status}); expr \"$told\" : \".*\\\"completed\\\":$(ls {done} | wc -l),\" >{done}.it; do "
            "sleep 0.02; done; kill -KILL $PPID; sleep 5"]


def deadly(jobs, place, *kernel, workers=2):
    """Runs the job; what `dlq show` says of chunk 2, attempt by attempt."""
    done = jobs.run("run", "-q", place, "--job", "deadly", "--params", 40, "--chunk", 10,
                    "--max-attempts", 3, "-w", workers, "-o", jobs.output, *kernel, code=1)
    assert "3 of 4 chunks" in done.err and "1 dead letters" in done.err, done.err
    assert sorted(jobs.chunks()) == [0, 1, 3]
    shown = jobs.run("dlq", "show", 2, "-q", place, "--job", "deadly").out
    parts = shown.split("\nattempt ")
    assert len(parts) == 4, shown
    return parts[1:], done.err


@test
def a_command_that_kills_its_worker():
    j = Jobs()
    place = f"embedded:{j.path('place')}"
    attempts, err = deadly(j, place, "--", *command(j, place))
    for text in attempts:
        assert "killed by SIGKILL" in text and 'line="about to do 2"' in text, text
    (dead,) = [line for line in err.splitlines() if "chunk.dead" in line]
    assert "killed by SIGKILL" in dead and "about to do 2" in dead, dead
    assert err.count("worker.lost") == err.count("was killed by SIGKILL") == 3, err
    shown = [line.split()[2] for line in err.splitlines() if " INFO " in line[:40]]
    assert "command.stderr" not in shown, "what is below the level of the log is not shown"


@test
def a_plugin_that_crashes():
    j = Jobs()
    fault = "signal(SIGSEGV, SIG_DFL); *(volatile int *)8 = 1"
    attempts, err = deadly(j, f"embedded:{j.path('place')}", *plugin(j, fault))
    for text in attempts:
        assert "killed by SIGSEGV" in text, text
        assert "the matrix is singular\nno way out" in text, text
    # A worker may die before its result of the chunk before is told: that one is then charged.
    assert err.count("the matrix is singular\n") >= 3, "it is shown all the same"


@test
def a_plugin_that_exits():
    j = Jobs()
    attempts, _ = deadly(j, f"embedded:{j.path('place')}", *plugin(j, "exit(7)"), workers=1)
    for text in attempts:
        assert "ended with exit code 7" in text and "no way out" in text, text


class Place:
    """A node or a Redis with a submitted job of four chunks."""

    def __init__(self, jobs, redis):
        if redis:
            self.url = Redis().url
        else:
            path = jobs.path("node.sock")
            jobs.spawn("node", "--data", jobs.path("data"), "--unix", path).wait_for("ready")
            self.url = "ttg+unix:" + path
        jobs.run("submit", "-q", self.url, "--job", "deadly", "--params", 40, "--chunk", 10,
                 "--max-attempts", 3, "--", *command(jobs, self.url))


def worker_alone(redis):
    j = Jobs()
    place = Place(j, redis)
    done = j.run("worker", "-q", place.url, "--job", "deadly", "--restart", "--name", "w", "--",
                 *command(j, place.url))
    assert done.err.count("WARN worker.died") == 3, done.err
    shown = j.run("dlq", "show", 2, "-q", place.url, "--job", "deadly").out
    assert shown.count("killed by SIGKILL") == 3 and "on w," in shown, shown
    assert 'line="about to do 2"' in shown, shown


@test
def a_worker_alone_with_a_parent_that_starts_it_again():
    worker_alone(redis=False)


@test
def the_same_on_redis():
    worker_alone(redis=True)


@test
def the_parent_of_a_worker_passes_on_what_it_is_told():
    j = Jobs()
    place = Place(j, redis=False)
    words = ["worker", "-q", place.url, "--job", "deadly", "--restart", "--", "sleep", "600"]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        p = j.spawn(*words[:6], "--drain", 0, *words[6:])
        p.wait_for("worker.joined")
        wait_until(lambda: any(len(children(w)) == 2 for w in children(p.pid)), what="a chunk runs")
        p.kill(number)
        assert p.wait() == code, p.err()
    p = j.spawn(*words[:6], "--drain", 0, *words[6:])
    p.wait_for("worker.joined")
    (worker,) = children(p.pid)
    p.kill(signal.SIGKILL)
    wait_until(lambda: not alive(worker), what="the worker ends with its parent")
    # Its own decisions stay: the queue is away, the command is wrong.
    j.run("worker", "-q", "ttg+unix:" + j.path("nowhere"), "--queue-retry", 0, "--restart", code=3)
    j.run("worker", "-q", place.url, "--job", "deadly", "--restart", "--", "no-such-command", code=2)
    j.run("worker", "--restart", code=2, err="needs --queue")


@test
def on_redis():
    j = Jobs()
    server = Redis()
    attempts, _ = deadly(j, server.url, "--", *command(j, server.url))
    for text in attempts:
        assert "killed by SIGKILL" in text and 'line="about to do 2"' in text, text
    j.run("run", "-q", server.url, "--job", "next", "--params", 10, "--simulate-ms", 0)


main()

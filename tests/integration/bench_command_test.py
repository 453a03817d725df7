#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg bench`: figures of proven runs only, and nothing left behind. Not how fast."""
import json
import os
import re

from demorig import Demo
from harness import TTG, main, run, spawn, test, wait_until
from redisrig import Redis

QUICK = [TTG, "bench", "--workers", "2", "--seconds", "0.01"]
KINDS = ("noop", "round_trip", "command")


def figures(demo, *words, env=None):
    done = run([*QUICK, "--json", *words], env={**demo.env, **(env or {})})
    assert done.out.count("\n") == 1 and not done.err, done
    found = json.loads(done.out)
    assert found["workers"] == 2 and found["start_seconds"] > 0, found
    for kind in KINDS:
        f = found[kind]
        assert f["chunks"] > 0 and f["cpu_seconds_per_chunk"] > 0, found
        assert abs(f["chunks"] / f["seconds"] / f["chunks_per_second"] - 1) < 1e-3, found
    return found


@test
def an_embedded_queue_is_measured_and_removed():
    demo = Demo()
    assert figures(demo)["queue"] == "embedded"
    done = run(QUICK, env=demo.env)
    assert re.search(r"^start +[0-9.]+ [mu]?s ", done.out), done
    for what in ("no work", "one at a time", "a command each"):
        assert re.search(rf"^{what} +[0-9,]+ /s [0-9,]+ chunks in ", done.out, re.M), done
    assert "less than 1 % is lost" in done.out and not demo.files(), (done, demo.files())


@test
def a_queue_is_left_as_it_was():
    demo, server = Demo(), Redis()
    server.client.set("mine", "1")
    address = {"TTG_QUEUE": f"redis://127.0.0.1:{server.port}"}
    assert figures(demo, env=address)["queue"] == address["TTG_QUEUE"]
    assert server.client.keys("*") == [b"mine"], server.client.keys("*")
    assert not demo.files(), demo.files()


@test
def a_command_of_the_user_is_measured():
    demo = Demo()
    mark = os.path.join(demo.dir, "ran")
    figures(demo, "--", "sh", "-c", f"echo x >>{mark}")
    with open(mark, encoding="ascii") as file:
        assert len(file.read().split()) >= 20
    os.unlink(mark)
    run([*QUICK, "--", "/no/such"], env=demo.env, code=3, err="command not found: /no/such")
    failed = run([*QUICK, "--", "false"], env=demo.env, code=1, err="the run failed.*exit status 1")
    assert "a command each" not in failed.out, failed
    assert not demo.files(), demo.files()


@test
def what_cannot_be_measured_is_said():
    demo = Demo()
    run([*QUICK, "--queue", "redis://127.0.0.1:1", "--queue-retry", "0"], env=demo.env, code=3,
        err="start: the run failed: .*Connection refused")
    run([*QUICK, "--queue", "embedded:x"], env=demo.env, code=2, err="leave --queue out")
    run([*QUICK, "--workers", "0"], env=demo.env, code=2, err="--workers")
    assert not demo.files(), demo.files()


@test
def a_stopped_bench_leaves_nothing():
    for signo, code in ((2, 130), (15, 143)):
        demo = Demo()
        p = spawn([TTG, "bench", "--seconds", "60"], env=demo.env)
        p.wait_for("start ")
        wait_until(lambda: any(" worker " in c for c in demo.processes().values()),
                   what="a run's worker")
        os.kill(p.pid, signo)
        assert p.wait() == code, p.err()
        wait_until(lambda: not demo.processes(), what="its processes to be gone")
        assert not demo.files(), demo.files()


main()

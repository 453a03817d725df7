#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo` with a server of its own, interrupted or killed: nothing stays that runs."""
import os
import signal

from demorig import Demo, check_port_free, need, stopped
from harness import main, test, wait_until


def starting(backend):
    def start():
        demo = Demo()
        return demo, demo.spawn("--backend", backend)
    return start


def interrupted(backend, moment, number, code):
    need(backend)
    demo, process = stopped(starting(backend), moment, lambda _, p: p.kill(number), code)
    if "serves at" in process.out():
        check_port_free(process.out())
    demo.check_gone()


@test
def redis_interrupted_leaves_nothing():
    interrupted("redis", r"\$ ttg run", signal.SIGINT, 130)


@test
def rabbitmq_interrupted_while_it_starts_leaves_nothing():
    interrupted("rabbitmq", "starting a server", signal.SIGINT, 130)


@test
def rabbitmq_interrupted_while_it_works_leaves_nothing():
    interrupted("rabbitmq", r"\$ ttg run", signal.SIGTERM, 143)


@test
def a_server_that_dies_ends_it():
    need("redis")

    def kill_server(demo, process):
        wait_until(lambda: demo.lines() > 3 or process.code() is not None, what="some chunks")
        for pid in [pid for pid, line in demo.processes().items() if "redis-server" in line]:
            os.kill(pid, signal.SIGKILL)
    demo, process = stopped(starting("redis"), r"\$ ttg run", kill_server, 3)
    assert "the redis server ended (signal 9)" in process.err(), process.err()
    demo.check_gone()


@test
def killed_it_leaves_no_server():
    need("redis")
    demo = Demo()
    process = demo.spawn("--backend", "redis")
    process.wait_for(r"\$ ttg run")
    process.kill()
    process.wait()
    wait_until(lambda: not demo.processes(), what="all processes to be gone")


main()

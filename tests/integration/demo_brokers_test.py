#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo` with servers of its own: the story is told, and nothing stays, however it ends."""
import re

from demorig import Demo, check_port_free, check_story, need
from harness import main, test


def whole_demo(backend):
    need(backend)
    demo = Demo()
    done = demo.run("--backend", backend, "--scale", "small", "--fault-demo")
    check_story(done.out)
    check_port_free(done.out)
    demo.check_gone()
    return done


@test
def redis_tells_the_story():
    done = whole_demo("redis")
    assert re.search(r"worker-1 is lost \(killed by SIGKILL\): [12] leases? free again", done.out), done


@test
def rabbitmq_tells_the_story():
    whole_demo("rabbitmq")


main()

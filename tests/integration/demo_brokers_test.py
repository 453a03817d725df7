#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo` with servers of its own: the story is told, and nothing stays, however it ends."""
import json
import re

from demorig import Demo, check_port_free, check_story, need
from harness import main, test

ROW = re.compile(r"^(\w+) +([\d.]+) s +([\d.]+) s +([\d.]+ s|nothing) +(\d+ ms|-) +(\d+) ms  (.*)$", re.M)


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
    # After two seconds without a word the others would notice it by themselves.
    assert re.search(r"worker-1 is lost \((killed by SIGKILL|silent.*)\): [12] leases? free again", done.out), done


@test
def rabbitmq_tells_the_story():
    whole_demo("rabbitmq")


@test
def all_of_them_end_in_a_table():
    need("redis")
    need("rabbitmq")
    demo = Demo()
    done = demo.run("--backend", "all", "--scale", "medium", "--fault-demo", "--json", deadline_s=90)
    lines = {line["backend"]: line for line in map(json.loads, done.out.splitlines())}
    assert list(lines) == ["embedded", "redis", "rabbitmq"], done.out
    table = done.err[done.err.rindex("\nbackend "):]
    assert table.split("\n")[1].split() == ["backend", "undisturbed", "with", "kill", "cost", "noticed", "taken",
                                            "over", "result"], table
    rows = {row[0]: row[1:] for row in ROW.findall(table)}
    assert list(rows) == list(lines) and len(table.strip().splitlines()) == 4, table
    for backend, (before, after, _cost, _noticed, taken, result) in rows.items():
        line = lines[backend]
        assert result == "100 of 100, verified" and line["verified"] is True, (backend, table)
        assert int(taken) == line["takeover_ms"] and line["taken_over"] >= 1, (backend, table, line)
        assert abs(float(before) - line["undisturbed_seconds"]) < 0.006, (backend, table, line)
        assert abs(float(after) - line["seconds"]) < 0.006, (backend, table, line)
    demo.check_gone()


@test
def the_table_says_what_is_not_installed():
    demo = Demo()
    done = demo.run("--backend", "all", "--scale", "medium", env={"PATH": "/nonexistent"}, code=3)
    table = done.out[done.out.rindex("\nbackend "):]
    assert re.search(r"^embedded +[\d.]+ s  100 of 100, verified$", table, re.M), table
    assert re.search(r"^redis +redis-server is not installed; try: apt-get install", table, re.M), table
    assert re.search(r"^rabbitmq +RabbitMQ is not installed; try: apt-get install", table, re.M), table
    demo.check_gone()


main()

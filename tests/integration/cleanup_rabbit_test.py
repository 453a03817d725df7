#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg cleanup --rabbitmq` removes the queues of jobs, and no others; so does `ttg bench`; `ttg monitor`
on a broker."""
import json
import os
import re

from demorig import Demo
from harness import TTG, main, run, spawn, temp_dir, test, wait_until
from rabbitrig import Rabbit

_rabbit = []


def rabbit():
    if not _rabbit:
        _rabbit.append(Rabbit())
    return _rabbit[0]


def queues(broker):
    """Those that last: what is exclusive to a connection goes with it, a moment later."""
    return {name for name, q in broker.queues().items() if not q["exclusive"]}


@test
def foreign_queues_stay():
    broker, demo = rabbit(), Demo()
    management = f"http://127.0.0.1:{broker.http}"
    foreign = ["ttg.mine", "ttg.nobody.tasks", "mine", "ttg.job.mine", "xttg.job", "ttg.a.b.job"]
    for name in foreign:
        broker.api("PUT", f"queues/%2F/{name}", {"durable": True})
        broker.publish(name, {"mine": name})
    run([TTG, "submit", "sweep", "--queue", broker.url, "--params", "100", "--chunk", "10"])
    run([TTG, "run", "--queue", broker.url, "--params", "100", "--chunk", "10", "--simulate-ms", "0",
         "--workers", "1"])
    listed = run([TTG, "status", "--queue", broker.url, "--management", management, "--json"])
    jobs = {j["job"]: (j["state"], j["chunks"], j["completed"]) for j in json.loads(listed.out)["jobs"]}
    assert jobs == {"default": ("finished", 10, 10), "sweep": ("running", 10, 0)}, jobs
    run([TTG, "status", "--queue", broker.url, "--management", management],
        out=r"^default +finished +10 +10 ")
    ours = queues(broker) - set(foreign)
    assert "ttg.job" in ours and "ttg.sweep.job" in ours, ours
    words = [TTG, "cleanup", "--rabbitmq", "--queue", broker.url, "--management", management]
    done = run([*words, "--dry-run"], env=demo.env)
    found = sorted(re.findall(r"^  job +(\S+) on amqp://", done.out, re.M))
    assert found == ["default", "sweep"], done
    assert queues(broker) == ours | set(foreign)
    run([*words, "--force"], env=demo.env, err="removed 2 of 2")
    wait_until(lambda: queues(broker) <= set(foreign), what="the jobs' queues to be gone")
    assert queues(broker) == set(foreign), sorted(broker.queues())
    for name in foreign:
        assert [body for body, _ in broker.get(name)] == [{"mine": name}], name
    run(words, env=demo.env, out="nothing to remove")


@test
def without_the_management_api_it_says_so():
    broker, demo = rabbit(), Demo()
    run([TTG, "cleanup", "--rabbitmq", "--queue", broker.url, "--management", "http://127.0.0.1:1",
         "--force"], env=demo.env, code=3, err="rabbitmq-plugins enable rabbitmq_management")
    run([TTG, "status", "--queue", broker.url, "--management", "http://127.0.0.1:1"], code=3,
        err="rabbitmq-plugins enable rabbitmq_management.*or name one job")


@test
def a_bench_leaves_nothing_on_a_broker():
    broker = rabbit()
    before = queues(broker)
    run([TTG, "bench", "--queue", broker.url, "--workers", "2", "--seconds", "0.01", "--json"],
        out='"noop":{"chunks":')
    wait_until(lambda: queues(broker) == before, what="the jobs' queues to be gone")


@test
def the_monitor_sees_a_job_of_a_broker():
    broker = rabbit()
    job = spawn([TTG, "run", "--queue", broker.url, "--job", "watched", "--params", "1000000", "--chunk",
                 "10", "--simulate-ms", "10", "--workers", "2", "--output",
                 os.path.join(temp_dir(), "out"), "--progress"])
    job.wait_for("of|%|chunks")
    done = run([TTG, "monitor", "watched", "--queue", broker.url, "--once"])
    assert re.search(r"job  watched  running", done.out), done


main()

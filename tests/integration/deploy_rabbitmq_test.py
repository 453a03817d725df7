#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# alone
"""The RabbitMQ of deploy/, for real: its pod and those of its workers, and compose's profile, run by podman
with a worker killed -9; and `ttg demo` with that broker's image. The image holds Debian's RabbitMQ."""
import json
import os
import re
import shutil

import k8s_check
from demorig import Demo
from harness import ROOT, TTG, main, run, test, wait_until, write_file
from podrig import once

LONG_MS = "50"


@once
def _podman(new):
    new.import_base()
    new.make_rabbitmq()
    new.import_ttg()
    new.make_cluster()


def podman():
    made = _podman()
    made.clear()
    return made


def told(p, container, *words):
    """`ttg status` in a container of the cluster."""
    done = p("exec", container, "ttg", "status", "--json", "default", *words, code=None)
    return json.loads(done.out) if done.code == 0 else {"completed": 0}


def have_begun(p, workers, teller):
    """Waits until all are at work, and some chunks are done: `teller` says so."""
    for worker in workers:
        wait_until(lambda worker=worker: "worker.joined" in p.logs(worker), what=f"{worker} to join")
    wait_until(lambda: told(p, teller)["completed"] >= 5, what="five chunks")


@test
def workers_of_the_manifests_survive_a_kill():
    """rabbitmq.yaml and parallel-workers-standalone-rabbitmq.yaml as they are, but for longer chunks: on a busy
    machine the job would be over before somebody looks."""
    p = podman()
    broker = "ttg-rabbitmq-rabbitmq"
    things = k8s_check.read("deploy/k8s/manifests/rabbitmq.yaml")
    p.play(things)
    (pod,) = [thing for thing in things if thing["kind"] == "Pod"]
    for probe in ("startupProbe", "livenessProbe"):
        words = pod["spec"]["containers"][0][probe]["exec"]["command"]
        wait_until(lambda words=words: p("exec", broker, *words, code=None).code == 0, 90, " ".join(words))
    conf = p("exec", broker, "rabbitmq-diagnostics", "-q", "environment").out
    assert "{consumer_timeout,604800000}" in conf, "the file of the ConfigMap was not read"
    things = k8s_check.read("deploy/k8s/manifests/parallel-workers-standalone-rabbitmq.yaml")
    (config,) = [thing for thing in things if thing["kind"] == "ConfigMap"]
    config["data"]["SIMULATE_WORK_MS"] = LONG_MS
    p.play(things)
    workers = [f"ttg-worker-rabbitmq-{i}-worker" for i in range(3)]
    have_begun(p, workers, workers[0])
    p("kill", "--signal", "KILL", workers[1])
    assert p.wait(workers[1]) == 137
    assert [p.wait(workers[0]), p.wait(workers[2])] == [0, 0]
    queue = f"amqp://ttg:{p.secret['rabbitmq-password']}@ttg-rabbitmq:5672"
    ask = ["run", "--rm", "--network", "cluster", "--env", "TTG_QUEUE=" + queue, "ttg:latest"]
    after = json.loads(p(*ask, "status", "--json", "default").out)
    assert after["completed"] == 100 and after["sum"] == 1000 * 999 // 2, after
    p(*ask, "verify", "default", out="verified: 100 of 100")


@test
def compose_runs_it_with_rabbitmq():
    p = podman()
    directory = os.path.join(p.dir, "compose")
    os.mkdir(directory)
    shutil.copy(os.path.join(ROOT, "deploy/compose/compose.yaml"), directory)
    secrets = run([os.path.join(ROOT, "deploy/k8s/local/secrets.sh"), "--env"]).out
    secrets = secrets.replace("COMPOSE_PROFILES=redis\n", "COMPOSE_PROFILES=rabbitmq\n")
    secrets += f"SIMULATE_WORK_MS={LONG_MS}\n"
    write_file(directory + "/.env", secrets, 0o600)
    p.compose("up", "--detach", "--no-build", deadline_s=90)
    have_begun(p, [f"compose_worker-{i}_1" for i in range(3)], "compose_monitor_1")
    p("kill", "--signal", "KILL", "compose_worker-1_1")
    assert [p.wait("compose_worker-0_1"), p.wait("compose_worker-2_1")] == [0, 0]
    assert told(p, "compose_monitor_1")["completed"] == 100
    p("exec", "compose_monitor_1", "ttg", "verify", "default", out="verified: 100 of 100")
    p.compose("down", "--volumes", "--timeout", "1")
    assert p("ps", "--all", "--quiet").out == ""


@test
def the_demo_runs_in_containers_with_rabbitmq():
    p = podman()
    demo = Demo()
    p.env.update(demo.env)
    done = p.inside(TTG, "demo", "--runtime", "podman", "--backend", "rabbitmq", "--fault-demo", deadline_s=120)
    assert done.out.count("sum 499500, verified: 100 of 100") == 2, done
    assert re.search(r"worker-[02] took over chunk \d{5}, \d+ ms after the kill", done.out), done
    assert p("ps", "--all", "--quiet").out + p("volume", "ls", "--quiet").out == "", done
    demo.check_gone()


main()

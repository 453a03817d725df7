#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The image of deploy/container and pods of deploy/k8s, for real: built and run by podman. A worker's pod is
killed -9 in the middle of a chunk, and the job is exact."""
import json
import os
import re
import shutil

import k8s_check
from harness import ROOT, main, run, test, wait_until, write_file
from podrig import Podman, once

IMAGE = "ttg:latest"
IMAGE_BYTES_MAX = 16 << 20


_podman = once(Podman.make_images)


def podman():
    made = _podman()
    made.clear()
    return made


def has_no_rights(p, container):
    """uid 1000, a root that is read-only, no capability, no way to get more, a filter of system calls."""
    pid = p.pid(container)
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"1000"}, status
    for each in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[each], 16) == 0, (container, each, status[each])
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    with open(f"/proc/{pid}/mountinfo", encoding="ascii") as file:
        (root,) = [line.split()[5] for line in file if line.split()[4] == "/"]
    assert "ro" in root.split(","), root


def ask(p, queue, *words, **checks):
    """A command of ttg, as somebody in the cluster."""
    return p("run", "--rm", "--read-only", "--network", "cluster", "--env", "TTG_QUEUE=" + queue,
             "--env", "LOG_FORMAT=text", IMAGE, *words, **checks)


def status(p, queue, job):
    return json.loads(ask(p, queue, "status", "--json", job).out)


def longer(things, ms):
    """On a busy machine the job would be over before somebody looks, and kills."""
    for thing in things:
        if thing["kind"] == "ConfigMap":
            thing["data"]["SIMULATE_WORK_MS"] = str(ms)
    return things


def have_begun(told, workers=3):
    """Waits until each worker has done a chunk: it is in the next one. `told`: asks for the status."""
    def begun():
        done = told()
        return done.code == 0 and sum(w["completed"] > 0 for w in json.loads(done.out)["worker_list"]) == workers
    wait_until(begun, what=f"a chunk of each of {workers} workers")


@test
def image_is_small_and_runs_as_nobody():
    p = podman()
    (image,) = json.loads(p("image", "inspect", IMAGE).out)
    assert image["Size"] < IMAGE_BYTES_MAX, image["Size"]
    assert image["Config"]["User"] == "1000:1000", image["Config"]
    assert image["Config"]["Labels"]["app.kubernetes.io/part-of"] == "ttg", image["Config"]
    assert image["Config"]["Labels"]["org.opencontainers.image.version"] == "0.0.1", image["Config"]
    names = set(re.findall(r'"([^"]+)"', json.dumps(image["RepoTags"])))
    assert {"docker.io/library/ttg:0.0.1", "docker.io/library/ttg-worker:v0.0.1"} <= names, names
    p("run", "--rm", "--read-only", "--cap-drop", "all", IMAGE, "version", out=r"^ttg \d")
    p("run", "--rm", "--entrypoint", "/bin/sh", IMAGE, "-c", "true", code=127)
    ran = p("run", "--rm", "--read-only", "--tmpfs", "/data", "--network", "none", IMAGE, "run",
            "--params", "1000", "--simulate-ms", "0", code=None)
    assert ran.code == 0 and "10 of 10 chunks, verified" in ran.err, ran


@test
def workers_of_the_redis_manifests_survive_a_kill():
    """redis.yaml and parallel-workers-standalone.yaml as they are, but for 100 chunks of 500 ms."""
    p = podman()
    p.play(k8s_check.read("deploy/k8s/manifests/redis.yaml"))
    wait_until(lambda: p("exec", "ttg-redis-redis", "redis-cli", "ping", code=None).out == "PONG\n",
               what="an answer of Redis")
    has_no_rights(p, "ttg-redis-redis")
    p.play(longer(k8s_check.read("deploy/k8s/manifests/parallel-workers-standalone.yaml"), 50))
    workers = [f"ttg-worker-{i}-worker" for i in range(3)]
    for name in workers:
        has_no_rights(p, name)
    queue = f"redis://:{p.secret['redis-password']}@ttg-redis:6379"
    have_begun(lambda: ask(p, queue, "status", "--json", "default", code=None))
    p("kill", "--signal", "KILL", workers[1])
    assert p.wait(workers[1]) == 137
    assert [p.wait(workers[0]), p.wait(workers[2])] == [0, 0]
    assert p("exec", "ttg-redis-redis", "redis-cli", "XLEN", "ttg:results").out == "100\n"
    told = status(p, queue, "default")
    assert told["completed"] == 100 and told["workers_lost"] >= 1 and told["reclaimed"] >= 1, told
    assert told["sum"] == 1000 * 999 // 2, told
    ask(p, queue, "verify", "default", out="verified: 100 of 100")


@test
def workers_of_the_overlay_survive_a_kill():
    """The node of base/, its workers, its monitor, and the job of submit.yaml."""
    p = podman()
    p.play(k8s_check.read("deploy/k8s/base/node.yaml"))
    queue = f"ttg://:{p.secret['node-password']}@ttg-node:6380"
    wait_until(lambda: ask(p, queue, "status", code=None).code == 0, what="an answer of the node")
    has_no_rights(p, "ttg-node-node")
    p.play(k8s_check.read("deploy/k8s/manifests/submit.yaml"))
    has_no_rights(p, "ttg-submit-submit")
    p.play(longer(k8s_check.read("deploy/k8s/base/workers.yaml"), 5))
    workers = [f"ttg-workers-pod-{i}-worker" for i in range(3)]
    has_no_rights(p, workers[0])
    have_begun(lambda: ask(p, queue, "status", "--json", "sweep", code=None))
    p("kill", "--signal", "KILL", workers[1])
    p("kill", "--signal", "TERM", workers[2])  # a drain: it ends its chunk and is charged nothing
    assert p.wait("ttg-submit-submit") == 0, p.logs("ttg-submit-submit")
    told = status(p, queue, "sweep")
    assert told["completed"] == 100 and told["reclaimed"] >= 1 and told["dead_letters"] == 0, told
    assert told["sum"] == 10000 * 9999 // 2, told
    ask(p, queue, "verify", "sweep", out="verified: 100 of 100")
    assert p.code(workers[0]) is None, "a worker that stays has left"
    ask(p, queue, "cleanup", "--redis", "--force")  # and the next job of this name may come
    ask(p, queue, "status", "sweep", code=None, err="no job|unknown job|there is no")


def http_status(p, url, token=""):
    """As somebody on the machine sees it."""
    script = ("import sys, urllib.error, urllib.request as r\n"
              "q = r.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
              "try: print(r.urlopen(q, timeout=10).status)\n"
              "except urllib.error.HTTPError as e: print(e.code)\n")
    return int(p.inside("/usr/bin/python3", "-c", script, url, token).out)


@test
def compose_runs_it_all():
    """deploy/compose on docker-compose 1.29: 100 chunks of 500 ms, a worker killed, the dashboard up."""
    p = podman()
    directory = os.path.join(p.dir, "compose")
    os.mkdir(directory)
    shutil.copy(os.path.join(ROOT, "deploy/compose/compose.yaml"), directory)
    p.compose("config", code=None, err="secrets.sh --env")
    made = run([os.path.join(ROOT, "deploy/k8s/local/secrets.sh"), "--env"]).out
    secrets = dict(line.split("=", 1) for line in made.split())
    write_file(directory + "/.env", made + "SIMULATE_WORK_MS=50\n", 0o600)
    p.compose("up", "--detach", "--no-build")
    assert p("exec", "compose_redis_1", "id", "-un").out == "redis\n"
    has_no_rights(p, "compose_monitor_1")
    has_no_rights(p, "compose_worker-1_1")

    def told():
        return p("exec", "compose_monitor_1", "ttg", "status", "--json", "default", code=None)
    have_begun(told)
    p("kill", "--signal", "KILL", "compose_worker-1_1")
    assert [p.wait("compose_worker-0_1"), p.wait("compose_worker-2_1")] == [0, 0]
    after = json.loads(told().out)
    assert after["completed"] == 100 and after["reclaimed"] >= 1, after
    p("exec", "compose_monitor_1", "ttg", "verify", "default", out="verified: 100 of 100")
    assert http_status(p, "http://127.0.0.1:8420/events") == 401
    assert http_status(p, "http://127.0.0.1:8420/events", secrets["TTG_TOKEN"]) == 200
    p.compose("down", "--volumes", "--timeout", "1")
    assert p("ps", "--all", "--quiet").out == ""


main()

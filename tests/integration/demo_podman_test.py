#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo --runtime podman`: containers on a network of their own, one is killed, and nothing of them
stays, while what somebody else has on the same podman is not touched."""
import json
import re
import signal

from demorig import Demo, stopped
from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file
from podrig import once

LABEL = "app.kubernetes.io/part-of=ttg"


@once
def podman(new):
    new.import_ttg()
    new("network", "create", "foreign")
    new("volume", "create", "foreign-data")
    new.import_files(new.dir + "/rootfs.tar", "localhost/foreign")  # without our label
    new("create", "--name", "foreign", "foreign", "/usr/bin/ttg")


def there(p):
    """Containers, networks and volumes."""
    return [p(*words).out.split() for words in (
        ("ps", "--all", "--format", "{{.Names}}"), ("network", "ls", "--format", "{{.Name}}"),
        ("volume", "ls", "--format", "{{.Name}}"))]


def labelled(p):
    return {(item["kind"], item["name"]): item["stays"] for item in json.loads(p.inside(
        TTG, "cleanup", "--all", "--dry-run", "--json", env=p.env, code=None).out)["items"]}


def demo_in_containers(p, *words, **checks):
    demo = Demo()
    p.env.update(demo.env)
    return demo, p.inside(TTG, "demo", "--runtime", "podman", *words, **checks)


def start_demo(p, *words):
    """The demo's process itself: a signal reaches it."""
    demo = Demo()
    p.env.update(demo.env)
    inside = ["nsenter", "-t", p.init, "-m", "-p", "-n", "--", TTG, "demo", "--runtime", "podman", *words]
    return demo, spawn(inside, env=p.env)


def pid_of(process):
    """nsenter forks to enter the namespace of processes."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return file.read().strip()


@test
def a_killed_container_costs_nothing():
    p = podman()
    before = there(p)
    demo, done = demo_in_containers(p, "--fault-demo")
    assert done.out.count("sum 499500, verified: 100 of 100") == 2, done
    assert re.search(r"podman kill --signal KILL ttg-demo-\d+-worker-1 +# while it computes", done.out), done
    assert re.search(r"worker-1 is lost \((ended with exit code 137|.*connection.*)\): [12] leases? free again",
                     done.out), done
    assert re.search(r"(worker-[02]) took over chunk \d{5}, \d+ ms after the kill", done.out), done
    assert re.search(r"^100 of 100 chunks, [1-3] taken over from the killed worker", done.out, re.M), done
    assert done.err == "", done
    assert there(p) == before
    demo.check_gone()


@test
def interrupted_it_leaves_nothing():
    p = podman()
    before = there(p)
    demo, process = stopped(lambda: start_demo(p, "--fault-demo"), "podman kill",
                            lambda _, process: run(["kill", "-INT", pid_of(process)], code=None), 130)
    assert "stopping" in process.out()
    assert there(p) == before
    demo.check_gone()


@test
def killed_its_containers_are_found_by_cleanup():
    """And while it runs, they stay."""
    p = podman()
    before = there(p)
    demo, process = start_demo(p, "--scale", "medium", "--workers", "1")
    process.wait_for("podman run")
    wait_until(lambda: len(there(p)[0]) == len(before[0]) + 2, what="a server and a worker")
    (worker,) = [name for name in there(p)[0] if name.endswith("-worker-0")]
    wait_until(lambda: p("kill", "--signal", "STOP", worker, code=None).code == 0, what="a worker that waits for us")
    items = labelled(p)
    assert sum(kind == "container" for kind, _ in items) == 2, items
    assert {kind for kind, _ in items} == {"container", "network", "volume", "demo"}, items
    assert all(items.values()), items
    run(["kill", "-KILL", pid_of(process)])
    p("kill", "--signal", "CONT", worker)
    wait_until(lambda: len(there(p)[0]) == len(before[0]) + 1, what="the end of the worker")
    p.inside(TTG, "cleanup", "--all", "--force", err="removed 4 of 4", code=None)
    assert there(p) == before
    demo.check_gone()


@test
def kept_it_can_be_looked_at():
    p = podman()
    before = there(p)
    demo, done = demo_in_containers(p, "--scale", "medium", "--workers", "2", "--skip-cleanup")
    wait_until(lambda: len(there(p)[0]) == len(before[0]) + 1, what="the end of the workers")
    url = re.search(r"^embedded still serves at (ttg://\S+)", done.out, re.M).group(1)
    p.inside(TTG, "verify", "undisturbed", "--queue", url, out="verified: 100 of 100")
    assert "`ttg cleanup --local --pods` removes it" in done.out, done
    p.inside(TTG, "cleanup", "--all", "--force", err="removed 4 of 4", code=None)
    assert there(p) == before
    demo.check_gone()


@test
def what_is_missing_is_said():
    p = podman()
    before = there(p)
    demo, done = demo_in_containers(p, "--backend", "redis", code=3, err="no image docker.io/library/redis:7.2; "
                                    "try: podman pull docker.io/library/redis:7.2")
    assert there(p) == before, done
    demo.check_gone()


@test
def without_podman_or_image_it_says_what_to_do():
    demo, path = Demo(), temp_dir()
    demo.run("--runtime", "podman", env={"PATH": path}, code=3, err="apt-get install podman")
    write_file(path + "/podman", "#!/bin/sh\nexit 1\n", 0o755)
    demo.run("--runtime", "podman", env={"PATH": path}, code=3, err="no image ttg:latest; .*deploy/k8s/local/build.sh makes")
    write_file(path + "/podman", "#!/bin/sh\n[ \"$1\" = image ] || { echo no rights >&2; exit 125; }\n", 0o755)
    demo.run("--runtime", "podman", env={"PATH": path}, code=3, err="podman: no rights")
    demo.check_gone()


main()

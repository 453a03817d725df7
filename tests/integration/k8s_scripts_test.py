#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts of deploy/k8s/local, with kind, kubectl and docker that only write down what they are
asked: there is no cluster here."""
import os
import re

from harness import ROOT, main, run, temp_dir, test, write_file

LOCAL = os.path.join(ROOT, "deploy/k8s/local")
SYSTEM = ("sh", "env", "cat", "sed", "od", "tr", "grep", "mktemp", "rm", "dirname", "basename")


class Tools:
    """A PATH with the usual programs and stand-ins that note their words in a file."""

    def __init__(self, **scripts):
        self.dir = temp_dir()
        self.log = os.path.join(self.dir, "log")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        for name in SYSTEM:
            for where in ("/usr/bin", "/bin"):
                if os.path.exists(os.path.join(where, name)):
                    os.symlink(os.path.join(where, name), os.path.join(self.bin, name))
                    break
        for name, script in scripts.items():
            text = f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n'
            write_file(os.path.join(self.bin, name), text, 0o755)

    def run(self, script, *words, **checks):
        return run([os.path.join(LOCAL, script), *words], cwd="/", **checks,
                   env={"PATH": self.bin, "CONTAINER_ENGINE": None, "KIND_EXPERIMENTAL_PROVIDER": None})

    def asked(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()


NO_CLUSTER = {"kind": "true", "docker": "true", "kubectl": 'case "$*" in "get secret"*) exit 1 ;; '
              "create*) cat >/dev/null ;; esac"}


@test
def what_is_missing_is_named():
    Tools().run("setup-local.sh", code=3, err=r"kind is missing: https://")
    Tools(kind="true").run("setup-local.sh", code=3, err="kubectl is missing")
    Tools(kind="true", kubectl="true").run("setup-local.sh", code=3, err="neither a docker .* nor podman")
    Tools(docker="exit 1").run("build.sh", code=3, err="neither a docker that answers nor podman")
    Tools().run("recover-infra.sh", code=3, err="kubectl is missing")
    Tools(kubectl="exit 1").run("list-resources.sh", code=3, err="kubectl reaches no cluster")
    Tools(docker="true").run("build.sh", "--load-kind", code=3, err="kind is missing")
    Tools(docker="true", kind="echo other").run("build.sh", "--load-kind", code=3,
                                                err="no kind cluster ttg-sandbox")


@test
def wrong_usage():
    for script in ("setup-local.sh", "build.sh", "list-resources.sh", "recover-infra.sh"):
        Tools().run(script, "--what", code=2, err="unknown option --what")
        assert "usage: " + script in Tools().run(script, "--help").out
    Tools().run("build.sh", "--version", code=2, err="needs a word")
    Tools().run("build.sh", "--version", "a b", code=2, err="is no tag")
    Tools().run("recover-infra.sh", "--timeout", "soon", code=2, err="no number")
    Tools().run("secrets.sh", "--what", code=2, err="usage:")


@test
def dry_runs_need_nothing_and_do_nothing():
    tools = Tools(kind="true", docker="true", podman="true", kubectl="true")
    for with_tools in (tools, Tools()):
        said = with_tools.run("setup-local.sh", "--dry-run").err
        assert re.search(r"^\+ kind create cluster --name ttg-sandbox --config \S+/kind.yaml", said, re.M)
        said = with_tools.run("build.sh", "--version", "1.3.0", "--load-kind", "--dry-run").err
        assert re.search(r"^\+ docker build -f \S+Containerfile .*-t \S+/ttg:1.3.0 -t \S+/ttg:latest "
                         r"-t \S+/ttg-worker:v1.3.0", said, re.M), said
        assert re.search(r"^\+ kind load image-archive \S+ --name ttg-sandbox", said, re.M), said
        said = with_tools.run("recover-infra.sh", "--dry-run").err
        assert all(f"manifests/{name}.yaml" in said for name in ("redis", "rabbitmq")), said
        with_tools.run("list-resources.sh", "--dry-run", err="part-of=ttg")
    assert set(tools.asked()) <= {"docker info"}, tools.asked()


@test
def a_cluster_is_set_up_once():
    tools = Tools(**NO_CLUSTER)
    tools.run("setup-local.sh", code=3, err="no kind cluster")  # kind made none, and the image says so
    tools = Tools(**dict(NO_CLUSTER, kind=f'case "$*" in "create cluster"*) : >{tools.dir}/made ;; '
                         f'"get clusters") [ ! -e {tools.dir}/made ] || echo ttg-sandbox ;; esac'))
    tools.run("setup-local.sh")
    asked = tools.asked()
    assert any(line.startswith("kind create cluster") for line in asked), asked
    assert any(line.startswith("docker build ") for line in asked), asked
    assert any(line.startswith("kind load image-archive ") for line in asked), asked
    assert "kubectl create -f -" in asked, asked
    write_file(os.path.join(tools.bin, "kubectl"), f'#!/bin/sh\necho "kubectl $*" >>{tools.log}\n', 0o755)
    os.unlink(tools.log)
    tools.run("setup-local.sh", "--skip-image")
    asked = tools.asked()
    assert not any(re.match("kind create|docker build|kubectl create", line) for line in asked), asked
    assert "kubectl config use-context kind-ttg-sandbox" in asked, asked


@test
def podman_gives_the_image_the_name_that_machines_look_for():
    tools = Tools(podman="true", kind="echo ttg-sandbox")
    tools.run("build.sh", "--version", "v1.2.1", "--load-kind")
    build, save, load = [line for line in tools.asked() if not line.startswith("kind get")]
    assert "-t docker.io/library/ttg-worker:v1.2.1" in build, build
    assert save.startswith("podman save -o ") and "docker.io/library/ttg:1.2.1" in save, save
    assert load.startswith("kind load image-archive "), load


def cluster(pod, claims=("ttg-redis-data",), secret=True):
    """A kubectl of a cluster with these claims, where the pod of Redis is in a state."""
    claimed = " | ".join(f'"get persistentvolumeclaim {name}"' for name in claims) or '"none"'
    return Tools(kubectl=f"""case "$*" in
"get secret"*) {"exit 0" if secret else "exit 1"} ;;
{claimed}) exit 0 ;;
"get persistentvolumeclaim"*) exit 1 ;;
"get pod"*) {f"echo {pod}" if pod else "exit 1"} ;;
create*) cat >/dev/null ;;
esac""")


@test
def queues_come_back():
    for pod in (None, "Failed/Evicted", "Failed/", "Unknown/NodeLost"):
        tools = cluster(pod)
        tools.run("recover-infra.sh")
        asked = tools.asked()
        assert any(re.match(r"kubectl apply -f \S+/redis.yaml$", line) for line in asked), (pod, asked)
        assert not any("rabbitmq.yaml" in line or "create" in line for line in asked), asked
    tools = cluster("Running/")
    tools.run("recover-infra.sh")
    assert not any(re.search("apply|delete", line) for line in tools.asked()), tools.asked()
    assert "kubectl wait --for=condition=ready pod/ttg-redis --timeout=180s" in tools.asked()


@test
def what_holds_data_is_not_locked_out_and_not_deleted():
    cluster(None, secret=False).run("recover-infra.sh", code=1, err="ttg-secrets is gone, but data is there")
    tools = cluster(None, claims=(), secret=False)
    tools.run("recover-infra.sh", "--rabbitmq")
    assert "kubectl create -f -" in tools.asked(), tools.asked()
    assert not any("delete" in line and ("claim" in line or "secret" in line) for line in tools.asked())


@test
def a_queue_that_stays_away_is_said():
    tools = cluster("Running/")
    text = f'#!/bin/sh\ncase "$*" in wait*) exit 1 ;; "get pod"*) echo Running/ ;; esac\n'
    write_file(os.path.join(tools.bin, "kubectl"), text, 0o755)
    tools.run("recover-infra.sh", "--redis", code=1)


main()

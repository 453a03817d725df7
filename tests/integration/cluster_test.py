#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The manifests on a real cluster, where clusterrig finds one: what its API server says of each, and
what its Job controller and kubelets make of a queue job whose worker is killed in the middle of a chunk.

All of it in a namespace of its own. It needs the images ttg:latest and redis:7.2 on the machines, and a
default storage class."""
import glob
import json
import os

import clusterrig
import k8s_check
from clusterrig import K8S, kubectl
from harness import main, run, skip, temp_dir, test, wait_until, write_file

BROKEN = (("completionMode: Indexed", "completionMode: Indexes"), ("backoffLimit: 6", "backOffLimit: 6"),
          ("cpu: 100m", "cpu: 1OOm"), ("restartPolicy: Never", "restartPolicy: Always"),
          ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: soon"))


class Namespace:
    def __init__(self):
        self.name = f"ttg-test-{os.getpid()}"
        kubectl("create", "namespace", self.name)
        secret = write_file(temp_dir() + "/secret", run([K8S + "/local/secrets.sh"]).out)
        self("create", "-f", secret)

    def __call__(self, *words, **checks):
        return kubectl("--namespace", self.name, *words, **checks)

    def apply(self, name, *changes):
        with open(f"{K8S}/manifests/{name}.yaml", encoding="utf-8") as file:
            text = file.read()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        self("apply", "-f", write_file(f"{temp_dir()}/{name}.yaml", text))

    def status(self, job):
        return json.loads(self("get", "job", job, "-o", "jsonpath={.status}").out)

    def results(self):
        return self("exec", "ttg-redis", "--", "redis-cli", "XLEN", "ttg:results").out.strip()

    def redis(self):
        self.apply("redis")
        if self("wait", "--for=condition=ready", "pod/ttg-redis", "--timeout=30s", code=None).code != 0:
            skip("no Redis: " + self("get", "events").out.strip()[-200:])
        self("exec", "ttg-redis", "--", "redis-cli", "FLUSHALL")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self("delete", "pods", "--all", "--grace-period=0", "--force", code=None)
        kubectl("delete", "namespace", self.name, "--timeout=50s", code=None)


def dry(space, path, text=None):
    """What the API server says of it; nothing is made."""
    if text:
        path = write_file(temp_dir() + "/object.yaml", text)
    return space("apply", "--dry-run=server", "--validate=strict", "-f", path, code=None)


def takes_all(space):
    keda = kubectl("get", "crd", "scaledobjects.keda.sh", code=None).code == 0
    for path in sorted(glob.glob(K8S + "/manifests/*.yaml")):
        done = dry(space, path)
        assert done.code == 0 and "Warning" not in done.err, done
    for name in ("overlays/kind", "overlays/cloud") + (("keda/node", "keda/redis", "keda/rabbitmq") if keda else ()):
        objects = [thing for thing in k8s_check.load(kubectl("kustomize", os.path.join(K8S, name)).out)
                   if keda or not thing["apiVersion"].startswith("keda.sh")]
        done = dry(space, None, "\n---\n".join(map(json.dumps, objects)))
        assert done.code == 0 and "Warning" not in done.err, done


def refuses_planted_errors(space):
    with open(K8S + "/manifests/parallel-jobs-queue.yaml", encoding="utf-8") as file:
        good = file.read()
    for old, new in BROKEN:
        assert old in good, old
        done = dry(space, None, good.replace(old, new))
        assert done.code != 0, (new, done)


@test
def the_api_server_takes_every_object():
    clusterrig.cluster()
    with Namespace() as space:
        takes_all(space)
        refuses_planted_errors(space)


def its_own_try(space):
    space.redis()
    space.apply("parallel-jobs-surviving", ('SIMULATE_WORK_MS, value: "10"', 'SIMULATE_WORK_MS, value: "400"'),
                ('TOTAL_PARAMETERS, value: "1000"', 'TOTAL_PARAMETERS, value: "90"'))
    pods = "job-name=ttg-surviving"
    space("wait", "--for=condition=ready", "pod", "-l", pods, "--timeout=30s")
    wait_until(lambda: space.results() not in ("0", ""), 20, "the first result")
    space("delete", "pod", "-l", pods + ",batch.kubernetes.io/job-completion-index=1", "--grace-period=0", "--force")
    space("wait", "--for=condition=complete", "job/ttg-surviving", "--timeout=90s", deadline_s=95)
    assert space.results() == "9"
    status = space.status("ttg-surviving")
    assert status["succeeded"] == 3 and status["failed"] == 1, status


def what_cannot_get_better(space):
    space("delete", "job", "ttg-surviving")
    space.apply("parallel-jobs-surviving", ("args: [worker]", "args: [worker, --nonsense]"))
    space("wait", "--for=condition=failed", "job/ttg-surviving", "--timeout=30s")
    (failed,) = [each for each in space.status("ttg-surviving")["conditions"] if each["type"] == "Failed"]
    assert failed["reason"] == "PodFailurePolicy" and "exit code 2" in failed["message"], failed


def one_death_ends_all(space):
    """And another Job on the same queue ends what that one began."""
    space("exec", "ttg-redis", "--", "redis-cli", "FLUSHALL")
    space.apply("parallel-jobs-fault-demo")
    space("wait", "--for=condition=ready", "pod", "-l", "job-name=ttg-fault-demo", "--timeout=30s")
    space("delete", "pod", "-l", "job-name=ttg-fault-demo,batch.kubernetes.io/job-completion-index=1")
    space("wait", "--for=condition=failed", "job/ttg-fault-demo", "--timeout=30s")
    (failed,) = [each for each in space.status("ttg-fault-demo")["conditions"] if each["type"] == "Failed"]
    assert failed["reason"] == "BackoffLimitExceeded", failed
    space("delete", "job", "ttg-surviving")
    space.apply("parallel-jobs-surviving")
    space("wait", "--for=condition=complete", "job/ttg-surviving", "--timeout=60s")
    assert space.results() == "100"


@test
def a_worker_that_is_killed_costs_a_try_of_its_own():
    clusterrig.can_run()
    if clusterrig.cluster() < (1, 29):
        skip("backoffLimitPerIndex needs Kubernetes 1.29")
    with Namespace() as space:
        its_own_try(space)
        what_cannot_get_better(space)
        one_death_ends_all(space)


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/k8s and the compose file: well formed, complete, and fit for this ttg.

There is no API server here. Instead: `kubectl kustomize` renders what is to be rendered, k8s_check knows
which fields there are, and what the objects name (selectors, ports, claims, secret keys, options and
variables of ttg) is looked up. deploy_test runs some of them."""
import copy
import glob
import os
import re

import k8s_check
from harness import ROOT, have, main, run, skip, test, ttg

K8S = os.path.join(ROOT, "deploy/k8s")
MANIFESTS = sorted(glob.glob(K8S + "/manifests/*.yaml"))
OVERLAYS = ("base", "overlays/kind", "overlays/cloud", "keda/node", "keda/redis", "keda/rabbitmq")
NAMED = ("parallel-jobs", "parallel-jobs-queue", "parallel-jobs-queue-rabbitmq", "parallel-jobs-fault-demo",
         "parallel-workers-standalone", "redis", "rabbitmq", "redis-insight")
RESOURCES = {"worker": ("100m", "500m", "128Mi", "256Mi"), "redis": ("100m", "500m", "128Mi", "256Mi"),
             "rabbitmq": ("200m", "1000m", "256Mi", "1Gi")}
STORAGE = {"ttg-redis-data": "1Gi", "ttg-rabbitmq-data": "2Gi"}


def secret_keys():
    (secret,) = k8s_check.load(run([K8S + "/local/secrets.sh"]).out)
    assert k8s_check.check(secret) == [], k8s_check.check(secret)
    return set(secret["stringData"])


def rendered(name):
    if not have("kubectl"):
        skip("kubectl is not installed: overlays are not rendered")
    done = run(["kubectl", "kustomize", os.path.join(K8S, name)], code=None)
    if done.code != 0 and re.search(r"unknown field|invalid Kustomization|json: cannot", done.err):
        major = run(["kubectl", "version", "--client"], code=None).out.strip()
        skip(f"kubectl is too old to render overlays: {major}")
    assert done.code == 0, done
    return k8s_check.load(done.out)


def good(things, extra=()):
    for thing in things:
        assert k8s_check.check(thing) == [], k8s_check.check(thing)
    problems = k8s_check.refers(list(things) + list(extra), secret_keys())
    assert problems == [], problems


def everything():
    """(where, object) of all files that hold whole objects."""
    for pattern in ("manifests/*.yaml", "base/*.yaml", "keda/*/scale.yaml"):
        for path in sorted(glob.glob(os.path.join(K8S, pattern))):
            for thing in k8s_check.read(path):
                if thing["kind"] != "Kustomization":
                    yield os.path.relpath(path, ROOT), thing


@test
def manifests_of_the_documents_are_there():
    names = {os.path.basename(path)[:-5] for path in MANIFESTS}
    assert not set(NAMED) - names, set(NAMED) - names
    for path in MANIFESTS:
        good(k8s_check.read(path))


@test
def base_and_overlays_render():
    for name in OVERLAYS:
        things = rendered(name)
        workers = [] if not name.startswith("keda") else k8s_check.read("deploy/k8s/base/workers.yaml")
        good(things, workers)
    kind = {(each["kind"], each["metadata"]["name"]): each for each in rendered("overlays/kind")}
    node = kind["StatefulSet", "ttg-node"]["spec"]
    assert node["template"]["spec"]["containers"][0]["image"] == "ttg:latest", node
    cloud = {(each["kind"], each["metadata"]["name"]): each for each in rendered("overlays/cloud")}
    node = cloud["StatefulSet", "ttg-node"]["spec"]
    assert node["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi", node
    assert node["template"]["spec"]["containers"][0]["args"], "a patch took the rest away"
    assert ("ScaledObject", "ttg-workers") in cloud


@test
def base_without_kubectl_and_patches():
    """What renders is checked as it lies there, too."""
    base = [thing for path, thing in everything() if "/base/" in path]
    good(base)
    for path, thing in everything():
        if "/keda/" in path:
            assert k8s_check.check(thing) == [], path
    for path in glob.glob(K8S + "/overlays/*/*.yaml"):
        for thing in k8s_check.read(path):
            if thing["kind"] != "Kustomization":
                assert k8s_check.check(thing, part=True) == [], k8s_check.check(thing, part=True)
                assert (thing["kind"], thing["metadata"]["name"]) in \
                    {(each["kind"], each["metadata"]["name"]) for each in base}, path


@test
def objects_carry_our_labels():
    """`ttg cleanup --pods` goes by part-of; people by component."""
    for where, thing in everything():
        for labels in [thing["metadata"].get("labels")] + [pod[0] for pod in [k8s_check.pod_of(thing)] if pod]:
            assert labels and labels["app.kubernetes.io/part-of"] == "ttg", (where, thing["metadata"])
            assert labels["ttg.io/component"], (where, thing["metadata"])
        for claim in thing.get("spec", {}).get("volumeClaimTemplates", ()):
            assert claim["metadata"]["labels"]["app.kubernetes.io/part-of"] == "ttg", where


@test
def pods_have_no_rights_and_bounded_resources():
    seen = 0
    for where, thing in everything():
        pod = k8s_check.pod_of(thing)
        for labels, spec in [pod] if pod else ():
            own = spec["securityContext"]
            assert own["runAsNonRoot"] is True and own["runAsUser"] == own["runAsGroup"] == 1000, where
            assert own["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert spec["enableServiceLinks"] is False, where
            assert spec["automountServiceAccountToken"] is False, where
            for container in spec["containers"]:
                context = container["securityContext"]
                assert context == {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                   "capabilities": {"drop": ["ALL"]}}, where
                need, most = container["resources"]["requests"], container["resources"]["limits"]
                wanted = RESOURCES.get(labels["ttg.io/component"])
                given = (need["cpu"], most["cpu"], need["memory"], most["memory"])
                assert wanted in (None, given), (where, given)
                seen += 1
        if thing["kind"] == "PersistentVolumeClaim" and thing["metadata"]["name"] in STORAGE:
            assert thing["spec"]["resources"]["requests"]["storage"] == STORAGE[thing["metadata"]["name"]]
    assert seen >= 12, seen


@test
def keda_asks_from_its_own_namespace():
    """Where a name without one means nothing: seen on a real cluster."""
    (secret,) = k8s_check.load(run([K8S + "/local/secrets.sh"]).out)
    asked = [re.search(r"@([^:]+):", secret["stringData"]["rabbitmq-management"]).group(1)]
    for _, thing in everything():
        if thing["kind"] == "ScaledObject":
            asked += [each["metadata"]["address"].split(":")[0] for each in thing["spec"]["triggers"]
                      if "address" in each["metadata"]]
    assert set(asked) == {"ttg-rabbitmq.default", "ttg-node.default", "ttg-redis.default"}, asked


@test
def workers_drain_in_time():
    for where, thing in everything():
        pod = k8s_check.pod_of(thing)
        if pod and pod[0]["ttg.io/component"] == "worker":
            assert pod[1]["terminationGracePeriodSeconds"] >= 30, where


@test
def options_and_variables_exist():
    """Each option in args is one of the command, each variable is one that ttg reads."""
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", ttg("help", "--markdown").out))
    checked = 0
    things = list(everything())
    configs = {thing["metadata"]["name"]: thing["data"] for _, thing in things if thing["kind"] == "ConfigMap"}
    for where, thing in things:
        pod = k8s_check.pod_of(thing)
        for container in pod[1]["containers"] if pod else ():
            if not container["image"].startswith("ttg:"):
                continue
            command, *words = container["args"]
            helped = ttg("help", command).out
            for word in words:
                if word.startswith("--"):
                    assert re.search(rf"^ +(-\w, )?{word}\b", helped, re.M), (where, command, word)
            names = [each["name"] for each in container.get("env", ())]
            for source in container.get("envFrom", ()):
                names += configs[source["configMapRef"]["name"]]
            for name in names:
                used = any(f"$({name})" in each.get("value", "") for each in container["env"])
                assert name in known or used, (where, name)
                checked += 1
    assert checked > 50, checked


@test
def jobs_say_what_a_death_means():
    things = {thing["metadata"]["name"]: thing["spec"] for _, thing in everything() if thing["kind"] == "Job"}
    assert things["ttg-fault-demo"]["backoffLimit"] == 0
    survives = things["ttg-surviving"]
    assert "backoffLimit" not in survives and survives["backoffLimitPerIndex"] > 0
    assert survives["completionMode"] == "Indexed" and survives["podFailurePolicy"]["rules"]


@test
def no_password_lies_in_the_tree():
    for where, thing in everything():
        assert thing["kind"] != "Secret", where
        pod = k8s_check.pod_of(thing)
        for container in pod[1]["containers"] if pod else ():
            for each in container.get("env", ()):
                if re.search("PASS|TOKEN|SECRET", each["name"]) or "AUTH" in each["name"]:
                    assert "valueFrom" in each, (where, each)
    first, second = (run([K8S + "/local/secrets.sh"]).out for _ in range(2))
    for key in secret_keys():
        values = re.findall(rf"{key}: (\S+)", first) + re.findall(rf"{key}: (\S+)", second)
        assert len(set(values)) == 2 and len(values[0]) >= 32, key


def planted(path, change):
    """Problems of a manifest's objects after a change."""
    things = copy.deepcopy(k8s_check.read(path))
    for thing in things:
        change(thing)
    return [each for thing in things for each in k8s_check.check(thing)] or \
        k8s_check.refers(things, secret_keys())


def put(kind, path, value):
    """A change: sets (or, with None, removes) what lies at a path of the objects of a kind."""
    def change(thing):
        if thing["kind"] != kind:
            return
        *way, last = path
        for step in way:
            thing = thing[step]
        if value is None:
            del thing[last]
        else:
            thing[last] = value
    return change


@test
def planted_errors_are_caught():
    container = ("spec", "template", "spec", "containers", 0)
    job, node, workers = ("deploy/k8s/manifests/parallel-jobs-queue.yaml", "deploy/k8s/base/node.yaml",
                          "deploy/k8s/base/workers.yaml")
    for path, change, words in (
            (job, put("Job", ("spec", "completions"), "3"), "completions: '3' is no int"),
            (job, put("Job", ("spec", "completions"), True), "True is no int"),
            (job, put("Job", ("spec", "template"), None), "template: missing"),
            (job, put("Job", ("spec", "paralelism"), 3), "paralelism: unknown field"),
            (job, put("Job", ("kind",), "Jobb"), "unknown kind"),
            (job, put("Job", ("apiVersion",), "batch/v1beta1"), "unknown kind"),
            (job, put("Job", ("metadata", "name"), "Ttg_Jobs"), "name is missing or bad"),
            (job, put("Job", ("spec",), None), "spec is missing"),
            (job, put("Job", (*container, "name"), None), "name: missing"),
            (job, put("Job", (*container, "env", 1, "value"), 6379), "6379 is no string"),
            (job, put("Job", (*container, "env"), {"A": "b"}), "not a list"),
            (job, put("Job", (*container, "env", 2, "valuFrom"), {}), "unknown field"),
            (job, put("Job", (*container, "resources", "limits", "memory"), "256mb"), "is no quantity"),
            (job, put("Job", (*container, "resources", "limits", "cpu"), "half"), "is no quantity"),
            (job, put("Job", (*container, "imagePullPolicy"), "Sometimes"), "is no =Always"),
            (job, put("Job", (*container, "securityContext", "runAsRoot"), False), "unknown field"),
            (job, put("Job", (*container, "env", 4, "valueFrom", "secretKeyRef", "key"), "other"),
             "no secret key ttg-secrets/other"),
            (node, put("StatefulSet", (*container, "readinessProbe", "httpGet", "port"), None),
             "port: missing"),
            (node, put("StatefulSet", (*container, "readinessProbe", "httpGet", "port"), "web"),
             "no port web"),
            (node, put("StatefulSet", (*container, "volumeMounts", 0, "name"), "disk"), "no volume disk"),
            (node, put("StatefulSet", ("spec", "serviceName"), "other"), "no Service other"),
            (node, put("Service", ("spec", "selector", "ttg.io/component"), "nod"), "selects no pod"),
            (node, put("Service", ("spec", "ports", 0, "targetPort"), "quue"), "no pod has a port quue"),
            (workers, put("Deployment", ("spec", "selector", "matchLabels", "ttg.io/set"), "x"),
             "does not match the template"),
            (workers, put("PodDisruptionBudget", ("spec", "maxUnavailable"), [1]), "is no int|string"),
            (workers, put("ConfigMap", ("metadata", "name"), "other"), "no config map ttg-workers"),
            (workers, put("ConfigMap", ("data", "DRAIN_SECONDS"), 25), "25 is no string")):
        problems = planted(path, change)
        assert any(words in each for each in problems), (words, problems)
        assert not planted(path, lambda thing: None)


main()

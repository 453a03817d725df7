# SPDX-License-Identifier: Apache-2.0
"""k8s_check - what an API server would say to an object, as far as a table of types can tell.

k8s_types.json (written by tools/k8s-types) says which fields there are. `check` finds unknown and
missing fields, wrong types and words, and bad quantities; `refers` finds what does not fit together
within one set of objects: selectors, names of ports and volumes, config maps, claims, secrets."""
import json
import os
import re

from harness import ROOT, skip

try:
    import yaml
except ImportError:
    yaml = None

QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(m|k|[MGTPE]|[KMGTPE]i|[eE][+-]?\d+)?$")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
with open(os.path.join(ROOT, "tests/integration/k8s_types.json"), encoding="utf-8") as table:
    TABLE = json.load(table)
TYPES, KINDS = TABLE["types"], TABLE["kinds"]


def load(text):
    """The objects of a YAML text."""
    if yaml is None:
        skip("python3-yaml is not installed")
    return [each for each in yaml.safe_load_all(text) if each is not None]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return load(file.read())


def is_plain(kind, value):
    if kind == "any":
        return True
    if kind[0] == "=":
        return value in kind[1:].split("|")
    if kind == "quantity":
        return not isinstance(value, bool) and bool(QUANTITY.match(str(value)))
    wanted = {"string": (str,), "int": (int,), "bool": (bool,), "int|string": (int, str)}[kind]
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def walk(kind, value, where, part, out):
    kind = kind.rstrip("!")
    if kind[0] == "[":
        if not isinstance(value, list):
            out.append(f"{where}: not a list")
            return
        for i, each in enumerate(value):
            walk(kind[1:-1], each, f"{where}[{i}]", part, out)
    elif kind[0] == "{" or kind in TYPES:
        if not isinstance(value, dict):
            out.append(f"{where}: not a map")
            return
        fields = TYPES.get(kind)
        for key, each in value.items():
            if fields is not None and key not in fields:
                out.append(f"{where}.{key}: unknown field")
            else:
                walk(fields[key] if fields is not None else kind[1:-1], each, f"{where}.{key}", part, out)
        for key, each in (fields or {}).items():
            if each[-1] == "!" and key not in value and not part:
                out.append(f"{where}.{key}: missing")
    elif not is_plain(kind, value):
        out.append(f"{where}: {value!r} is no {kind}")


def check(thing, part=False):
    """A list of what is wrong; `part`: it is a patch, which may leave out anything."""
    kind = KINDS.get(f"{thing.get('apiVersion')}/{thing.get('kind')}")
    where = f"{thing.get('kind')} {thing.get('metadata', {}).get('name')}"
    if not kind:
        return [f"{where}: unknown kind {thing.get('apiVersion')}/{thing.get('kind')}"]
    out = []
    walk(kind, thing, where, part, out)
    if not NAME.match(str(thing.get("metadata", {}).get("name"))):
        out.append(f"{where}: metadata.name is missing or bad")
    if not part and kind not in ("CoreV1ConfigMap", "CoreV1Secret") and "spec" not in thing:
        out.append(f"{where}: spec is missing")
    return out


def pod_of(thing):
    """(labels, spec) of the pods that an object makes, or None."""
    if thing["kind"] == "Pod":
        return thing["metadata"].get("labels", {}), thing["spec"]
    if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
        template = thing["spec"]["template"]
        return template["metadata"].get("labels", {}), template["spec"]
    return None


def matches(selector, labels):
    plain = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    return (all(labels.get(key) == value for key, value in plain.items()) and
            all(labels.get(each["key"]) in each.get("values", ()) for each in selector.get("matchExpressions", ())))


def refers(things, secret_keys):
    """What does not fit together within one set of objects that are applied together."""
    out, names = [], {(each["kind"], each["metadata"]["name"]) for each in things}
    pods = [pod for pod in map(pod_of, things) if pod]
    for thing in things:
        where, spec = f"{thing['kind']} {thing['metadata']['name']}", thing.get("spec", {})
        pod = pod_of(thing)
        if pod:
            out += [f"{where}: {problem}" for problem in pod_refers(pod[1], names, spec, secret_keys)]
        if thing["kind"] in ("Deployment", "StatefulSet") and not matches(spec["selector"], pod[0]):
            out.append(f"{where}: the selector does not match the template's labels")
        if thing["kind"] in ("Service", "PodDisruptionBudget"):
            found = [each for each in pods if matches(spec["selector"], each[0])]
            ports = {port.get("name") for _, each in found for c in each["containers"]
                     for port in c.get("ports", ())}
            if not found:
                out.append(f"{where}: selects no pod")
            for port in spec.get("ports", ()):
                if isinstance(port.get("targetPort"), str) and port["targetPort"] not in ports:
                    out.append(f"{where}: no pod has a port {port['targetPort']}")
        if thing["kind"] == "StatefulSet" and ("Service", spec["serviceName"]) not in names:
            out.append(f"{where}: no Service {spec['serviceName']}")
        if thing["kind"] == "ScaledObject":
            target = spec["scaleTargetRef"]
            if (target.get("kind", "Deployment"), target["name"]) not in names:
                out.append(f"{where}: there is nothing called {target['name']}")
            for trigger in spec["triggers"]:
                if ("TriggerAuthentication", trigger["authenticationRef"]["name"]) not in names:
                    out.append(f"{where}: authenticationRef leads nowhere")
        if thing["kind"] == "TriggerAuthentication":
            out += [f"{where}: no secret key {each['key']}" for each in spec["secretTargetRef"]
                    if each["name"] != "ttg-secrets" or each["key"] not in secret_keys]
    return out


def pod_refers(pod, names, spec, secret_keys):
    out, volumes = [], {each["metadata"]["name"] for each in spec.get("volumeClaimTemplates", ())}
    for volume in pod.get("volumes", ()):
        volumes.add(volume["name"])
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim and ("PersistentVolumeClaim", claim) not in names:
            out.append(f"no claim {claim}")
        config = volume.get("configMap", {}).get("name")
        if config and ("ConfigMap", config) not in names:
            out.append(f"no config map {config}")
        secret = volume.get("secret", {})
        for item in secret.get("items", ()):
            if secret["secretName"] != "ttg-secrets" or item["key"] not in secret_keys:
                out.append(f"no secret key {item['key']}")
    for container in pod["containers"]:
        ports = {port.get("name") for port in container.get("ports", ())}
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                out.append(f"no volume {mount['name']}")
        for source in container.get("envFrom", ()):
            if ("ConfigMap", source["configMapRef"]["name"]) not in names:
                out.append(f"no config map {source['configMapRef']['name']}")
        for each in container.get("env", ()):
            ref = each.get("valueFrom", {}).get("secretKeyRef")
            if ref and (ref["name"] != "ttg-secrets" or ref["key"] not in secret_keys):
                out.append(f"no secret key {ref['name']}/{ref['key']}")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            action = container.get(probe, {})
            port = action.get("httpGet", action.get("tcpSocket", {})).get("port")
            if isinstance(port, str) and port not in ports:
                out.append(f"{probe}: no port {port}")
    return out

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo --runtime k8s`. On a real cluster, where clusterrig finds one, the whole story. Everywhere:
what it says without one, and the words and objects that kubectl gets, by a stand-in that notes them and
does nothing (pods do not start there: it says that their image is missing)."""
import json
import os
import re
import signal
import socket

import clusterrig
import k8s_check
from demorig import Demo
from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file

STAND_IN = """#!/bin/sh
echo "$*" >>"{dir}/words"
case "$*" in
"create --filename "*) cp "$3" "{dir}/$(wc -l <"{dir}/words").json" ;;
"config current-context") echo stand-in ;;
"get pods "*"ttg.io/set=embedded "*) printf '{server}\\n' ;;
"get pods "*.status.phase*) cat "{dir}/phases" ;;
"get pods "*"ttg.io/set=undisturbed "*) printf '{workers}\\n' ;;
"get pod server-embedded "*) echo 127.0.0.1 ;;
"port-forward "*) exec "{ttg}" node --data "{dir}/node" --listen "127.0.0.1:${{5%:*}}" >"{dir}/log" 2>&1 ;;
"delete namespace "*) {delete} ;;
esac
"""


class StandIn:
    def __init__(self, server="server-embedded\\tTrue\\t\\t", workers="undisturbed-worker-0\\t\\tErrImagePull\\t",
                 delete=":"):
        self.dir = temp_dir()
        os.mkdir(self.dir + "/bin")
        write_file(self.dir + "/bin/kubectl",
                   STAND_IN.format(dir=self.dir, server=server, workers=workers, delete=delete, ttg=TTG), 0o755)
        self.env = {"PATH": self.dir + "/bin:/usr/bin:/bin"}

    def words(self):
        with open(self.dir + "/words", encoding="utf-8") as file:
            return file.read().splitlines()

    def objects(self):
        for number in range(1, len(self.words()) + 1):
            path = f"{self.dir}/{number}.json"
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    yield from (json.loads(line) for line in file)


@test
def without_kubectl_or_cluster_it_says_what_to_do():
    demo, path = Demo(), temp_dir()
    demo.run("--runtime", "k8s", env={"PATH": path}, code=3, err="kubectl is not installed; https://")
    write_file(path + "/kubectl", "#!/bin/sh\n[ $1 = config ] || { echo refused >&2; exit 1; }\n", 0o755)
    said = demo.run("--runtime", "k8s", env={"PATH": path}, code=3, err=r"no cluster \(kubectl: refused\)").err
    (script,) = re.findall(r"deploy/[\w./-]*\w", said)
    assert os.access(os.path.join(clusterrig.ROOT, script), os.X_OK), said
    write_file(path + "/kubectl", "#!/bin/sh\n[ $1 != create ] || { echo forbidden >&2; exit 1; }\n", 0o755)
    done = demo.run("--runtime", "k8s", env={"PATH": path}, code=3, err="kubectl: forbidden")
    assert "not gone" not in done.out, done
    demo.check_gone()


@test
def objects_are_like_the_manifests():
    demo, tool = Demo(), StandIn()
    done = demo.run("--runtime", "k8s", "--workers", "2", "--image", "ex.org/ttg:1", env=tool.env, code=3,
                    err="undisturbed-worker-0: ErrImagePull, the cluster cannot get its image")
    name = re.search(r"in the namespace (ttg-demo-\d+) of the context stand-in", done.out).group(1)
    objects = list(tool.objects())
    kinds = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert kinds == [("Namespace", name), ("NetworkPolicy", "ours"), ("Pod", "server-embedded"),
                     ("Pod", "undisturbed-worker-0"), ("Pod", "undisturbed-worker-1")], kinds
    (like,) = [each for each in k8s_check.read("deploy/k8s/manifests/parallel-workers-standalone.yaml")
               if each["metadata"]["name"] == "ttg-worker-1"]
    for each in objects[1:]:
        assert k8s_check.check(each) == [], k8s_check.check(each)
        assert each["metadata"]["namespace"] == name, each
    for pod in objects[2:]:
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        for field in ("restartPolicy", "enableServiceLinks", "automountServiceAccountToken"):
            assert spec[field] == like["spec"][field], pod
        assert spec["securityContext"].items() >= like["spec"]["securityContext"].items(), pod
        for field in ("securityContext", "resources"):
            assert container[field] == like["spec"]["containers"][0][field], pod
        assert container["image"] == "ex.org/ttg:1", pod
    assert tool.words()[-1] == f"delete namespace {name} --timeout=25s --ignore-not-found", tool.words()
    demo.check_gone()


@test
def it_goes_also_on_failure_and_ctrl_c():
    demo, tool = Demo(), StandIn(server="server-embedded\\t\\tErrImagePull\\t", delete="echo stuck >&2; exit 1")
    done = demo.run("--runtime", "k8s", env=tool.env, code=3, err="server-embedded: ErrImagePull")
    assert re.search(r"namespace (ttg-demo-\d+) is not gone yet: kubectl: stuck; try: kubectl delete "
                     r"namespace \1$", done.out, re.M), done
    tool = StandIn(server="server-embedded\\t\\t\\t0 of 1 machines")
    process = spawn([TTG, "demo", "--runtime", "k8s"], env={**demo.env, **tool.env})
    wait_until(lambda: sum(word.startswith("get pods") for word in tool.words()) > 1
               if os.path.exists(tool.dir + "/words") else False, what="it waits for a pod")
    process.kill(signal.SIGINT)
    assert process.wait() == 130, process.err()
    assert tool.words()[-1].startswith("delete namespace ttg-demo-"), tool.words()
    demo.check_gone()


@test
def pods_that_vanish_end_it():
    """Or it would wait for ever: nobody makes them anew."""
    demo, tool = Demo(), StandIn(workers="undisturbed-worker-0\\tTrue\\t\\t")
    phases = write_file(tool.dir + "/phases", "undisturbed-worker-0\tRunning\t\n")
    process = spawn([TTG, "demo", "--runtime", "k8s", "--workers", "1"], env={**demo.env, **tool.env})
    process.wait_for(r"no result for 1\d s; waiting for undisturbed-worker-0: Running$")  # it may be slow
    write_file(phases, "undisturbed-worker-0\tFailed\tEvicted\n")
    assert process.wait() == 3, process.err()
    said = r"no worker is left and none will come: .*\(undisturbed-worker-0: Failed Evicted\); 0 of 4 chunks are done"
    assert re.search(said, process.err()), process.err()
    assert tool.words()[-1].startswith("delete namespace ttg-demo-"), tool.words()
    demo.check_gone()


@test
def cleanup_knows_the_namespace_of_a_demo():
    """That of this user and machine; while the demo lives, it stays."""
    demo, tool = Demo(), StandIn()
    env = {**demo.env, **tool.env}
    demo.run("--runtime", "k8s", env=tool.env, code=3)
    label = list(tool.objects())[0]["metadata"]["labels"]
    host = re.sub(r"[^A-Za-z0-9.]", "-", socket.gethostname())[:47]
    assert label["ttg.io/demo-of"] == f"h{host}.{os.geteuid()}", label
    wanted = f"get namespaces --selector app.kubernetes.io/part-of=ttg,ttg.io/demo-of=h{host}.{os.geteuid()} "
    path = os.path.join(tool.dir, "bin/kubectl")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    write_file(path, text.replace("esac", f'"{wanted}"*) echo namespace/ttg-demo-1 ;;\nesac'), 0o755)
    done = run([TTG, "cleanup", "--pods", "--json", "--force"], env=env, code=None)
    items = [item for item in json.loads(done.out)["items"] if item["kind"] == "kubernetes"]
    assert [(item["name"], item["removed"]) for item in items] == [("namespace/ttg-demo-1", True)], done
    assert "delete namespace/ttg-demo-1 --ignore-not-found --wait=false" in tool.words(), tool.words()


def namespaces():
    return clusterrig.kubectl("get", "namespaces", "-l", "ttg.io/component=demo", "-o", "name").out.split()


def to_the_cluster(demo):
    """Demo gives itself another home, where kubectl would look for its configuration."""
    demo.env["KUBECONFIG"] = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    demo.env["KUBECACHEDIR"] = temp_dir()
    return demo


@test
def a_pod_that_is_killed_costs_its_chunk_on_a_real_cluster():
    clusterrig.can_run()
    before, demo = namespaces(), to_the_cluster(Demo())
    done = demo.run("--runtime", "k8s", "--fault-demo", deadline_s=150)
    assert done.out.count("sum 7140, verified: 12 of 12") == 2, done
    assert re.search(r"kubectl delete pod fault-worker-1 --grace-period=0 --force +# 3\d\d ms into", done.out), done
    assert re.search(r"worker-1 is lost \(connection lost\): 1 lease free again", done.out), done
    assert re.search(r"worker-[02] took over chunk \d{5}, \d{4} ms after the kill", done.out), done
    assert "worker-1 starts again, in a new pod" in done.out, done
    assert namespaces() == before, namespaces()
    demo.check_gone()


@test
def interrupted_on_a_real_cluster_it_leaves_nothing():
    clusterrig.can_run()
    before, demo = namespaces(), to_the_cluster(Demo())
    process = demo.spawn("--runtime", "k8s")
    process.wait_for("kubectl run", 60)
    process.kill(signal.SIGINT)
    assert process.wait(60) == 130, process.err()
    assert namespaces() == before, namespaces()
    demo.check_gone()


main()

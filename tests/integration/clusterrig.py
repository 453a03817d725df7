# SPDX-License-Identifier: Apache-2.0
"""clusterrig - a real cluster, where there is one that tests may use.

Nothing is started on a cluster only because kubectl happens to know it: its context has to be one that
kind made, or the one that TTG_TEST_CONTEXT names."""
import atexit
import functools
import os

import k8s_check
from harness import ROOT, have, run, skip

K8S = os.path.join(ROOT, "deploy/k8s")


def kubectl(*words, **checks):
    return run(["kubectl", *words], **checks)


def cluster():
    """Skips where there is none. Returns its version, as (1, 34)."""
    if not have("kubectl"):
        skip("kubectl is not installed")
    asked = kubectl("config", "current-context", code=None)
    context = asked.out.strip()
    if asked.code != 0:
        skip("kubectl knows no cluster")
    if not context.startswith("kind-") and context != os.environ.get("TTG_TEST_CONTEXT"):
        skip(f"kubectl's context {context} is not kind's, nor what TTG_TEST_CONTEXT names")
    asked = kubectl("get", "--raw", "/version", "--request-timeout=5s", code=None)
    if asked.code != 0:
        skip("the cluster does not answer: " + asked.err.strip()[-150:])
    (said,) = k8s_check.load(asked.out)
    return int(said["major"]), int("".join(c for c in said["minor"] if c.isdigit()))


@functools.lru_cache(None)
def can_run():
    """Whether its machines have the image ttg:latest, and run pods at all."""
    cluster()
    name = f"ttg-test-image-{os.getpid()}"
    kubectl("run", name, "--image=ttg:latest", "--image-pull-policy=Never", "--restart=Never", "--", "version")
    atexit.register(lambda: kubectl("delete", "pod", name, "--ignore-not-found", "--wait=false", code=None))
    done = kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/" + name, "--timeout=15s", code=None)
    if done.code != 0:
        state = kubectl("get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].state}").out
        skip("the cluster does not run ttg:latest (deploy/k8s/local/build.sh --load-kind): " + state[:150])

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg cleanup` removes what is ttg's, and nothing else: planted foreign directories, processes,
keys, queues, containers and volumes stay."""
import json
import os
import pty
import re
import select
import tarfile
import time

from demorig import Demo, need
from harness import TTG, alive, have, main, open_pty, run, skip, spawn, temp_dir, test, wait_until, write_file
from redisrig import Redis

BOOT = "/proc/sys/kernel/random/boot_id"


def start_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def tree(path):
    return sorted(os.path.join(where, name) for where, dirs, files in os.walk(path)
                  for name in dirs + files)


def cleanup(demo, *words, **checks):
    return run([TTG, "cleanup", *words], env={**demo.env, **checks.pop("env", {})}, **checks)


@test
def it_wants_to_know_what():
    demo = Demo()
    cleanup(demo, code=2, err="--local.*--all")
    cleanup(demo, "--redis", code=2, err="--queue redis://")
    cleanup(demo, "--rabbitmq", code=2, err="--queue amqp://")
    cleanup(demo, "--local", out="nothing to remove")


def plant(demo):
    """Things in the state directory that are not ours, or only look so; and a living process."""
    top = os.path.join(demo.dir, "ttg/demo")
    jobs = os.path.join(demo.dir, "ttg/jobs")
    os.makedirs(os.path.join(top, "foreign/below"))
    write_file(os.path.join(top, "foreign/below/file"), "mine")
    write_file(os.path.join(top, "file"), "mine")
    os.makedirs(os.path.join(jobs, "foreign"))
    write_file(os.path.join(jobs, "foreign/data"), "mine")
    outside = temp_dir()
    write_file(os.path.join(outside, "processes"), "")
    write_file(os.path.join(outside, "run.lock"), "")
    os.symlink(outside, os.path.join(top, "link"))
    os.symlink(outside, os.path.join(jobs, "link"))
    return spawn(["sleep", "600"]), outside


@test
def foreign_files_and_processes_stay():
    demo = Demo()
    sleeper, outside = plant(demo)
    before = tree(demo.dir) + tree(outside)
    demo.run("--scale", "medium", "--skip-cleanup")
    path, = [os.path.join(demo.dir, "ttg/demo", name)
             for name in os.listdir(os.path.join(demo.dir, "ttg/demo")) if "." in name]
    with open(BOOT, encoding="ascii") as file:
        boot = file.read().strip()
    with open(os.path.join(path, "processes"), "a", encoding="ascii") as file:
        file.write(f"{sleeper.pid} {start_of(sleeper.pid) - 1} {boot} reused\n")
        file.write(f"{sleeper.pid} {start_of(sleeper.pid)} {'0' * 36} rebooted\n")
        file.write("1 1 x y\n")
    done = cleanup(demo, "--local", "--dry-run", out="would be removed:\n  demo +" + re.escape(path))
    assert str(sleeper.pid) not in done.out and "foreign" not in done.out, done
    cleanup(demo, "--local", code=2, err="no terminal.*--force")
    assert os.path.exists(path)
    cleanup(demo, "--local", "--force", err="removed 1 of 1")
    assert not os.path.exists(path)
    assert sleeper.code() is None, "a foreign process was ended"
    assert tree(demo.dir) + tree(outside) == before
    assert os.path.exists(os.path.join(outside, "processes"))


@test
def servers_left_running_are_ended():
    need("redis")
    demo = Demo()
    other = Redis()
    other.client.set("ttg:tasks", "mine")
    try:
        done = demo.run("--backend", "redis", "--scale", "medium", "--skip-cleanup")
        assert re.search(r"^redis still serves at redis://", done.out, re.M), done
        servers = [pid for pid, line in demo.processes().items() if "redis-server" in line]
        assert len(servers) == 1, demo.processes()
        cleanup(demo, "--local", "--dry-run", out=f"runs: redis {servers[0]}")
        assert alive(servers[0])
        done = cleanup(demo, "--local", "--force", "--json")
        items = json.loads(done.out)["items"]
        assert [i["kind"] for i in items] == ["demo"] and items[0]["removed"] is True, items
        demo.check_gone()
    finally:
        demo.kill_all()
    assert other.client.get("ttg:tasks") == b"mine"


@test
def what_is_in_use_stays():
    demo = Demo()
    running = demo.spawn("--fault-demo")
    running.wait_for(r"^1\. undisturbed")
    running.stop()  # or it ends while we look
    job = spawn([TTG, "run", "--params", "1000000", "--workers", "1", "--output",
                 os.path.join(demo.dir, "out")], env=demo.env)
    wait_until(lambda: os.path.exists(os.path.join(demo.dir, "out")), what="the run runs")
    done = cleanup(demo, "--local", "--force", out="nothing to remove")
    assert "in use by a ttg demo" in done.out and "in use by a ttg run" in done.out, done
    assert running.code() is None and job.code() is None
    job.kill(2)
    assert job.wait() == 130
    done = cleanup(demo, "--local", "--dry-run", "--json")
    kinds = {i["kind"]: i["stays"] for i in json.loads(done.out)["items"]}
    assert kinds == {"demo": True, "embedded job": False}, kinds
    cleanup(demo, "--local", "--force", err="removed 1 of 1")
    assert os.listdir(os.path.join(demo.dir, "ttg/jobs")) == []
    running.cont()
    assert running.wait() == 0, running.err()


def on_terminal(demo, words, answer):
    """What cleanup says on a terminal of its own, and its exit code."""
    for end in open_pty():  # or the test is skipped
        os.close(end)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(demo.env)
        os.execv(TTG, [TTG, "cleanup", *words])
    said, answered, deadline = b"", False, time.monotonic() + 20
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        said += data
        if b"[y/N]" in said and not answered:
            os.write(fd, answer)
            answered = True
    os.close(fd)
    return said.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@test
def on_a_terminal_it_asks():
    demo = Demo()
    demo.run("--scale", "medium", "--skip-cleanup")
    said, code = on_terminal(demo, ["--local"], b"n\n")
    assert "remove the 1 of these? [y/N]" in said and "nothing was removed" in said, said
    assert code == 0 and len(os.listdir(os.path.join(demo.dir, "ttg/demo"))) == 1
    said, code = on_terminal(demo, ["--local"], b"y\n")
    assert code == 0 and "removed 1 of 1" in said, said
    assert os.listdir(os.path.join(demo.dir, "ttg/demo")) == []


@test
def foreign_keys_stay():
    demo = Demo()
    server = Redis()
    for job, more in (("default", []), ("sweep", ["--params", "100"])):
        run([TTG, "submit", job, "--queue", server.url, *more])
    run([TTG, "worker", "--queue", server.url, "--job", "sweep", "--simulate-ms", "0"])
    foreign = {"ttg:mine": "1", "other": "2", "ttg:{nobody}:tasks": "3", "ttg.tasks": "4",
               "ttg:{sweep}:notes": "5", "ttg:tasks2": "6", "xttg:tasks": "7"}
    for key, value in foreign.items():
        server.client.set(key, value)
    ours = {k for k in server.client.keys() if k.decode() not in foreign}
    assert len(ours) > 5, ours
    done = cleanup(demo, "--redis", "--queue", server.url, "--dry-run",
                   out=r"job +default on redis://\S+  \(running, 0 of 100 chunks done")
    assert re.search(r"job +sweep on .*\(finished, 1 of 1 chunks", done.out), done
    assert {k for k in server.client.keys() if k.decode() not in foreign} == ours
    cleanup(demo, "--redis", "--queue", server.url, "--force", err="removed 2 of 2")
    left = {k.decode(): server.client.get(k).decode() for k in server.client.keys()}
    assert left == foreign, left


@test
def an_unreachable_server_is_an_error_and_the_rest_is_done():
    demo = Demo()
    demo.run("--scale", "medium", "--skip-cleanup")
    cleanup(demo, "--redis", "--local", "--force", "--queue", "redis://127.0.0.1:1",
            "--queue-retry", "0.1", code=3, err="removed 1 of 1")
    demo.check_gone()


FAKE = """#!/bin/sh
printf '%s ' "$0" "$@" >>"$FAKE_LOG"
echo >>"$FAKE_LOG"
case "${0##*/} $*" in
*"part-of=ttg"*scaledobjects*|*scaledobjects*"part-of=ttg"*)
    echo "the server doesn't have a resource type" >&2; exit 1 ;;
"kubectl get "*"--selector app.kubernetes.io/part-of=ttg"*)
    printf 'deployment.apps/ttg-worker\\npod/ttg-worker-1\\n--all\\npod/a b\\n'
    case "$*" in *persistentvolumeclaims*) echo persistentvolumeclaim/ttg-redis ;; esac ;;
"podman pod ps --filter label=app.kubernetes.io/part-of=ttg"*) echo ttg-pod ;;
"podman ps --all --filter label=app.kubernetes.io/part-of=ttg"*) echo ttg-c1 ;;
"podman network ls --filter label=app.kubernetes.io/part-of=ttg"*) echo ttg-net ;;
"podman volume ls --filter label=app.kubernetes.io/part-of=ttg"*) echo ttg-data ;;
*" get "*|*" ps "*|*" ls "*) echo foreign ;;
esac
"""


def fakes():
    """Programs that note their words; only with our label do they name what is ours."""
    path = temp_dir()
    for name in ("kubectl", "podman"):
        write_file(os.path.join(path, name), FAKE, 0o755)
    write_file(os.path.join(path, "docker"), "#!/bin/sh\necho 'no daemon' >&2\nexit 1\n", 0o755)
    log = os.path.join(path, "log")
    write_file(log)

    def words():
        with open(log, encoding="utf-8") as file:
            return [line.strip()[len(path) + 1:] for line in file]
    return {"PATH": path + ":/usr/bin:/bin", "FAKE_LOG": log}, words


@test
def only_labelled_objects_go():
    demo = Demo()
    env, words = fakes()
    done = cleanup(demo, "--pods", "--dry-run", env=env, code=3, err="docker: no daemon")
    assert "pod/ttg-worker-1" in done.out and "foreign" not in done.out, done
    assert "claim" not in done.out and "ttg-data" not in done.out, done
    assert not [w for w in words() if re.search(r" (rm|delete) ", w)], words()
    cleanup(demo, "--pods", "--force", env=env, code=3, err="removed 5 of 5")
    removed = {w for w in words() if re.search(r" (rm|delete) ", w)}
    assert removed == {
        "kubectl delete deployment.apps/ttg-worker --ignore-not-found --wait=false",
        "kubectl delete pod/ttg-worker-1 --ignore-not-found --wait=false",
        "podman pod rm --force ttg-pod", "podman rm --force ttg-c1", "podman network rm ttg-net"}, removed
    looked = [w for w in words() if w not in removed and w != "kubectl config current-context"]
    assert looked and all("app.kubernetes.io/part-of=ttg" in w for w in looked), looked


@test
def volumes_go_with_all_only():
    demo = Demo()
    env, words = fakes()
    cleanup(demo, "--all", "--force", env=env, code=3, err="removed 7 of 7")
    assert "podman volume rm ttg-data" in words(), words()
    assert any("delete persistentvolumeclaim/ttg-redis" in w for w in words()), words()


@test
def a_kubectl_that_knows_no_cluster_is_no_failure():
    """With --all it is left out, and said. A cluster that is known and does not answer is an error."""
    demo, path = Demo(), temp_dir()
    env = {"PATH": path, "KUBERNETES_SERVICE_HOST": None}
    write_file(path + "/kubectl", "#!/bin/sh\necho current-context is not set >&2\nexit 1\n", 0o755)
    cleanup(demo, "--all", "--force", env=env, code=0, out="nothing to remove",
            err="left out: Kubernetes, kubectl was told of no cluster")
    cleanup(demo, "--pods", "--force", env=env, code=3, err=r"neither kubectl \(with a cluster\) nor podman")
    write_file(path + "/kubectl", "#!/bin/sh\n[ $1 = config ] || { echo refused >&2; exit 1; }\n", 0o755)
    for which in ("--all", "--pods"):
        cleanup(demo, which, "--force", env=env, code=3, err="kubectl: refused")
    # In a pod there is no context, and there is a cluster.
    write_file(path + "/kubectl", "#!/bin/sh\necho refused >&2\nexit 1\n", 0o755)
    cleanup(demo, "--all", "--force", env={**env, "KUBERNETES_SERVICE_HOST": "10.96.0.1"}, code=3,
            err="kubectl: refused")


class Podman:
    """A real podman with storage of its own, and what a user of it has lying about."""

    def __init__(self):
        real, self.dir = have("podman"), temp_dir()
        if not real:
            skip("podman is not installed")
        conf = write_file(os.path.join(self.dir, "containers.conf"),
                          '[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\n'
                          f'[network]\nnetwork_config_dir="{self.dir}/networks"\n')
        bin_dir = os.path.join(self.dir, "bin")
        os.mkdir(bin_dir)
        self.path = write_file(os.path.join(bin_dir, "podman"), f"""#!/bin/sh
exec {real} --root {self.dir}/root --runroot {self.dir}/run --storage-driver vfs "$@"
""", 0o755)
        self.env = {"PATH": bin_dir + ":" + os.environ["PATH"], "CONTAINERS_CONF": conf}
        layer = os.path.join(self.dir, "layer.tar")
        with tarfile.open(layer, "w") as tar:
            tar.add(write_file(os.path.join(self.dir, "true"), "", 0o755), "true")
        made = run([self.path, "import", layer, "img"], env=self.env, code=None)
        if made.code != 0:
            skip("podman does not run here: " + made.err.strip().splitlines()[-1])

    def __call__(self, *words):
        return run([self.path, *words], env=self.env).out.split()


@test
def foreign_containers_stay():
    podman, demo, label = Podman(), Demo(), ["--label", "app.kubernetes.io/part-of=ttg"]
    for name, words in (("foreign-ttg", []), ("ttg-worker", ["--label", "app=ttg"]), ("ours", label)):
        podman("create", *words, "--name", name, "img", "/true")
        podman("volume", "create", *words, "data-" + name)
        podman("pod", "create", "--infra=false", *words, "--name", "pod-" + name)
        podman("network", "create", *words, "net-" + name)

    def there():
        return {"containers": set(podman("ps", "--all", "--format", "{{.Names}}")),
                "pods": set(podman("pod", "ps", "--format", "{{.Name}}")),
                "networks": set(podman("network", "ls", "--format", "{{.Name}}")) - {"podman"},
                "volumes": set(podman("volume", "ls", "--format", "{{.Name}}"))}
    before, foreign = there(), ("foreign-ttg", "ttg-worker")
    done = cleanup(demo, "--pods", "--dry-run", env=podman.env, code=None)
    assert "ours" in done.out and "foreign" not in done.out and there() == before, done
    cleanup(demo, "--pods", "--force", env=podman.env, code=None)
    assert there() == {"containers": set(foreign), "pods": {"pod-" + n for n in foreign},
                       "networks": {"net-" + n for n in foreign},
                       "volumes": before["volumes"]}, there()
    cleanup(demo, "--all", "--force", env=podman.env, code=None)
    assert there() == {"containers": set(foreign), "pods": {"pod-" + n for n in foreign},
                       "networks": {"net-" + n for n in foreign},
                       "volumes": {"data-" + n for n in foreign}}, there()


main()

# SPDX-License-Identifier: Apache-2.0
"""podrig - the image and its pods on a podman of our own.

Everything lives in namespaces of its own (processes, mounts, network) with storage in a temporary
directory: when the test ends or is killed, the kernel takes it all away, containers included, and a
podman that the machine uses for other things is not touched.

The base image is made from Debian's packages (mmdebstrap, kept in build/deploy for the next time). It
stands for debian:bookworm-slim with what the build needs, and for redis: no registry is asked.

podman is not quite Kubernetes. `play` does first what its kubelet would do and podman's does not:
makes pods of stateful sets and jobs, puts in $(NAME), hands secrets and single files over. It leaves out
ports, which this podman would open on the host, and probes, which it runs as programs of the image."""
import atexit
import base64
import glob
import json
import os
import re
import time

import k8s_check
from harness import ROOT, TTG, have, keep, on_failure, run, skip, spawn, temp_dir, wait_until, write_file

PACKAGES = ("ca-certificates redis-server gcc make pkg-config libc6-dev librabbitmq-dev libssl-dev libzstd-dev "
            "libxxhash-dev zlib1g-dev").split()
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
CONF = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
infra_image = "localhost/infra"
[network]
network_backend = "netavark"
network_config_dir = "{dir}/networks"
"""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{dir}/storage"
runroot = "{dir}/run"
"""
RABBITMQ = """FROM docker.io/library/debian:bookworm-slim
ADD files.tar /
RUN useradd --system --uid 999 --user-group --home-dir /var/lib/rabbitmq rabbitmq && \\
    mkdir -p /etc/rabbitmq/conf.d /var/lib/rabbitmq /var/log/rabbitmq && \\
    echo '[rabbitmq_management].' >/etc/rabbitmq/enabled_plugins && \\
    chown rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq && chmod 1777 /var/lib/rabbitmq /var/log/rabbitmq
ENV PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/lib/rabbitmq
VOLUME /var/lib/rabbitmq
CMD ["rabbitmq-server"]
"""
# Names that podman does not know are asked for at once and in vain, not until a time limit. The shell
# stays, to reap what loses its parent. A bridge has the least address of its ports, so it gets another one
# when a container comes or goes; netavark 1.4 does not fix it, and unless it is announced, containers
# do not reach the bridge's name server for up to half a minute.
INIT = ("mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && ip link set lo up && "
        "echo 1 >/proc/sys/net/ipv4/conf/all/arp_notify && "
        "echo nameserver 127.0.0.1 >/run/resolv.conf && mount --bind /run/resolv.conf /etc/resolv.conf && "
        "echo ready && while :; do sleep 1000; done")


def control_groups():
    """Those that a podman made, inner ones first; version 1 has several trees of them, 2 has one."""
    found = []
    for name in ("libpod_parent", "buildah-*"):
        for top in glob.glob("/sys/fs/cgroup/" + name) + glob.glob("/sys/fs/cgroup/*/" + name):
            found += [path for path, _, _ in os.walk(top, topdown=False)]
    return found


def remove_control_groups(but):
    """Removes those that are empty and were not there before; nothing else takes them away."""
    for path in control_groups():
        if path not in but:
            try:
                os.rmdir(path)
            except OSError:
                pass


def base_archive():
    """Path of the base image's files: made once, kept for a week."""
    if not have("mmdebstrap"):
        skip("mmdebstrap is not installed")
    kept = os.path.join(ROOT, "build/deploy/base.tar")
    if os.path.exists(kept) and time.time() - os.path.getmtime(kept) < 7 * 86400:
        return kept
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    fresh = os.path.join(temp_dir(), "base.tar")
    words = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=" + ",".join(PACKAGES),
             '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::http::Timeout "10"',
             '--aptopt=Acquire::Retries "1"']
    words += [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
    done = run([*words, "bookworm", fresh], code=None, deadline_s=240)
    if done.code != 0:
        lines = [line for line in done.err.splitlines() if line.startswith(("E:", "W:"))] or ["?"]
        skip("mmdebstrap can make no base image (no network?): " + lines[0][:150])
    run(["mv", fresh, kept])
    return kept


class Podman:
    """One for a test file; it goes with the file."""

    def __init__(self):
        for program in ("podman", "runc", "unshare", "nsenter", "ip", "iptables"):
            if not have(program):
                skip(program + " is not installed")
        if os.geteuid() != 0:
            skip("needs root")
        atexit.register(remove_control_groups, set(control_groups()))
        self.dir = temp_dir()
        self.home = spawn(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
                           "--propagation", "private", "sh", "-c", INIT])
        try:
            self.home.wait_for("^ready$", 60)
        except AssertionError:
            skip("namespaces cannot be made here: " + self.home.err().strip()[-150:])
        keep(self.dir, self.home)
        with open(f"/proc/{self.home.pid}/task/{self.home.pid}/children", encoding="ascii") as file:
            self.init = file.read().split()[0]
        self.env = {"CONTAINERS_CONF": write_file(os.path.join(self.dir, "containers.conf"),
                                                  CONF.format(dir=self.dir)),
                    "CONTAINERS_STORAGE_CONF": write_file(os.path.join(self.dir, "storage.conf"),
                                                          STORAGE.format(dir=self.dir)),
                    "TMPDIR": self.dir, "HOME": self.dir, "CONTAINER_ENGINE": "podman"}
        self.secret, self.maps = {}, {}

    def inside(self, *words, **checks):
        """Runs a command in the namespaces."""
        checks["env"] = {**self.env, **checks.get("env", {})}
        return run(["nsenter", "-t", self.init, "-m", "-p", "-n", *words], **checks)

    def __call__(self, *words, **checks):
        return self.inside("podman", *words, **checks)

    def import_base(self):
        """A base that cannot be had is a skip."""
        self.import_files(base_archive(), "docker.io/library/debian:bookworm-slim",
                          "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        done = self("run", "--rm", "--network", "none", "debian:bookworm-slim", "true", code=None)
        if done.code != 0:
            skip("podman cannot run a container here: " + done.err.strip()[-200:])
        self("tag", "docker.io/library/debian:bookworm-slim", "docker.io/library/redis:7.2")

    def import_files(self, archive, name, *changes):
        words = [word for change in changes for word in ("--change", change)]
        done = self("import", "-q", *words, archive, name, code=None, deadline_s=120)
        if done.code != 0:
            skip("podman cannot keep images here: " + done.err.strip()[-200:])

    def import_ttg(self):
        """ttg:latest out of the program under test, without the Containerfile: in seconds."""
        files, archive = os.path.join(self.dir, "rootfs"), os.path.join(self.dir, "rootfs.tar")
        run([os.path.join(ROOT, "deploy/container/rootfs"), TTG, files])
        run(["tar", "-C", files, "-cf", archive, "."])
        self.import_files(archive, "docker.io/library/ttg:latest", 'ENTRYPOINT ["/usr/bin/ttg"]', "USER 1000:1000",
                          "ENV PATH=/usr/bin", "ENV HOME=/tmp", "WORKDIR /data",
                          "LABEL app.kubernetes.io/part-of=ttg")
        done = self("run", "--rm", "--network", "none", "ttg:latest", "version", code=None)
        if done.code != 0:
            skip("podman cannot run a container here: " + done.err.strip()[-200:])

    def make_rabbitmq(self):
        """The broker's image out of this machine's packages: Debian's 3.10 stands for 3.12 and the
        image's own start script, as Debian's Redis does for Redis. On top of the base."""
        packages = [name for name in run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n", "erlang-*",
                                          "rabbitmq-server"], code=None).out.split("\n")
                    if name.startswith("ii ")]
        if "ii rabbitmq-server" not in packages:
            skip("rabbitmq-server is not installed")
        listed = run(["dpkg", "-L", *[name[3:] for name in packages]]).out.split("\n")
        wanted = [path for path in listed if path.startswith(("/usr/lib/erlang/", "/usr/lib/rabbitmq/", "/usr/bin/e"))
                  and not os.path.isdir(path)]
        names = write_file(os.path.join(self.dir, "names"), "\n".join(wanted))
        context = os.path.join(self.dir, "rabbitmq")
        os.mkdir(context)
        run(["tar", "-C", "/", "-cf", context + "/files.tar", "--files-from", names], code=None)
        write_file(context + "/Containerfile", RABBITMQ)
        self("build", "-q", "-t", "docker.io/library/rabbitmq:3.12-management", context, deadline_s=120)

    def make_cluster(self):
        """What pods need besides: a container to hold them, a network, the Secret."""
        infra = write_file(os.path.join(self.dir, "Infra"),
                           'FROM debian:bookworm-slim\nENTRYPOINT ["/usr/bin/sleep","infinity"]\n')
        self("build", "-q", "-f", infra, "-t", "localhost/infra", self.dir + "/run")
        self("network", "create", "cluster")
        (secret,) = k8s_check.load(run([ROOT + "/deploy/k8s/local/secrets.sh"]).out)
        self.secret = secret["stringData"]
        known = {key: base64.b64encode(value.encode()).decode() for key, value in self.secret.items()}
        self("secret", "create", "ttg-secrets", write_file(self.dir + "/secret", json.dumps(known)))

    def make_images(self):
        """The base, and ttg from its Containerfile by build.sh."""
        self.import_base()
        self.inside(os.path.join(ROOT, "deploy/k8s/local/build.sh"), "--version", "0.0.1", deadline_s=300)
        self.make_cluster()

    # ---- what a kubelet does

    def value_of(self, entry):
        ref = entry.get("valueFrom", {}).get("secretKeyRef")
        return self.secret[ref["key"]] if ref else entry["value"]

    def whole_mount(self, mount, volumes):
        """podman mounts all of a ConfigMap where one file of it (subPath) is asked for."""
        if "subPath" not in mount:
            return mount  # of a claim, perhaps, that is no volume of the pod's own
        (volume,) = [each for each in volumes if each["name"] == mount["name"]]
        path = os.path.join(self.dir, mount["subPath"])
        write_file(path, self.maps[volume["configMap"]["name"]][mount["subPath"]], 0o644)
        volumes.append({"name": mount["name"] + "-file", "hostPath": {"path": path, "type": "File"}})
        return {"name": mount["name"] + "-file", "mountPath": mount["mountPath"]}

    def pod(self, name, labels, spec):
        """A pod's object, made fit for podman."""
        spec = dict(spec, containers=[dict(each) for each in spec["containers"]])
        spec.pop("topologySpreadConstraints", None)
        for container in spec["containers"]:
            values = {}
            for entry in container.get("env", ()):
                values[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: values[m.group(1)],
                                               self.value_of(entry))
            container["env"] = [{"name": key, "value": value} for key, value in values.items()]
            container["args"] = [re.sub(r"\$\((\w+)\)", lambda m: values[m.group(1)], word)
                                 for word in container.get("args", ())]
            for each in ("ports", "readinessProbe", "livenessProbe", "startupProbe"):
                container.pop(each, None)
        volumes = []
        for volume in spec.get("volumes", ()):
            if "secret" in volume:
                path = os.path.join(self.dir, f"{name}-{volume['name']}")
                os.makedirs(path, exist_ok=True)
                for item in volume["secret"]["items"]:
                    file = write_file(os.path.join(path, item["path"]), self.secret[item["key"]],
                                      volume["secret"]["defaultMode"])
                    os.chown(file, 0, spec["securityContext"]["fsGroup"])
                volume = {"name": volume["name"], "hostPath": {"path": path, "type": "Directory"}}
            volumes.append(volume)
        for container in spec["containers"]:
            container["volumeMounts"] = [self.whole_mount(mount, volumes)
                                         for mount in container.get("volumeMounts", ())]
        spec["volumes"] = volumes
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}

    def play(self, things):
        """Starts the pods among these objects, as far as podman knows what they are."""
        out, claims = [], []
        for thing in things:
            kind, name, spec = thing["kind"], thing["metadata"]["name"], thing.get("spec", {})
            if kind in ("ConfigMap", "PersistentVolumeClaim"):
                out.append(thing)
            if kind == "ConfigMap":
                self.maps[name] = thing["data"]
            if kind == "PersistentVolumeClaim":
                claims.append(name)
            if kind in ("Pod", "Job", "StatefulSet", "Deployment"):
                labels, inner = k8s_check.pod_of(thing)
                made = self.pod(name, labels, inner)
                for claim in spec.get("volumeClaimTemplates", ()):
                    full = f"{claim['metadata']['name']}-{name}-0"
                    out.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim["spec"],
                                "metadata": {"name": full, "labels": claim["metadata"]["labels"]}})
                    claims.append(full)
                    made["spec"]["volumes"].append({"name": claim["metadata"]["name"],
                                                    "persistentVolumeClaim": {"claimName": full}})
                if kind == "Deployment":
                    made = dict(thing, spec=dict(spec, template={"metadata": {"labels": labels},
                                                                 "spec": made["spec"]}))
                out.append(made)
        path = write_file(os.path.join(self.dir, "play.json"), "\n---\n".join(map(json.dumps, out)))
        self("play", "kube", "--network", "cluster", path)
        return claims

    # ---- compose

    def compose(self, *words, **checks):
        """docker-compose on podman's socket."""
        if not have("docker-compose"):
            skip("docker-compose is not installed")
        socket = os.path.join(self.dir, "socket")
        if not os.path.exists(socket):
            keep(spawn(["nsenter", "-t", self.init, "-m", "-p", "-n", "podman", "system", "service",
                        "--time", "0", "unix://" + socket], env=self.env))
            wait_until(lambda: os.path.exists(socket), what="podman's socket")
        return self.inside("docker-compose", "-f", os.path.join(self.dir, "compose/compose.yaml"), *words,
                           env={"DOCKER_HOST": "unix://" + socket, "COMPOSE_PROFILES": None}, **checks)

    # ---- looking

    def pid(self, container):
        """Of a container's first process, as this machine counts."""
        inner = self("inspect", "--format", "{{.State.Pid}}", container).out.strip()
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                try:
                    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                        status = file.read()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                numbers = re.search(r"^NSpid:\s*(.*)$", status, re.M).group(1).split()
                if len(numbers) >= 2 and numbers[1] == inner and self.is_ours(pid):
                    return int(pid)
        raise AssertionError(f"no process {inner} of {container}")

    def is_ours(self, pid):
        """Whether a process lives in our network of pods: below our init."""
        while pid not in ("0", "1"):
            if pid == self.init:
                return True
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    pid = file.read().rpartition(")")[2].split()[1]
            except (FileNotFoundError, ProcessLookupError):
                return False
        return False

    def show(self):
        """For a test that failed: the containers and their last words."""
        text = self("ps", "--all", "--format", "{{.Names}} {{.Status}}", code=None).out
        for name in [line.split()[0] for line in text.splitlines()]:
            done = self("logs", "--tail", "20", name, code=None)
            text += f"{name}:\n" + "".join(f"  {line[:300]}\n" for line in (done.out + done.err).splitlines())
        return text

    def logs(self, container):
        done = self("logs", container)
        return done.out + done.err

    def code(self, container):
        """Exit code, None while it runs."""
        state = self("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container).out.split()
        return int(state[1]) if state[0] in ("exited", "stopped") else None

    def wait(self, container, deadline_s=180):
        def ended():
            return self.code(container) is not None
        wait_until(ended, deadline_s, f"the end of {container}")
        return self.code(container)

    def clear(self):
        """Pods, containers and volumes; images stay."""
        self("kill", "--all", code=None)  # or each gets 10 s
        self("pod", "rm", "--force", "--all", deadline_s=60)
        self("rm", "--force", "--all")
        self("volume", "rm", "--all", "--force")


def once(fill):
    """A function that gives a podman for all tests of a program: `fill` puts images into it when the
    first test asks; when that fails, the others are skipped."""
    made = []

    def podman():
        if not made:
            made.append(None)
            new = Podman()
            fill(new)
            made[0] = new
        if not made[0]:
            skip("podman does not run here, or there is no image (see above)")
        on_failure(made[0].show)
        return made[0]
    return podman

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: what is in them, that the same commit makes the same bytes, that they work in
a clean Debian and leave nothing behind, and that the services run under a real systemd."""
import filecmp
import functools
import glob
import os
import re
import subprocess

from harness import ROOT, have, keep, main, run, skip, spawn, temp_dir, test, wait_until, write_file
from systemdrig import World

NAMES = ("ttg", "libttg0", "libttg-dev")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()


def build():
    """{name: file} of packages built into a new directory."""
    for program in ("dpkg-shlibdeps", "dpkg-deb", "strip"):
        if not have(program):
            skip(f"{program} is not installed")
    where = temp_dir()
    run([ROOT + "/packaging/build-deb", where], deadline_s=400)
    return {name: glob.glob(f"{where}/{name}_*.deb")[0] for name in NAMES}


@functools.lru_cache(None)
def packages():
    built = build()
    keep(os.path.dirname(built["ttg"]))
    return built


def unpacked():
    where = temp_dir()
    for file in packages().values():
        run(["dpkg-deb", "-x", file, where])
    return where


def field(name, what):
    return output("dpkg-deb", "-f", packages()[name], what).strip()


@test
def the_same_commit_makes_the_same_bytes():
    again = build()
    for name, file in packages().items():
        assert filecmp.cmp(file, again[name], shallow=False), name
    root = unpacked()
    for where, _, names in os.walk(root):
        for name in names:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    text = file.read()
                for below in ("src", "build", "include"):
                    assert f"{ROOT}/{below}/".encode() not in text, f"{path} knows where it was built"


@test
def everything_is_in_its_place():
    version = output(ROOT + "/build/deb/ttg", "version").split()[1]
    for name, file in packages().items():
        assert field(name, "Version") == version
        listed = output("dpkg-deb", "-c", file).splitlines()
        assert all(line.split()[1] == "root/root" for line in listed), listed
        assert not [line for line in listed if line[8] == "w" and line[0] != "l"], "writable for all"
    assert re.search(r"\blibc6 .*\blibrabbitmq4 .*\blibssl3", field("ttg", "Depends"))
    assert f"libttg0 (= {version})" in field("libttg-dev", "Depends")
    root = unpacked()
    for name in ("usr/bin/ttg", "usr/share/man/man1/ttg.1.gz", "lib/systemd/system/ttg-node.service",
                 "lib/systemd/system/ttg-worker@.service", "lib/systemd/system/ttg-monitor.service",
                 "usr/lib/sysusers.d/ttg.conf", "etc/ttg/node.env", "etc/ttg/worker.env",
                 "usr/share/bash-completion/completions/ttg", "usr/share/zsh/vendor-completions/_ttg",
                 "usr/share/fish/vendor_completions.d/ttg.fish", "usr/share/doc/ttg/changelog.gz",
                 "usr/share/doc/ttg/copyright", "usr/share/doc/ttg/guide.md",
                 "usr/share/doc/ttg/examples/prometheus/ttg-rules.yml", "usr/include/ttg/ttg.h",
                 "usr/share/doc/libttg-dev/examples/lib/worker.c"):
        assert os.path.getsize(os.path.join(root, name)) > 0, name
    for unit in glob.glob(root + "/lib/systemd/system/*.service"):
        with open(unit, encoding="ascii") as file:
            assert "ExecStart=/usr/bin/ttg " in file.read(), unit


PROGRAM = """
#include <stdio.h>
#include <ttg/ttg.h>
int main(void)
{
    struct ttg_queue *q;
    int code = ttg_queue_open(&q, "ttg+unix:/nowhere", NULL);
    printf("%s %s\\n", ttg_version(), code ? ttg_queue_message(q) : "fine");
    ttg_queue_close(q);
    return 0;
}
"""


def compile_in(root):
    """A program and the library's examples, against the development files below `root`."""
    libdir = os.path.dirname(glob.glob(root + "/usr/lib/*/libttg.a")[0])
    env = {"PKG_CONFIG_PATH": libdir + "/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": root}
    flags = run(["pkg-config", "--cflags", "--libs", "ttg"], env=env).out.split()
    examples = glob.glob(root + "/usr/share/doc/libttg-dev/examples/lib/*.c")
    assert len(examples) == 3, examples
    for source in [write_file(temp_dir() + "/program.c", PROGRAM), *examples]:
        name = os.path.basename(source)[:-2]
        run(["cc", "-Wall", "-Werror", "-o", f"{root}/tmp/{name}", source, *flags])
    return libdir


@test
def unpacked_they_work_in_place():
    root = unpacked()
    os.mkdir(root + "/tmp")
    libdir = compile_in(root)
    run([root + "/tmp/program"], env={"LD_LIBRARY_PATH": libdir}, out=r"^\d+\.\d+\.\d+ fine$")
    home = temp_dir()
    run([root + "/usr/bin/ttg", "run", "--params", "1000", "--chunk", "10", "--output", home + "/out",
         "--", "awk", "{ s += $1 } END { print s }"], env={"HOME": home}, err="100 of 100 .* verified")


IN_ROOT = r"""
set -eu
root=$1
in_root() { chroot "$root" env HOME=/tmp/home LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
cp %(files)s "$root/tmp/"
echo "clean root stands"
in_root sh -c 'dpkg -i /tmp/ttg_*.deb /tmp/libttg0_*.deb'
in_root ttg version
in_root getent passwd ttg ttg-worker
in_root sh -c 'cd /tmp && ttg run --params 1000 --chunk 10 --output out.ndjson \
    -- awk "{ s += \$1 } END { print s }" && wc -l <out.ndjson'
in_root sh -c 'dpkg --unpack --force-depends /tmp/libttg-dev_*.deb'
%(compile)s "$root"
in_root /tmp/program
in_root sh -c 'dpkg -L ttg libttg0 libttg-dev | sort -u >/tmp/owned'
in_root dpkg --purge libttg-dev ttg libttg0
in_root sh -c 'while read -r path; do [ ! -f "$path" ] || echo "left: $path"; done </tmp/owned
    find / -xdev -path /proc -prune -o -path /tmp -prune -o -name "*ttg*" -print | sed "s/^/left: /"'
echo "all done"
"""


@test
def in_a_clean_debian_they_install_work_and_go_again():
    if os.getuid() != 0 or not have("mmdebstrap"):
        skip("a clean Debian takes root and mmdebstrap; see the test before")
    with open("/etc/os-release", encoding="utf-8") as file:
        release = dict(re.findall(r'^(\w+)="?(.*?)"?$', file.read(), re.M))
    if release.get("ID") != "debian":
        skip("built on something else than Debian")
    where = temp_dir()
    build_program = write_file(where + "/compile", "#!/bin/sh\nexec /usr/bin/python3 "
                               f"{os.path.abspath(__file__)} --compile \"$1\"\n", 0o755)
    hook = write_file(where + "/hook", IN_ROOT % {"files": " ".join(packages().values()),
                                                  "compile": build_program})
    # Nothing but what is essential, and what the packages say that they need.
    needed = re.sub(r" *\([^)]*\)", "", field("ttg", "Depends") + "," + field("libttg0", "Depends"))
    process = spawn(["mmdebstrap", "--variant=essential", "--format=directory", "--include=" + needed,
                     "--skip=output/dev", "--dpkgopt=force-unsafe-io",
                     f"--customize-hook=sh {hook} \"$1\"", release["VERSION_CODENAME"],
                     where + "/root"], env={"TMPDIR": where})
    process.wait(150)
    said = process.out() + process.err()
    if "clean root stands" not in said:
        skip("no clean Debian: " + (said.strip().splitlines() or ["?"])[-1])
    assert "all done" in said, said[-3000:]
    assert re.search(r"^ttg \d+\.\d+\.\d+$", said, re.M) and re.search(r"^100$", said, re.M), said
    assert re.search(r"^ttg:x:", said, re.M) and re.search(r"^ttg-worker:x:", said, re.M), said
    assert re.search(r"100 of 100 chunks, verified", said), said
    assert re.search(r"^\d+\.\d+\.\d+ fine$", said, re.M), said
    left = re.findall(r"^left: (.*)$", said, re.M)
    assert left == [], left


def job(world, name, *options, slots=1, command="awk '{ s += $1 } END { print s }'"):
    """Submits; says to the workers how."""
    world("ttg", "submit", name, "--queue", "ttg://127.0.0.1:6380", *options)
    world.write("/etc/ttg/worker.env",
                f"TTG_WORKER_ARGS=--job {name} --slots {slots} -- {command}\n")


def logged(world, unit):
    return world("journalctl", "--no-pager", "-u", unit)


@test
def the_services_run_under_systemd():
    with World([packages()["libttg0"], packages()["ttg"]]) as world:
        node_and_workers(world)
        settings_and_logs(world)
        a_worker_is_drained(world)
        what_workers_may_not(world)
        wrong_settings_and_removal(world)


def node_and_workers(world):
    assert world.show("ttg-node", "ActiveState") == "inactive", "installing starts nothing"
    world("systemctl", "start", "ttg-node")  # returns at READY=1
    assert world.show("ttg-node", "ActiveState") == "active"
    status = world.sh("cat /proc/$(systemctl show -P MainPID ttg-node)/status")
    assert re.search(r"NoNewPrivs:\s+1\n", status) and re.search(r"Seccomp:\s+2\n", status), status
    assert re.search(r"CapBnd:\s+0+\n", status) and not re.search(r"Uid:\s+0\s", status), status
    job(world, "sum", "--params", "20000", "--chunk", "10")
    world("systemctl", "start", "ttg-worker@1", "ttg-worker@2")
    before = world.show("ttg-node", "MainPID")
    world("systemctl", "kill", "-s", "KILL", "ttg-node")
    wait_until(lambda: world.show("ttg-node", "ActiveState") == "active" and
               world.show("ttg-node", "MainPID") not in ("0", before), what="a new node")
    world("ttg", "wait", "sum", "--queue", "ttg://127.0.0.1:6380", "--timeout", "60")
    world("ttg", "results", "sum", "--queue", "ttg://127.0.0.1:6380", "--output", "/tmp/sum.ndjson")
    said = world("ttg", "verify", "sum", "--queue", "ttg://127.0.0.1:6380", "--output",
                 "/tmp/sum.ndjson")
    assert "verified: 2000 of 2000" in said, said
    assert world.show("ttg-worker@1", "ActiveState") == "active", "it stays for the next job"
    said = world("curl", "-fsS", "http://127.0.0.1:9464/readyz") if have("curl") else "ready"
    assert said.strip() == "ready", said


def settings_and_logs(world):
    world.write("/etc/ttg/node.env", "TTG_NODE_ARGS=--listen 127.0.0.1:6380 --log-file "
                "/var/log/ttg/node.log\n")
    world("systemctl", "restart", "ttg-node")
    world.sh("mv /var/log/ttg/node.log /var/log/ttg/node.log.1; systemctl reload ttg-node")
    wait_until(lambda: world.run("test", "-e", "/var/log/ttg/node.log").code == 0,
               what="a new log file")


def a_worker_is_drained(world):
    world("systemctl", "stop", "ttg-worker@1", "ttg-worker@2")
    job(world, "slow", "--params", "4", "--chunk", "1",
        command="sh -c 'touch \"started-$TTG_CHUNK\"; until [ -e go ]; do sleep 0.1; done; echo \"by $PPID\"'")
    world("systemctl", "start", "ttg-worker@1")
    wait_until(lambda: world.run("test", "-e", "/var/lib/ttg-worker/started-0").code == 0,
               what="a chunk at work")
    world("systemctl", "stop", "--no-block", "ttg-worker@1")
    wait_until(lambda: "worker.draining" in logged(world, "ttg-worker@1"), what="the worker to know")
    world.sh("touch /var/lib/ttg-worker/go")
    wait_until(lambda: world.show("ttg-worker@1", "ActiveState") == "inactive", what="the end of the worker")
    assert world.show("ttg-worker@1", "Result") == "success"
    said = world("ttg", "status", "slow", "--queue", "ttg://127.0.0.1:6380", "--json")
    assert '"completed":1,' in said and '"reclaimed":0,' in said and '"attempts":1,' in said, said
    world("ttg", "cancel", "slow", "--queue", "ttg://127.0.0.1:6380")


def what_workers_may_not(world):
    tries = {"write_usr": "touch /usr/x", "write_etc": "touch /etc/x", "read_data": "ls /var/lib/ttg",
             "mount": "mount -t tmpfs tmpfs /tmp", "devices": "test -e /dev/kmsg",
             "own": "touch /var/lib/ttg-worker/x /tmp/x", "python": "/usr/bin/python3 -c 0"}
    script = "; ".join(f"{what} 2>/dev/null && echo {name}" for name, what in tries.items())
    world.write("/tmp/tries", script + "; :\n")
    world.sh("cp /tmp/tries /usr/local/bin/tries")
    job(world, "tries", "--params", "1", command="sh /usr/local/bin/tries")
    world("systemctl", "start", "ttg-worker@1")
    world("ttg", "wait", "tries", "--queue", "ttg://127.0.0.1:6380", "--timeout", "30")
    said = world("ttg", "results", "tries", "--queue", "ttg://127.0.0.1:6380")
    assert '"output":"own\\npython\\n"' in said, said


def wrong_settings_and_removal(world):
    world.write("/etc/ttg/node.env", "TTG_NODE_ARGS=--listen 0.0.0.0:6380\n")
    world("systemctl", "restart", "ttg-node", code=1)
    assert world.show("ttg-node", "ExecMainStatus") == "2", "refused without a password"
    assert world.show("ttg-node", "NRestarts") == "0", "and not tried again"
    wait_until(lambda: "--password-file" in logged(world, "ttg-node"), what="the reason")
    # The test notices a sandbox that is too tight.
    world.sh("rm /etc/ttg/node.env; mkdir /run/systemd/system/ttg-node.service.d; printf "
             "'[Service]\\nRestart=no\\nSystemCallFilter=~@network-io\\n' "
             ">/run/systemd/system/ttg-node.service.d/x.conf; systemctl daemon-reload")
    world("systemctl", "start", "ttg-node", code=1)
    world.sh("rm -r /run/systemd/system/ttg-node.service.d; systemctl daemon-reload; "
             "systemctl reset-failed; systemctl start ttg-node")
    world("dpkg", "--purge", "ttg")
    assert world.show("ttg-node", "ActiveState") == "inactive", "stopped before its files went"
    assert world.show("ttg-worker@1", "ActiveState") == "inactive"
    assert "log-" in world("ls", "/var/lib/ttg"), "data are not the package's to delete"


if __name__ == "__main__":
    import sys
    if sys.argv[1:2] == ["--compile"]:
        compile_in(sys.argv[2])
    else:
        main()

# SPDX-License-Identifier: Apache-2.0
"""systemdrig - a real systemd as the first process of a small world of its own.

The world is this machine's file system with a tmpfs above it (nothing that happens there stays),
with its own processes, mounts, host name, network and control groups. It knows a handful of units:
those that a Debian package puts there, and a few targets. So it starts in a tenth of a second,
needs no download, and touches nothing outside; /proc/sys is read-only there, because systemd would
set what holds for all. Needs root and a kernel that allows all this; else the test is skipped."""
import collections
import os
import re
import signal
import subprocess
import tempfile

from harness import have, skip, spawn, temp_dir, wait_until, write_file

SYSTEMD = "/lib/systemd/systemd"
UNITS = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")
TARGETS = ("sysinit", "basic", "multi-user", "network-online", "shutdown", "umount", "final",
           "sockets")
WORLD = r"""
set -eu
top=$1; shift
root=$top/root units=$root/lib/systemd/system
mount --make-rprivate /
mount -t tmpfs tmpfs "$top"
mkdir "$top/up" "$top/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/up,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
for dir in run tmp dev etc/systemd/system lib/systemd/system-generators; do
    mount -t tmpfs tmpfs "$root/$dir"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$top/units"
for name in null zero full random urandom tty; do
    mknod -m 666 "$root/dev/$name" c $(stat -c '0x%%t 0x%%T' "/dev/$name")
done
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/var/log/journal" 2>/dev/null || :
mount -t tmpfs tmpfs "$root/var/log"
for unit in %(units)s; do
    [ ! -e "$units/$unit" ] || cp "$units/$unit" "$top/units"
done
mount -t tmpfs tmpfs "$units"
cp "$top"/units/* "$units"
for name in %(targets)s; do
    printf '[Unit]\nDescription=%%s\nDefaultDependencies=no\n' "$name" >"$units/$name.target"
done
echo 'Wants=systemd-journald.service' >>"$units/multi-user.target"
cp "$@" "$root/tmp"
for package; do
    %(install)s || break
    chroot "$root" dpkg -i --no-triggers "/tmp/${package##*/}" >&2
done
echo installed
cd "$root"
pivot_root . . # in a chroot user namespaces (PrivateUsers=) are not allowed
umount -l .
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    %(systemd)s --system --unit=multi-user.target --show-status=no
"""


def own_groups():
    """New control groups below the ones of this process, one in each hierarchy."""
    groups = []
    with open("/proc/self/cgroup", encoding="ascii") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    with open("/proc/self/mountinfo", encoding="ascii", errors="replace") as file:
        mounts = [line.split() for line in file]
    for _, names, path in lines:
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            if kind == "cgroup2" and not names or \
                    kind == "cgroup" and names and names.split(",")[0] in options:
                below = os.path.relpath(path, mount[3])
                groups.append(os.path.normpath(f"{mount[4]}/{below}/ttg-test-{os.getpid()}"))
                break
    return groups


def inherit(group, name):
    above, here = os.path.join(os.path.dirname(group), name), os.path.join(group, name)
    if os.path.exists(above) and os.path.exists(here):
        with open(above, "rb") as source, open(here, "wb") as target:
            target.write(source.read())


Said = collections.namedtuple("Said", "code out")


class World:
    """With a running systemd that has the packages; a context, as control groups must be removed."""

    def __init__(self, packages, install=True):
        if os.getuid() != 0:
            skip("a systemd of our own takes root")
        for program in (SYSTEMD, "unshare", "nsenter"):
            if not have(program):
                skip(f"there is no {program}")
        self.packages, self.install, self.groups = packages, install, []

    def __enter__(self):
        try:
            self.groups = own_groups()
            for group in self.groups:
                os.mkdir(group)
                for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 wants them before
                    inherit(group, name)
        except OSError as error:
            self.remove_groups()
            skip(f"no control groups of our own: {error.strerror}")
        try:
            self.start()
        except BaseException:
            self.remove_groups()
            raise
        return self

    def start(self):
        script = WORLD % {"units": " ".join(UNITS), "targets": " ".join(TARGETS), "systemd": SYSTEMD,
                          "install": "true" if self.install else "false"}
        path = write_file(temp_dir() + "/world", script)
        enter = "".join(f"echo $$ >{group}/cgroup.procs || exit 77; " for group in self.groups)
        self.process = spawn(["sh", "-c", enter + 'exec unshare --cgroup --pid --mount --uts --ipc '
                              '--net --fork --kill-child sh "$@"', "world", path, temp_dir(),
                              *self.packages])
        wait_until(lambda: "installed" in self.process.out() or self.process.code() is not None,
                   what="the world stands")
        if "installed" not in self.process.out():
            said = self.process.err().strip().splitlines() or ["no reason"]
            assert not re.search("dpkg", self.process.err()), self.process.err()
            skip(f"no world of our own: {said[-1]}")
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children, encoding="ascii") as file:
            self.first = file.read().split()[0]
        wait_until(lambda: self.run("systemctl", "is-system-running").out.strip() == "running",
                   what="systemd runs")

    def __exit__(self, *_):
        self.process.kill(signal.SIGKILL)
        self.process.wait()
        self.remove_groups()

    def remove_groups(self):
        """The last processes may take a moment to go."""
        def gone():
            for group in self.groups:
                for where, _, _ in os.walk(group, topdown=False):
                    try:
                        os.rmdir(where)
                    except OSError:
                        pass
            return not any(map(os.path.exists, self.groups))
        wait_until(gone, what="empty control groups")

    def run(self, *command):
        """A command in there. Its output goes to a file: what it leaves behind may hold it open."""
        with tempfile.TemporaryFile() as out:
            try:
                code = subprocess.run(["nsenter", "-t", self.first, "-m", "-p", "-u", "-i", "-n",
                                       "-C", "-r", "-w", "--", *command], stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=subprocess.STDOUT, timeout=40,
                                      check=False).returncode
            except subprocess.TimeoutExpired:
                code = "none, it did not end"
            out.seek(0)
            return Said(code, out.read().decode(errors="replace"))

    def __call__(self, *command, code=0):
        done = self.run(*command)
        assert code is None or done.code == code, \
            f"{command}: exit code {done.code}\n{done.out}\n{self.journal()}"
        return done.out

    def sh(self, script, code=0):
        return self("sh", "-euc", script, code=code)

    def write(self, path, text):
        self.sh(f"cat >{path} <<'END'\n{text}END")

    def show(self, unit, name):
        return self("systemctl", "show", "-P", name, unit).strip()

    def journal(self):
        return self.run("journalctl", "--no-pager", "-n", "60").out

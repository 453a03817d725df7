# SPDX-License-Identifier: Apache-2.0
"""powerrig - power cuts for real servers whose library calls cannot be caught: a file system that
stops at once.

Disk is an ext4 in a file, mounted in a mount namespace of its own, so that it goes with the process
that keeps the namespace alive, whatever becomes of the test. ext4 can be told to stop without
writing anything more, not even its journal (EXT4_IOC_SHUTDOWN with NOLOGFLUSH, made to test file
systems): what was synced is there when it is mounted again, the rest is not, as after a power cut."""
import fcntl
import os
import struct
import subprocess

from harness import have, keep, run, skip, spawn, temp_dir, wait_until

EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2


class Disk:
    """`prefix` before a command puts it where `at` is this disk."""

    def __init__(self, owner, mib=400):
        if os.getuid() or not all(have(p) for p in ("mkfs.ext4", "mount", "nsenter", "unshare")):
            skip("a disk of our own takes root, mkfs.ext4, mount, nsenter and unshare")
        self.dir = temp_dir()
        keep(self.dir)
        os.chmod(self.dir, 0o755)
        os.chmod(os.path.dirname(self.dir), 0o755)
        self.image, self.at = self.dir + "/image", self.dir + "/disk"
        os.mkdir(self.at)
        run(["truncate", "-s", f"{mib}M", self.image])
        run(["mkfs.ext4", "-q", "-F", "-E", f"root_owner={owner.pw_uid}:{owner.pw_gid}", self.image])
        self.host = spawn(["unshare", "--mount", "sleep", "infinity"])
        keep(self.host)
        mounts = f"/proc/{self.host.pid}/ns/mnt"
        wait_until(lambda: self.host.code() is not None or
                   os.readlink(mounts) != os.readlink("/proc/self/ns/mnt"), what="a mount namespace")
        if self.host.code() is not None:
            skip("no mount namespace here: " + self.host.err().strip())
        self.prefix = ["nsenter", f"--mount={mounts}"]
        done = run([*self.prefix, "mount", "-o", "loop", self.image, self.at], code=None)
        if done.code:
            skip("no loop device may be mounted here: " + done.err.strip())

    def path(self, name=""):
        """Of a file on this disk, for us, who are outside."""
        return f"/proc/{self.host.pid}/root{self.at}/{name}"

    def sync(self):
        """Everything is written, as the kernel does by itself after half a minute."""
        run(["sync", "-f", self.path()])

    def cut(self):
        """Nothing gets to the disk any more, and whoever writes or syncs hears of it."""
        disk = os.open(self.path(), os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(disk, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        os.close(disk)

    def mount_again(self):
        """When everybody who used it is dead. The journal brings back what was synced."""
        wait_until(lambda: subprocess.run([*self.prefix, "umount", self.at], check=False,
                                          stderr=subprocess.DEVNULL).returncode == 0,
                   what="the disk is free")
        run([*self.prefix, "mount", "-o", "loop", self.image, self.at])

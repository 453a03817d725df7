#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What docs/operations.md tells an operator to type is typed, in order, as root on a machine with
systemd: one of its own in namespaces, from whose package the services come (systemdrig). Comments
`<!-- run system` in the page make what a block is about: a full disk, a damaged file, a dead Redis."""
import glob

from docrig import blocks, check_output
from harness import ROOT, have, main, run, skip, temp_dir, test
from systemdrig import World

PAGE = ROOT + "/docs/operations.md"


def packages():
    for program in ("dpkg-shlibdeps", "redis-server", "redis-cli", "curl", "openssl", "promtool",
                    "rabbitmqctl"):
        if not have(program):
            skip(f"{program} is not installed")
    where = temp_dir()
    run([ROOT + "/packaging/build-deb", where], deadline_s=400)
    return glob.glob(where + "/*.deb")


# The journal may be a moment behind the services; a reader is, too.
IN_TIME = 'journalctl() { command journalctl --sync; command journalctl "$@"; }'


@test
def the_commands_of_the_operations_guide():
    with open(PAGE, encoding="utf-8") as file:
        todo = blocks(file.read(), "sh system")
    assert len(todo) > 20, len(todo)
    with World(packages(), install=False) as world:
        world.sh("mkdir /tmp/home; mv /tmp/*.deb /tmp/home")
        for line, script, expected in todo:
            where = f"docs/operations.md:{line}"
            done = world.run("env", "HOME=/tmp/home", "bash", "-eu", "-o", "pipefail", "-c",
                             f"cd; exec 2>&1\n{IN_TIME}\n{script}")
            assert done.code == 0, f"{where}: exit code {done.code}\n{script}\n{done.out}\n" + \
                world.journal()
            if expected is not None:
                check_output(expected, done.out, where)


main()

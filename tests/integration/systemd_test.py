#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The systemd units: systemd-analyze finds nothing wrong in them, and they are as closed as
docs/operations.md says. That they run is shown by package_test.py."""
import glob
import os
import re

from harness import ROOT, TTG, have, main, run, skip, temp_dir, test, write_file

# systemd's own figure: 0 is closed, 10 is open.
EXPOSURE = {"ttg-node.service": 1.2, "ttg-monitor.service": 1.2, "ttg-worker@.service": 2.2}


def units():
    """A copy whose program exists."""
    if not have("systemd-analyze"):
        skip("systemd is not installed")
    where = temp_dir()
    for path in glob.glob(ROOT + "/deploy/systemd/*.service"):
        with open(path, encoding="ascii") as file:
            text = file.read().replace("=/usr/bin/ttg ", f"={TTG} ")
        write_file(os.path.join(where, os.path.basename(path)), text)
    return where


def complaints(where):
    done = run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                *sorted(glob.glob(where + "/*.service"))], code=None, env={"SYSTEMD_LOG_LEVEL": "warning"})
    return done.out + done.err


def exposure(path):
    done = run(["systemd-analyze", "security", "--offline=true", path], code=None)
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.out).group(1))


@test
def nothing_is_wrong_in_the_units():
    assert complaints(units()) == ""


@test
def what_is_wrong_is_noticed():
    for unit, right, wrong, says in (
            ("ttg-node.service", "PrivateTmp=yes", "PrivatTmp=yes", "PrivatTmp"),
            ("ttg-node.service", "Type=notify", "Type=notifies", "notifies"),
            ("ttg-worker@.service", "KillMode=mixed", "KillMode=mixt", "mixt"),
            ("ttg-worker@.service", "@mount", "@mounts", "@mounts"),
            ("ttg-monitor.service", f"={TTG} ", "=/nowhere/ttg ", "/nowhere/ttg")):
        where = units()
        path = os.path.join(where, unit)
        with open(path, encoding="ascii") as file:
            text = file.read()
        assert right in text, right
        write_file(path, text.replace(right, wrong))
        assert says in complaints(where), wrong
    where = units()
    path = os.path.join(where, "ttg-node.service")
    with open(path, encoding="ascii") as file:
        text = file.read()
    write_file(path, text.replace("SystemCallFilter=@system-service\n", ""))
    assert exposure(path) > EXPOSURE["ttg-node.service"]


@test
def they_are_as_closed_as_the_guide_says():
    with open(ROOT + "/docs/operations.md", encoding="utf-8") as file:
        guide = file.read()
    where = units()
    for unit, most in EXPOSURE.items():
        is_now = exposure(os.path.join(where, unit))
        assert is_now <= most, f"{unit}: {is_now}"
        assert f"| `{unit[:-8]}` | {most} |" in guide, f"the guide says nothing of {unit}: {most}"


@test
def settings_files_are_what_the_units_read():
    where = ROOT + "/deploy/systemd/"
    for unit, file in (("ttg-node", "node"), ("ttg-worker@", "worker"), ("ttg-monitor", "monitor")):
        with open(f"{where}{unit}.service", encoding="ascii") as text:
            assert f"EnvironmentFile=-/etc/ttg/{file}.env\n" in text.read(), unit
        with open(f"{where}{file}.env", encoding="ascii") as text:
            lines = text.read().splitlines()
        assert lines and all(line == "" or line[0] == "#" for line in lines), \
            "a package's settings say nothing by themselves"


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg run` on a full disk: under its output, and under the log of its own node."""
import json
import os
import signal
import time

from faultrig import SmallDisk
from harness import main, test, wait_until
from jobrig import Jobs, children


def kept(disk):
    return len(os.listdir(os.path.join(disk.dir, "ttg", "jobs")))


@test
def a_full_disk_under_the_output_is_waited_for():
    # Of many results the next ones are on their way when the disk is found full.
    for mib, chunks, order in ((1, 200, []), (8, 20000, []), (8, 20000, ["--ordered"])):
        j = Jobs()
        with SmallDisk(mib=mib) as disk:
            disk.fill()
            os.truncate(disk.ballast, os.path.getsize(disk.ballast) - (16 << 10))  # for some results
            out = os.path.join(disk.dir, "out")
            p = j.spawn("run", "--params", chunks, "--chunk", 1, "-w", 2, "--simulate-ms", 0, "--json",
                        *order, "-o", out)
            p.wait_for("output.full")
            told = time.monotonic()
            wait_until(lambda told=told: time.monotonic() > told + 2.5)  # it has tried again
            disk.free()
            assert p.wait() == 0, p.err()
            assert p.err().count("output.full") == p.err().count("output.room") == 1, p.err()
            assert json.loads(p.out())["verified"] is True
            assert sorted(j.chunks(out)) == list(range(chunks))


@test
def no_room_for_a_node_is_said_at_once():
    j = Jobs()
    words = ["run", "--params", 20, "--chunk", 1, "-w", 2, "--simulate-ms", 0, "-o", j.output]
    with SmallDisk(mib=8) as disk:
        disk.fill()
        j.env["XDG_STATE_HOME"] = disk.dir
        done = j.run(*words, code=3, err=f"disk is full: .*{disk.dir}/.*/node; make room there")
        assert done.err.count("cannot create") == 1 and "--queue embedded:DIR" in done.err, done.err
        assert "again" not in done.err and kept(disk) == 0, done.err
        disk.free()
        j.run(*words, err="20 of 20 chunks, verified")


@test
def a_node_that_comes_back_to_a_full_disk_waits_for_room():
    j = Jobs()
    words = ["--params", 300000, "--chunk", 1, "-w", 2, "--simulate-ms", 0.1, "-o", j.output]
    with SmallDisk(mib=32) as disk:
        j.env["XDG_STATE_HOME"] = disk.dir
        p = j.spawn("run", *words)
        wait_until(lambda: j.chunks(), what="results")
        disk.fill()
        p.wait_for(r"\bdisk\.full")  # what was set aside for the log is used up
        there = len(j.chunks())
        (node,) = children(p.pid, "node")
        os.kill(node, signal.SIGKILL)
        p.wait_for("node.no_room")
        # Others say why, too.
        j.run("status", code=3, err="ttg status: the disk is full: .* make room there")
        p.kill(signal.SIGTERM)
        assert p.wait() == 143, p.err()
        assert p.err().count("node.no_room") == 1 and "again and again" not in p.err(), p.err()
        j.run("run", "--resume", *words, code=3, err="disk is full: .* make room there")
        assert kept(disk) == 1 and j.chunks()  # what was not saved is in the queue still
        disk.free()
        p = j.spawn("run", "--resume", *words)
        wait_until(lambda: len(j.chunks()) > there + 1000, what="more results")
        p.kill(signal.SIGTERM)
        assert p.wait() == 143, p.err()
        chunks = j.chunks()
        assert len(chunks) == len(set(chunks)) > there


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis behind Sentinels: masters killed, acknowledged writes lost for certain, and nothing missing or
doubled in the output (docs/decisions/redis-failover.md). SOAK=1: more of it."""
import json
import os

from harness import TTG, main, run, spawn, temp_dir, test, wait_until
from redisfleet import Sentinels, check_exact, read_lines
from redisrig import Job

SOAK = bool(os.environ.get("SOAK"))
CHUNKS = 6000


def started(fleet, *options, chunks=CHUNKS, ms=2, name="j", out=None):
    out = out or os.path.join(temp_dir(), "out")
    process = spawn(fleet.run_words(chunks, "--chunk", 1, "--workers", 3, "--simulate-ms", ms,
                                    "--output", out, "--json", *options, name=name))
    wait_until(lambda: len(read_lines(out)) > 100, what="the first results")
    return process, out


def ended(fleet, process, out, chunks=CHUNKS, name="j"):
    assert process.wait(90) == 0, process.err()
    said = json.loads(process.err().splitlines()[-1] if not process.out() else process.out())
    assert said["verified"] and said["completed"] == chunks, said
    check_exact(out, chunks)
    run([TTG, "verify", "--queue", fleet.url, "--output", out, name])
    status = Job(fleet.master(name), name).status()
    assert status["state"] == "finished" and status["leased"] == 0, status
    fleet.report()
    return said


def lose_writes(fleet, out, lines=200):
    """Cuts replication and waits until results that only the master has are in the output."""
    master = fleet.master()
    for server in fleet.servers:
        if server is not master:
            server.cut_replication(master)
    known = Job(fleet.servers[1], "j")
    have = len(read_lines(out))
    wait_until(lambda: len(read_lines(out)) > have + lines, what="results that will be lost")
    return int(known.r.hget(known.key("job"), "result_count"))


@test
def a_master_is_killed_and_its_newest_writes_are_lost():
    fleet = Sentinels()
    process, out = started(fleet)
    kept = lose_writes(fleet, out)
    had = len(read_lines(out))
    assert had > kept, (had, kept)
    fleet.servers[1].mend_replication()
    old = fleet.kill_master()
    process.wait_for(r"results\.went_back")
    old.start()
    wait_until(lambda: fleet.rejoined(old), what="the old master as a replica")
    ended(fleet, process, out)


main()

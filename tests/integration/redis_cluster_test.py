#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Redis Cluster of three masters with a replica each: jobs spread over it, slots that move, masters
that die under load, and writes that are lost for certain. SOAK=1: more of it."""
import json
import os
import re

from harness import TTG, main, run, spawn, temp_dir, test, wait_until
from redisfleet import CHUNKS, Cluster, ended, lose_writes, read_lines, started, storm
from redisrig import Job


@test
def jobs_spread_over_the_masters_and_are_listed_from_all():
    fleet = Cluster()
    names = ["default", "a", "b", "c", "d"]
    assert len({fleet.master(n).port for n in names}) == 3
    for name in names:
        run(fleet.run_words(1000, "--chunk", 10, "--simulate-ms", 0, "--workers", 1, "--output",
                            os.path.join(temp_dir(), "out"), name=name), err="verified")
    keys = [k for n in names for k in fleet.master(n).client.keys("*")]
    assert all(k.startswith(b"ttg:{") for k in keys) and b"ttg:{default}:results" in keys, keys
    jobs = json.loads(run([TTG, "status", "--queue", fleet.url, "--json"]).out)["jobs"]
    assert sorted(j["job"] for j in jobs) == sorted(names), jobs
    assert all(j["state"] == "finished" and j["completed"] == 100 for j in jobs), jobs


def move_slot(fleet, name):
    """The job's slot goes to another master, which is returned."""
    old = fleet.master(name)
    new = next(s for s in fleet.servers if s.role() == "master" and s is not old)
    slot = old.client.execute_command("CLUSTER", "KEYSLOT", "ttg:{%s}:job" % name)
    ids = {s: s.client.execute_command("CLUSTER", "MYID").decode() for s in (old, new)}
    new.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
    old.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
    while True:  # scripts make keys meanwhile, until the last one has gone
        keys = old.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        if not keys:
            break
        old.client.execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *keys)
    for server in (new, old):
        server.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[new])
    return new


def calls(client, command="exec"):
    return client.info("commandstats").get("cmdstat_" + command, {"calls": 0})["calls"]


def follow_while_its_slot_moves(fleet, name):
    """Who has all there is only asks for more, in a transaction, and that is refused as a whole."""
    where = ["--queue", fleet.url, "--job", name]
    out = os.path.join(temp_dir(), "out")
    run([TTG, "submit", *where, "--params", 10, "--chunk", 1])
    follower = spawn([TTG, "results", "--queue", fleet.url, name, "--follow", "--output", out])
    asked = fleet.master(name).client
    before = calls(asked)
    wait_until(lambda: calls(asked) > before + 2, what="the collector to ask")
    move_slot(fleet, name)
    run([TTG, "worker", *where, "--simulate-ms", 0])
    assert follower.wait() == 0 and len(read_lines(out)) == 10, follower.err()


@test
def a_slot_moves_while_its_job_runs():
    fleet = Cluster()
    process, out = started(fleet)
    new = move_slot(fleet, "j")
    ended(fleet, process, out)
    assert fleet.master("j") is new
    assert len(read_lines(out)) == CHUNKS
    assert len(Job(new, "j").r.lrange("ttg:{j}:history", 0, -1)) == 2
    follow_while_its_slot_moves(fleet, "k")


@test
def masters_die_under_load():
    storm(Cluster(), "--redis-wait", 1)


@test
def a_master_is_killed_and_its_newest_writes_are_lost():
    fleet = Cluster()
    process, out = started(fleet, "--ordered")
    lose_writes(fleet, out)
    old = fleet.kill_master()
    process.wait_for(r"results\.went_back")
    old.start()
    wait_until(lambda: fleet.rejoined(old), 60, "the old master as a replica")
    ended(fleet, process, out)


def cursor_lines(out):
    with open(out + ".cursor", encoding="ascii") as file:
        return int(re.search(r" lines=(\d+)", file.read()).group(1))


@test
def a_collector_that_was_away_finds_out_too():
    """Killed with results in its output that the new master does not have: --resume cuts them."""
    fleet = Cluster()
    process, out = started(fleet)
    known = lose_writes(fleet, out)
    wait_until(lambda: cursor_lines(out) > known, what="lines in the output that will be lost")
    process.kill()
    old = fleet.kill_master(work=False)
    old.start()
    wait_until(lambda: fleet.rejoined(old), 60, "the old master as a replica")
    process, out = started(fleet, "--resume", out=out)
    process.wait_for(r"results\.went_back")
    ended(fleet, process, out)


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis behind Sentinels: masters killed, acknowledged writes lost for certain, and nothing missing or
doubled in the output (docs/decisions/redis-failover.md)."""
from harness import main, test, wait_until
from redisfleet import Sentinels, ended, lose_writes, read_lines, started


@test
def a_master_is_killed_and_its_newest_writes_are_lost():
    fleet = Sentinels()
    process, out = started(fleet)
    lose_writes(fleet, out)
    old = fleet.kill_master()
    process.wait_for(r"results\.went_back")
    old.start()
    wait_until(lambda: fleet.rejoined(old), what="the old master as a replica")
    ended(fleet, process, out)


@test
def with_replicas_awaited_nothing_that_was_answered_is_lost():
    """--redis-wait 1: while replication is cut nothing is acknowledged and nothing printed."""
    fleet = Sentinels()
    process, out = started(fleet, "--redis-wait", 1, chunks=2500)
    fleet.servers[1].cut_replication(fleet.master())
    process.wait_for("NOREPLICAS")
    had = len(read_lines(out))
    old = fleet.kill_master(work=False)
    old.start()
    wait_until(lambda: fleet.rejoined(old), what="the old master as a replica")
    wait_until(lambda: len(read_lines(out)) > had, what="further results")
    ended(fleet, process, out, chunks=2500)
    assert "went_back" not in process.err(), process.err()


@test
def a_collector_that_was_away_finds_out_too():
    """Killed with results in its output that the new master does not have: --resume cuts them."""
    fleet = Sentinels()
    process, out = started(fleet)
    lose_writes(fleet, out)
    process.kill()
    old = fleet.kill_master(work=False)
    old.start()
    wait_until(lambda: fleet.rejoined(old), what="the old master as a replica")
    process, out = started(fleet, "--resume", out=out)
    process.wait_for(r"results\.went_back")
    ended(fleet, process, out)


main()

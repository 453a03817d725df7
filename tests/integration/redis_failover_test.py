#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Redis that goes back in time: acknowledged writes are lost for certain, and nothing is missing or
doubled in the output (docs/decisions/redis-failover.md)."""
import glob
import os
import signal

import redis

from gaterig import Gate
from harness import TTG, main, run, shim, spawn, temp_dir, test, wait_until
from redisfleet import Sentinels, check_exact, ended, lose_writes, read_lines, started
from redisrig import Job, Redis, script


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
def a_server_whose_log_lost_its_end_in_a_power_cut():
    """appendfsync everysec or no: the end of the file is missing when it starts again."""
    server = Redis()
    out = os.path.join(temp_dir(), "out")
    gate = Gate(1000)
    process = spawn([TTG, "run", "--queue", server.url, "--job", "j", "--params", 4000, "--chunk",
                     1, "--workers", 3, *gate.words, "--output", out])
    wait_until(lambda: len(read_lines(out)) > 500, what="results")
    server.kill()
    gate.open()
    (log,) = glob.glob(server.dir + "/appendonlydir/*.incr.aof")
    os.truncate(log, os.path.getsize(log) * 2 // 3)
    server.start()
    process.wait_for(r"results\.went_back")
    assert process.wait(60) == 0, process.err()
    check_exact(out, 4000)
    run([TTG, "verify", "--queue", server.url, "--output", out, "j"])


def power_cuts(cuts, **variables):
    """A Redis with appendfsync always loses all that it has not synced, again and again. Returns
    whether the job found out that something was gone; its result is exact in any case."""
    server = Redis(sync="always", env={})
    server.env.update(shim("lostwrites", TTG_SHIM_DIR=server.dir, **variables))
    server.kill()
    server.start()
    out = os.path.join(temp_dir(), "out")
    gate = Gate(1500)
    process = spawn([TTG, "run", "--queue", server.url, "--job", "j", "--params", 6000, "--chunk",
                     1, "--workers", 3, *gate.words, "--output", out])
    for cut in range(cuts):
        wait_until(lambda n=cut: len(read_lines(out)) > 1000 * (n + 1) or process.code() is not None,
                   what="results")
        server.process.kill(signal.SIGUSR2)
        server.process.wait()
        server.start()
        gate.more(1500)
    gate.open()
    code = process.wait(60)
    lost = "results.went_back" in process.err() or "no job j" in process.err()
    if code == 0:
        check_exact(out, 6000)
        run([TTG, "verify", "--queue", server.url, "--output", out, "j"])
    assert code == 0 or lost, process.err()
    return lost


@test
def nothing_that_was_synced_is_lost_by_a_power_cut():
    assert not power_cuts(4)
    assert power_cuts(1, TTG_SHIM_NOSYNC=1), "the shim tests nothing"


@test
def without_a_log_a_restart_loses_the_job_and_says_so():
    server = Redis("--appendonly", "no")
    out = os.path.join(temp_dir(), "out")
    gate = Gate(1000)
    process = spawn([TTG, "run", "--queue", server.url, "--job", "j", "--params", 4000, "--chunk",
                     1, "--workers", 2, *gate.words, "--output", out])
    wait_until(lambda: len(read_lines(out)) > 500, what="results")
    server.kill()
    server.start()
    assert process.wait() != 0 and "no job j" in process.err(), process.err()


@test
def epochs_of_a_lost_generation_do_not_come_again():
    """Each server of a job's history gives epochs from a range of its own."""
    server = Redis()
    job = Job(server)
    job.create(100)

    def take(run_id):
        answer = server.client.eval(script("take"), 2, job.key("job"), job.key("@" + run_id), "j",
                                    "w", 1, "COUNT", 5)
        return [int(answer[i + 2]) for i in range(1, len(answer), 4)]
    server.client.eval(script("join"), 2, job.key("job"), job.key("@aaaaaaaa11111111"), "j", "w", 1,
                       "SLOTS", 100, "INFLIGHT", 1024, "VERSION", "test")
    first = take("aaaaaaaa11111111")
    second = take("bbbbbbbb22222222")
    third = take("cccccccc22222222")
    hour = 3600 * 10**6
    assert hour < second[0] - first[0] < 3 * hour and 0 < third[0] - second[0] < 2 * hour, (
        first, second, third)
    # A lost generation: back to the first, and on with another server, whose number is the same.
    server.client.ltrim(job.key("history"), 2, -1)
    server.client.hset(job.key("job"), mapping={"server": "aaaaaaaa11111111", "skip_us": 0,
                                                "epoch": first[0]})
    other = take("dddddddd44444444")
    assert abs(other[0] - second[0]) > 10**6, "the same range as the lost generation's"
    # A connection from before the server's newest role is told to come again.
    take("dddddddd55555555")
    try:
        take("dddddddd44444444")
        raise AssertionError("an outdated connection was served")
    except redis.exceptions.ResponseError as error:
        assert "OUTDATED" in str(error), error


main()

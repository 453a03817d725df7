#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever dies, the answer is the same: kill -9 of everything, on each kind of queue.

SOAK=1 runs the full counts: each kind of kill at least 50 times over jobs of 20,000 chunks. SEED
repeats the choice of faults."""
import json
import os
import signal

from chaosqueues import Embedded, NodeQueue, RedisQueue
from chaosrig import KINDS, NETWORK, SEED, SOAK, Rig, storm
from harness import TTG, main, run, skip, temp_dir, test, wait_until, write_file


def read_file(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@test
def kills_on_the_embedded_node():
    storm(Embedded, KINDS)


@test
def kills_on_a_node_over_tcp():
    storm(NodeQueue, KINDS)


@test
def kills_on_redis():
    storm(RedisQueue, KINDS)


@test
def workers_alone():
    if not SOAK:
        skip("it gives figures: make soak")
    for queue in (Embedded, NodeQueue, RedisQueue):
        storm(queue, ("worker", "hang"))


@test
def a_node_that_dies_again_and_again():
    rig = Rig(Embedded, SEED, chunks=2000, ms=15, limit=50)
    rig.wait_lines(1)
    for _ in range(14):
        pids = wait_until(lambda: rig.marked.find("node"))
        lines = rig.lines()
        rig.limit(lines + 50)
        wait_until(lambda: rig.lines() > lines, what="the job gets on")
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: rig.marked.find("node") != pids)
    rig.finish()


@test
def chunks_that_kill_their_worker_again_and_again():
    where = temp_dir()
    said = run([TTG, "run", "--queue", f"embedded:{where}/j", "--params", 20, "--chunk", 1, "--json",
                "--workers", 1, "--max-attempts", 3, "--output", where + "/out", "--",
                "sh", "-c", "test {chunk} -ge 8 || kill -9 $PPID"], code=1)
    summary = json.loads((said.out or said.err).splitlines()[-1])
    assert summary["dead_letters"] == 8 and summary["completed"] == 12, summary


@test
def all_kinds_at_once():
    storm(NodeQueue, KINDS + NETWORK, through_proxy=True)


@test
def the_rig_notices_what_is_wrong():
    rig = Rig(Embedded, SEED, chunks=50)
    rig.finish()
    good = read_file(rig.output).splitlines(keepends=True)
    for what, lines in (("missing", good[:7] + good[8:]), ("doubled", good + good[7:8]),
                        ("another", good[:7] + [good[7].replace('"count":', '"count":1')] + good[8:])):
        write_file(rig.output, "".join(lines))
        try:
            rig.check()
        except AssertionError:
            continue
        raise AssertionError(f"{what}: not noticed")


def ended_while_nobody_collected(queue):
    rig = Rig(queue, SEED, chunks=300, limit=100)
    rig.wait_lines(1)
    rig.process.stop()
    rig.limit(None)
    status = rig.queue.status
    wait_until(lambda: status()["state"] == "finished", what="the workers end the job")
    rig.process.kill()
    rig.process.wait()
    assert rig.lines() <= 100, "it was stopped, and collected on"
    rig.start()
    rig.finish()
    before = rig.lines()
    rig.start()  # as after a kill behind the last step of collecting
    assert rig.process.wait() == 0, rig.process.err()
    assert rig.lines() == before


@test
def a_job_that_ended_while_nobody_collected_is_collected():
    ended_while_nobody_collected(NodeQueue)
    ended_while_nobody_collected(RedisQueue)
    ended_while_nobody_collected(Embedded)


@test
def resume_spares_a_file_that_is_no_output_of_this_job():
    where = temp_dir()
    path = write_file(where + "/out", "precious\n")
    words = ["run", "--queue", f"embedded:{where}/j", "--params", 10, "--chunk", 1, "--simulate-ms", 0,
             "--output", path, "--resume"]
    run([TTG, *words], code=2, err="is not empty and has no cursor")
    assert read_file(path) == "precious\n"


main()

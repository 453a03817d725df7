#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever dies, the answer is the same: kills, pauses, cuts, full disks, on each kind of queue.

SOAK=1 runs the full counts: each kind of kill at least 50 times over jobs of 10,000 chunks and
more. SEED repeats the choice of faults."""
import os

from chaosrig import Embedded, NodeQueue, RedisQueue, Rig, comment, percentile
from harness import TTG, main, run, temp_dir, test, wait_until, write_file

SOAK = bool(os.environ.get("SOAK"))
SEED = int(os.environ.get("SEED") or 1)
KILLS = int(os.environ.get("KILLS") or (50 if SOAK else 3))  # of each kind
CHUNKS = int(os.environ.get("CHUNKS") or (20000 if SOAK else 2000))
CHUNK_MS = 40 if SOAK else 8


def killed(queue, kinds, **options):
    """Jobs, one after the other, until each kind of kill has come often enough."""
    total, recoveries, jobs = dict.fromkeys(kinds, 0), [], 0
    while any(n < KILLS for n in total.values()):
        rig = Rig(queue, SEED + jobs, chunks=CHUNKS, ms=CHUNK_MS, **options)
        jobs += 1
        counts = rig.storm({k: KILLS - n for k, n in total.items() if n < KILLS})
        rig.finish()
        recoveries += rig.recoveries()
        for kind, n in counts.items():
            total[kind] += n
    comment(f"{queue.__name__}, seed {SEED}: {jobs} jobs of {CHUNKS} chunks; " +
            ", ".join(f"{n} x {kind}" for kind, n in total.items()))
    comment("from a worker's kill to its chunks' start elsewhere: "
            f"p50 {percentile(recoveries, .5) * 1e3:.0f} ms, "
            f"p99 {percentile(recoveries, .99) * 1e3:.0f} ms ({len(recoveries)} chunks)")


def read_file(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


KINDS = ("worker", "submitter", "collector", "server", "everything")


@test
def kills_on_the_embedded_node():
    killed(Embedded, KINDS)


@test
def kills_on_a_node_over_tcp():
    killed(NodeQueue, KINDS)


@test
def kills_on_redis():
    killed(RedisQueue, KINDS)


def ended_while_nobody_collected(queue):
    rig = Rig(queue, SEED, chunks=300)
    rig.wait_lines(1)
    rig.process.stop()
    status = rig.queue.status
    wait_until(lambda: status()["state"] == "finished", what="the workers end the job")
    rig.process.kill()
    rig.process.wait()
    assert rig.lines() < 300, "the collector was stopped too late to show anything"
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

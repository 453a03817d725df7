#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real workers on a real redis-server beside plain clients, and what the system before did wrong."""
import os
import signal
import sys
import time

from harness import main, spawn, temp_dir, test, wait_until, write_file
from redisrig import Job, Redis


# ---- plain clients

FOREIGN = """
import sys, redis, time
r = redis.Redis(port=int(sys.argv[1]))
while True:
    got = r.xreadgroup("ttg-workers", sys.argv[2], {"ttg:tasks": ">"}, count=1, block=500)
    for entry, task in got[0][1] if got else []:
        a, b = int(task[b"start_param"]), int(task[b"end_param"])
        time.sleep(0.002)
        result = {"chunk_id": task[b"chunk_id"], "worker_id": sys.argv[2], "status": "complete",
            "params_processed": b - a + 1, "duration_seconds": 0.002, "result_summary":
            '{"sum": %d, "count": %d}' % (sum(range(a, b + 1)), b - a + 1),
            "completed_at": "2026-02-09T10:00:12Z"}
        r.xadd("ttg:results", result)
        if int(task[b"chunk_id"]) % 7 == 0:
            r.xadd("ttg:results", result)
        r.xack("ttg:tasks", "ttg-workers", entry)
"""


@test
def plain_clients_work_beside_ours():
    server = Redis()
    job = Job(server, "default")
    job.create(20000, chunk=10, WINDOW=100, STALE=1000)
    path = write_file(os.path.join(temp_dir(), "foreign.py"), FOREIGN)
    plain = [spawn([sys.executable, path, server.port, f"plain-{i}"]) for i in range(2)]
    wait_until(lambda: job.r.xlen("ttg:results") > 5)
    ours = [server.worker(i, "--simulate-ms", 0.5, job="default") for i in range(2)]
    wait_until(lambda: job.completed() > 300)
    plain[0].kill()
    job.finished(120)
    assert [w.wait() for w in ours] == [0, 0]
    s = job.check()
    who = {}
    for result in job.results():
        who[result["worker_id"]] = who.get(result["worker_id"], 0) + 1
    assert who["plain-1"] > 20 and who["worker-0"] > 20, who
    assert s["stale_dropped"] > 0, s
    assert all(e["from"].startswith("worker-") for e in job.events("worker.lost"))


@test
def a_long_chunk_of_ours_stays_ours():
    server = Redis()
    job = Job(server)
    job.create(1, STALE=4000)
    worker = server.worker(0, "--simulate-ms", 6000)
    wait_until(lambda: job.r.hlen(job.key("held")) == 1)
    seen = []
    while worker.code() is None and job.state() < 2:
        seen += job.r.xautoclaim(job.key("tasks"), "ttg-workers", "thief", 4000)[1]
        time.sleep(0.1)
    assert seen == [] and worker.wait() == 0
    assert job.check()["attempts"] == 1


# ---- what the system before this one did wrong

@test
def killed_between_result_and_acknowledgement_counts_once():
    """The old worker added its result, died, and the chunk was counted twice."""
    server = Redis()
    job = Job(server, "default")
    job.create(3, STALE=600)
    ((entry, task),) = job.r.xreadgroup("ttg-workers", "old", {"ttg:tasks": ">"}, count=1)[0][1]
    job.r.xadd("ttg:results", {"chunk_id": task[b"chunk_id"], "worker_id": "old",
                               "status": "complete", "result_summary": '{"sum":0,"count":1}'})
    assert server.worker(0, job="default").wait() == 0
    s = job.check()
    assert s["attempts"] == 3 and entry, s


@test
def a_submitter_killed_half_way_leaves_all_or_nothing():
    """The old one added tasks one by one; dead in the middle, half of the list was all there was."""
    server = Redis()
    job = Job(server, "default")
    job.create(5000)
    stream = job.r.xinfo_stream("ttg:tasks")["length"]
    assert 0 < stream < 5000 and job.status()["unfed"] == 5000 - stream, "topped up by who works"
    workers = [server.worker(i, job="default") for i in range(2)]
    assert [w.wait() for w in workers] == [0, 0]
    job.check()


@test
def idle_workers_wait_for_what_others_hold():
    """The old ones idled out before the dead worker's chunk could be reclaimed."""
    server = Redis()
    job = Job(server)
    job.create(2)
    victim = server.worker(0, "--simulate-ms", 60000)
    wait_until(lambda: job.r.hlen(job.key("held")) == 1)
    other = server.worker(1, env={"IDLE_TIMEOUT_SECONDS": 0.3})
    wait_until(lambda: job.completed() == 1)
    time.sleep(0.8)  # longer than the idle timeout: that it stays is the point
    assert other.code() is None
    victim.kill()
    assert other.wait() == 0
    job.check()


@test
def a_partial_chunk_is_given_back_at_sigterm():
    """The old one acknowledged what it had not finished."""
    server = Redis()
    job = Job(server)
    job.create(100, chunk=50)
    worker = server.worker(0, "--simulate-ms", 100, env={"DRAIN_SECONDS": 0.2})
    wait_until(lambda: int(job.r.hget(job.key("held"), "worker-0") or 0) > 0)
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 143
    s = job.status()
    assert s["completed"] == 0 and s["ready"] >= 1 and s["released"] >= 1 and s["leased"] == 0, s
    assert s["attempts"] == 0, s
    assert server.worker(1).wait() == 0
    job.check()


main()

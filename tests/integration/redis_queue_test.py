#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real workers on a real redis-server: killed, paused, cut off, filled up, restarted."""
import hashlib
import os
import signal
import sys
import time

from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file
from redisrig import Job, Redis

TAKEOVER_S = 3.0
SLACK_S = 2.0  # for a busy machine; the promise itself is measured in bench/


def completed(job):
    return int(job.r.hget(job.key("job"), "completed") or 0)


def state(job):
    return int(job.r.hget(job.key("job"), "state"))


def finished(job, deadline_s=30):
    def over():
        try:
            return state(job) >= 2
        except Exception:  # pylint: disable=broad-except
            return False   # the server is away
    wait_until(over, deadline_s, "the end of the job")


def digest(job):
    return job.status()["digest"]


@test
def three_workers_and_the_same_digest_as_on_a_node():
    server = Redis()
    job = Job(server)
    job.create(20003, chunk=10, first=-5000)
    workers = [server.worker(i, "--simulate-ms", 0) for i in range(3)]
    assert [w.wait() for w in workers] == [0, 0, 0]
    s = job.check()
    assert s["attempts"] == 2001 and s["reclaimed"] == s["stale_dropped"] == 0, s
    names = {r["worker_id"] for r in job.results()}
    assert names <= {"worker-0", "worker-1", "worker-2"}, names
    path = os.path.join(temp_dir(), "n.sock")
    node = spawn([TTG, "node", "--data", temp_dir(), "--unix", path])
    node.wait_for("^ready")
    run(["redis-cli", "-s", path, "TTG.JOB", "CREATE", "j", "FIRST", "-5000", "LAST", "15002",
         "CHUNK", "10"])
    run([TTG, "worker", "--queue", "ttg+unix:" + path, "--job", "j", "--simulate-ms", 0])
    told = run(["redis-cli", "-s", path, "TTG.JOB", "STATUS", "j"]).out.split()
    assert told[told.index("digest") + 1] == digest(job), "digests differ"
    assert told[told.index("sum") + 1] == str(s["sum"]), told


@test
def outputs_of_commands_keep_their_bytes():
    server = Redis()
    job = Job(server)
    job.create(40, chunk=4)
    worker = server.worker(0, "--slots", 2, "--", "/bin/sh", "-c",
                           "printf 'line %d\\n' {start}; [ {start} != 8 ] || printf '\\377\\000x'")
    assert worker.wait() == 0
    results = {int(r["chunk_id"]): r for r in job.results()}
    assert results[1]["output"] == "line 4\n", results[1]
    assert results[2]["output_base64"] == "bGluZSA4Cv8AeA==", results[2]


@test
def a_killed_worker_is_replaced_within_three_seconds():
    server = Redis()
    job = Job(server)
    job.create(400)
    victim = server.worker(0, "--slots", 2, "--simulate-ms", 30)
    wait_until(lambda: completed(job) > 10)
    other = server.worker(1, "--slots", 2, "--simulate-ms", 30)
    wait_until(lambda: job.r.hlen(job.key("workers")) == 2)
    victim.kill()
    wait_until(lambda: job.status()["reclaimed"] > 0, TAKEOVER_S + SLACK_S, "the takeover")
    waited = job.events("chunk.reclaimed")[0]["value"]
    finished(job)
    s = job.check()
    charged = s["attempts"] - s["completed"]
    assert s["workers_lost"] == 1 and 1 <= charged <= 2 and s["dead_letters"] == 0, s
    assert waited < 1000 and other.wait() == 0


@test
def a_paused_worker_loses_its_chunk_and_drops_its_work():
    server = Redis()
    job = Job(server)
    job.create(60)
    paused = server.worker(0, "--simulate-ms", 100)
    wait_until(lambda: completed(job) > 2)
    other = server.worker(1, "--simulate-ms", 100)
    wait_until(lambda: job.r.hlen(job.key("workers")) == 2)
    paused.stop()
    start = time.monotonic()
    wait_until(lambda: job.status()["reclaimed"] > 0, TAKEOVER_S + SLACK_S, "the takeover")
    took = time.monotonic() - start
    paused.cont()
    paused.wait_for("worker.rejoined|worker.joined.*worker.joined|worker.lost")
    finished(job)
    s = job.check()
    assert s["workers_lost"] == 1 and s["dead_letters"] == 0, (s, took)
    assert s["attempts"] - s["completed"] == 1, s
    assert [w.wait() for w in (paused, other)] == [0, 0]


@test
def workers_killed_at_random_change_nothing():
    server = Redis(sync="always")
    job = Job(server)
    job.create(3000)
    workers = [server.worker(i, "--simulate-ms", 3) for i in range(3)]
    turn = 0
    while state(job) < 2:
        done = completed(job)
        wait_until(lambda: completed(job) >= min(done + 250, 3000) or state(job) >= 2)
        workers[turn % 3].kill()
        workers[turn % 3].wait()
        workers[turn % 3] = server.worker(turn % 3, "--simulate-ms", 3)
        turn += 1
    s = job.check()
    assert turn >= 10 and s["dead_letters"] == 0, (turn, s)


@test
def the_server_killed_in_the_middle():
    server = Redis(sync="always")
    job = Job(server)
    job.create(8000)
    workers = [server.worker(i, "--simulate-ms", 2) for i in range(3)]
    for part in (1, 2, 3):
        wait_until(lambda: completed(job) >= part * 1800)
        server.kill()
        time.sleep(0.2 * part)  # the outage itself
        server.start()
    finished(job)
    assert [w.wait() for w in workers] == [0, 0, 0]
    s = job.check()
    assert s["workers_lost"] == 0 and s["reclaimed"] == 0, s
    assert s["attempts"] == s["completed"], "a chunk was charged for the server's outage"
    assert s["stale_dropped"] == 0, s


@test
def scripts_are_sent_again_when_the_server_forgets_them():
    server = Redis()
    job = Job(server)
    job.create(2000)
    worker = server.worker(0, "--simulate-ms", 1)
    for part in range(5):
        wait_until(lambda: completed(job) > part * 300)
        job.r.script_flush()
    finished(job)
    assert worker.wait() == 0
    job.check()


@test
def without_a_server_a_worker_gives_up_in_time():
    server = Redis()
    job = Job(server)
    job.create(1000)
    worker = server.worker(0, "--simulate-ms", 5, env={"QUEUE_RETRY_SECONDS": 1})
    wait_until(lambda: completed(job) > 3)
    server.kill()
    assert worker.wait() == 3 and "no connection" in worker.err(), worker.err()
    nobody = server.worker(0, env={"QUEUE_RETRY_SECONDS": 0.3})
    assert nobody.wait() == 3


@test
def a_full_server_is_waited_for():
    server = Redis()
    job = Job(server)
    job.create(1500)
    worker = server.worker(0, "--simulate-ms", 2)
    wait_until(lambda: completed(job) > 100)
    job.r.config_set("maxmemory", "1")
    worker.wait_for("OOM")
    stood = completed(job)
    job.r.config_set("maxmemory", "0")
    wait_until(lambda: completed(job) > stood)
    finished(job)
    assert worker.wait() == 0
    s = job.check()
    assert s["attempts"] == 1500, s


@test
def a_replica_is_named_and_left():
    server, master = Redis(), Redis()
    job = Job(server)
    job.create(800)
    worker = server.worker(0, "--simulate-ms", 5)
    wait_until(lambda: completed(job) > 50)
    job.r.config_set("replica-serve-stale-data", "yes")
    job.r.execute_command("REPLICAOF", "127.0.0.1", 1)  # of nobody: it keeps its data
    worker.wait_for("READONLY")
    job.r.execute_command("REPLICAOF", "NO", "ONE")
    finished(job)
    assert worker.wait() == 0 and master
    job.check()
    job.r.execute_command("REPLICAOF", "127.0.0.1", 1)
    late = server.worker(1, env={"QUEUE_RETRY_SECONDS": 1})
    assert late.wait() == 3 and "READONLY" in late.err(), late.err()


@test
def passwords():
    server = Redis(password="s3cret")
    without = server.worker(0)
    assert without.wait() == 3 and "NOAUTH" in without.err(), without.err()
    server.url = f"redis://:wrong@127.0.0.1:{server.port}"
    assert server.worker(0).wait() == 3
    server.url = f"redis://:s3cret@127.0.0.1:{server.port}"
    job = Job(server)
    job.create(10)
    worker = server.worker(0)
    assert worker.wait() == 0 and "s3cret" not in worker.err()
    job.check()


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
    wait_until(lambda: completed(job) > 300)
    plain[0].kill()
    finished(job, 40)
    assert [w.wait() for w in ours] == [0, 0]
    s = job.check()
    who = {}
    for result in job.results():
        who[result["worker_id"]] = who.get(result["worker_id"], 0) + 1
    assert who["plain-1"] > 20 and who["worker-0"] > 20, who
    assert s["stale_dropped"] > 0 and s["workers_lost"] == 0, s


@test
def a_long_chunk_of_ours_stays_ours():
    server = Redis()
    job = Job(server)
    job.create(1, STALE=1200)
    worker = server.worker(0, "--simulate-ms", 4000)
    wait_until(lambda: job.r.hlen(job.key("held")) == 1)
    seen = []
    while worker.code() is None and state(job) < 2:
        seen += job.r.xautoclaim(job.key("tasks"), "ttg-workers", "thief", 1200)[1]
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
    wait_until(lambda: completed(job) == 1)
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


@test
def a_job_is_worked_on_to_its_end_whatever_dies():
    """Workers and the server die in turn; the results are those of an undisturbed run."""
    want = hashlib.sha256()
    for chunk in range(4000):
        want.update(b"%d:%d;" % (chunk, sum(range(chunk * 5, chunk * 5 + 5))))
    server = Redis(sync="always")
    job = Job(server)
    job.create(20000, chunk=5)
    workers = [server.worker(i, "--simulate-ms", 0.5) for i in range(3)]
    for turn in range(9):
        wait_until(lambda: completed(job) >= min(turn * 400, 4000) or state(job) >= 2)
        if turn % 3 == 2:
            server.kill()
            server.start()
        else:
            workers[turn % 3].kill()
            workers[turn % 3] = server.worker(turn % 3, "--simulate-ms", 0.5)
    finished(job)
    job.check()
    got = hashlib.sha256()
    for result in sorted(job.results(), key=lambda r: int(r["chunk_id"])):
        text = result["result_summary"]
        got.update(b"%d:%d;" % (int(result["chunk_id"]), int(text[7:text.index(",")])))
    assert got.hexdigest() == want.hexdigest()


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real workers on a real redis-server: killed, paused, cut off, filled up, restarted."""
import hashlib
import os
import time

from gaterig import Gate
from harness import ROOT, TTG, main, run, spawn, temp_dir, test, wait_until
from noderig import Node
from redisrig import Job, Redis


@test
def three_workers_and_the_same_digest_as_on_a_node():
    server = Redis()
    job = Job(server)
    job.create(20003, chunk=10, first=-5000)
    workers = [server.worker(i, "--simulate-ms", 0) for i in range(3)]
    assert [w.wait() for w in workers] == [0, 0, 0]
    s = job.check()
    if s["workers_lost"] == 0:  # as it is, unless the machine is so busy that one is silent for 2 s
        assert s["attempts"] == 2001 and s["reclaimed"] == 0 and s["stale_dropped"] <= s["stolen"], s
    names = {r["worker_id"] for r in job.results()}
    assert names <= {"worker-0", "worker-1", "worker-2"}, names
    path = os.path.join(temp_dir(), "n.sock")
    node = spawn([TTG, "node", "--data", temp_dir(), "--unix", path])
    node.wait_for("^ready")
    run(["redis-cli", "-s", path, "TTG.JOB", "CREATE", "j", "FIRST", "-5000", "LAST", "15002",
         "CHUNK", "10"])
    run([TTG, "worker", "--queue", "ttg+unix:" + path, "--job", "j", "--simulate-ms", 0])
    told = run(["redis-cli", "-s", path, "TTG.JOB", "STATUS", "j"]).out.split()
    assert told[told.index("digest") + 1] == job.status()["digest"], "digests differ"
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
def a_killed_workers_chunks_are_taken_over():
    server = Redis()
    job = Job(server)
    job.create(400)
    gate = Gate(50, 30)
    victim = server.worker(0, "--slots", 2, *gate.words)
    wait_until(lambda: job.completed() > 10)
    other = server.worker(1, "--slots", 2, *gate.words)
    wait_until(lambda: job.r.hlen(job.key("workers")) == 2)
    victim.kill()
    gate.open()
    wait_until(lambda: job.status()["reclaimed"] > 0, what="the takeover")
    job.finished()
    s = job.check()
    charged = s["attempts"] - s["completed"]
    assert 1 <= charged <= 2 * s["workers_lost"] and s["dead_letters"] == 0, s
    assert other.wait() == 0


@test
def a_paused_worker_loses_its_chunk_and_drops_its_work():
    server = Redis()
    job = Job(server)
    job.create(100)
    paused = server.worker(0, "--simulate-ms", 100)
    wait_until(lambda: job.completed() > 2)
    other = server.worker(1, "--simulate-ms", 100)
    wait_until(lambda: job.r.hlen(job.key("workers")) == 2)
    paused.stop()
    wait_until(lambda: job.status()["reclaimed"] > 0, what="the takeover")
    other.stop()  # or the job might be over when the first one wakes up
    paused.cont()
    paused.wait_for("worker.rejoined|worker.joined.*worker.joined|worker.lost")
    other.cont()
    job.finished()
    s = job.check()
    assert s["workers_lost"] >= 1 and s["dead_letters"] == 0, s
    assert 1 <= s["attempts"] - s["completed"] <= s["workers_lost"], s
    assert [w.wait() for w in (paused, other)] == [0, 0]


@test
def workers_killed_at_random_change_nothing():
    server = Redis(sync="always")
    job = Job(server)
    job.create(3000)
    gate = Gate(200, 3)
    workers = [server.worker(i, *gate.words) for i in range(3)]
    turn = 0
    while job.state() < 2:
        done = job.completed()
        gate.more(200)
        wait_until(lambda: job.completed() >= min(done + 120, 3000) or job.state() >= 2)
        workers[turn % 3].kill()
        workers[turn % 3].wait()
        workers[turn % 3] = server.worker(turn % 3, *gate.words)
        turn += 1
    s = job.check()
    assert turn >= 10 and s["dead_letters"] == 0, (turn, s)


@test
def an_address_of_the_other_kind_is_said():
    server, node = Redis(), Node()
    for wrong, right in ((f"ttg://127.0.0.1:{server.port}", "redis://"),
                         (f"redis://127.0.0.1:{node.port}", "ttg://")):
        for words in (["status"], ["run", "--params", 3]):
            run([TTG, *words, "--queue", wrong], code=2, err=f"begins with {right}")


@test
def the_server_killed_in_the_middle():
    server = Redis(sync="always")
    job = Job(server)
    job.create(8000)
    workers = [server.worker(i, "--simulate-ms", 2) for i in range(3)]
    for part in (1, 2, 3):
        wait_until(lambda: job.completed() >= part * 1800)
        server.kill()
        time.sleep(0.2 * part)  # the outage itself
        server.start()
    job.finished()
    assert [w.wait() for w in workers] == [0, 0, 0]
    s = job.check()
    if s["workers_lost"] == 0:  # as it is, unless the machine is so busy that one is silent for 2 s
        # A worker that was stopped for a moment begins what an idle one has taken over from it.
        assert s["reclaimed"] == 0 and s["stale_dropped"] <= s["stolen"], s
        assert s["attempts"] == s["completed"], "a chunk was charged for the server's outage"


@test
def scripts_are_sent_again_when_the_server_forgets_them():
    server = Redis()
    job = Job(server)
    job.create(2000)
    worker = server.worker(0, "--simulate-ms", 1)
    for part in range(5):
        wait_until(lambda: job.completed() > part * 300)
        job.r.script_flush()
    job.finished()
    assert worker.wait() == 0
    job.check()


@test
def without_a_server_a_worker_gives_up_in_time():
    server = Redis()
    job = Job(server)
    job.create(1000)
    worker = server.worker(0, *Gate(100).words, env={"QUEUE_RETRY_SECONDS": 1})
    wait_until(lambda: job.completed() > 3)
    server.kill()
    assert worker.wait() == 3 and "no connection" in worker.err(), worker.err()
    nobody = server.worker(0, env={"QUEUE_RETRY_SECONDS": 0.3})
    assert nobody.wait() == 3


@test
def a_full_server_is_waited_for():
    server = Redis()
    job = Job(server)
    job.create(1500)
    gate = Gate(200, 2)
    worker = server.worker(0, *gate.words)
    wait_until(lambda: job.completed() > 100)
    job.r.config_set("maxmemory", "1")
    gate.open()
    worker.wait_for("OOM")
    stood = job.completed()
    job.r.config_set("maxmemory", "0")
    wait_until(lambda: job.completed() > stood)
    job.finished()
    assert worker.wait() == 0
    s = job.check()
    assert s["attempts"] == 1500, s


@test
def a_replica_is_named_and_left():
    server, master = Redis(), Redis()
    job = Job(server)
    job.create(800)
    gate = Gate(100, 5)
    worker = server.worker(0, *gate.words)
    wait_until(lambda: job.completed() > 50)
    job.r.config_set("replica-serve-stale-data", "yes")
    job.r.execute_command("REPLICAOF", "127.0.0.1", 1)  # of nobody: it keeps its data
    gate.open()
    worker.wait_for("READONLY")
    job.r.execute_command("REPLICAOF", "NO", "ONE")
    job.finished()
    assert worker.wait() == 0 and master
    job.check()
    job.r.execute_command("REPLICAOF", "127.0.0.1", 1)
    late = server.worker(1, env={"QUEUE_RETRY_SECONDS": 1})
    assert late.wait() == 3 and "READONLY" in late.err(), late.err()


@test
def more_results_than_are_read_at_once_are_verified():
    server = Redis()
    job = Job(server)
    job.create(25000)
    assert server.worker(0, "--simulate-ms", 0).wait() == 0
    out = run([TTG, "verify", "--queue", server.url, "j"]).out
    assert "25000 of 25000" in out, out


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


def command_lines(parent):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat, \
                    open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as line:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == parent:
                    found.append(line.read())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@test
def a_password_in_a_variable_gets_onto_no_command_line():
    server = Redis(password="s3cret")
    env = {"QUEUE_MODE": "true", "QUEUE_BACKEND": "redis", "REDIS_HOST": "127.0.0.1",
           "REDIS_PORT": server.port, "REDIS_PASSWORD": "s3cret"}
    for env in (env, {"TTG_QUEUE": f"redis://:s3cret@127.0.0.1:{server.port}"}):
        out = os.path.join(temp_dir(), "out")
        gate = Gate(50, 25)
        p = spawn([TTG, "run", "--job", f"j{len(env)}", "--params", 200, "--chunk", 2, *gate.words,
                   "--output", out], env=env)
        wait_until(lambda: os.path.exists(out) and os.path.getsize(out) > 0, what="results")
        lines = command_lines(p.pid)
        assert len([x for x in lines if "worker-" in x]) > 0, lines
        assert not [x for x in lines if "s3cret" in x], lines
        gate.open()
        assert p.wait() == 0, p.err()


@test
def a_user_with_the_rights_that_the_manual_names():
    server = Redis()
    rights = ("+@stream +@hash +@sortedset +@list +@set +@string +@bitmap +@scripting "
              "+@transaction +@connection +del +exists +time")
    server.client.execute_command("ACL", "SETUSER", "u", "on", ">pw", "~ttg:*", *rights.split())
    server.url = f"redis://u:pw@127.0.0.1:{server.port}"
    run([TTG, "run", "--queue", server.url, "--job", "j", "--params", 1000, "--chunk", 10,
         "--simulate-ms", 0, "--json", "--output", os.path.join(temp_dir(), "out")],
        out='"verified":true')
    with open(os.path.join(ROOT, "docs", "redis.md"), encoding="utf-8") as file:
        assert rights in " ".join(file.read().split()), "docs/redis.md names others"


@test
def the_environment_of_the_playbook_alone_is_enough():
    """Worker 0 creates the chunks, the others wait for them; a worker 0 that comes again does not."""
    server = Redis()
    env = {"QUEUE_MODE": "true", "QUEUE_BACKEND": "redis", "REDIS_HOST": "127.0.0.1",
           "REDIS_PORT": server.port, "TOTAL_WORKERS": 3, "TOTAL_PARAMETERS": 1000,
           "CHUNK_SIZE": 10, "SIMULATE_WORK_MS": 0.1, "STALE_THRESHOLD_MS": 45000}
    workers = [spawn([TTG, "worker"], env={**env, "WORKER_ID": i}) for i in (1, 2, 0)]
    assert [w.wait() for w in workers] == [0, 0, 0], workers[2].err()
    job = Job(server, "default")
    s = job.status()
    assert s["sum"] == 499500 and s["stale_ms"] == 45000, s
    assert server.client.xlen("ttg:results") == 100
    assert spawn([TTG, "worker"], env={**env, "WORKER_ID": 0}).wait() == 0
    assert server.client.xlen("ttg:results") == 100


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
        wait_until(lambda: job.completed() >= min(turn * 400, 4000) or job.state() >= 2)
        if turn % 3 == 2:
            server.kill()
            server.start()
        else:
            workers[turn % 3].kill()
            workers[turn % 3] = server.worker(turn % 3, "--simulate-ms", 0.5)
    job.finished()
    job.check()
    got = hashlib.sha256()
    for result in sorted(job.results(), key=lambda r: int(r["chunk_id"])):
        text = result["result_summary"]
        got.update(b"%d:%d;" % (int(result["chunk_id"]), int(text[7:text.index(",")])))
    assert got.hexdigest() == want.hexdigest()


main()

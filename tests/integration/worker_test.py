#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers of a node: killed, stopped, replaced, told to end; nodes that die under them. Whatever
happens, each chunk has one result, and only what started is charged an attempt."""
import json
import os
import re
import signal
import socket
import time

from faultrig import Proxy
from harness import TTG, free_port, main, nobody_silent, run, spawn, temp_dir, test, wait_until, write_file
from noderig import Node


def plain(value):
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def node_at(path, data=None, **options):
    """A node on a socket that stays the same when it is started again."""
    node = Node("--unix", path, data=data, **options)
    node.unix = path
    return node


class Job:
    """A job on a node, and its workers."""

    def __init__(self, node, chunks, *options, chunk=1, name="j"):
        self.node, self.name, self.chunks, self.size = node, name, chunks, chunk
        self("TTG.JOB", "CREATE", "FIRST", 0, "LAST", chunks * chunk - 1, "CHUNK", chunk, *options)

    def __call__(self, command, *words):
        raw = self.node.raw()
        first = [command] if command != "TTG.JOB" else [command, words[0]]
        rest = words if command != "TTG.JOB" else words[1:]
        answer = plain(raw(*first, self.name, *rest))
        raw.close()
        return answer

    def status(self, key):
        return pairs(self("TTG.JOB", "STATUS"))[key]

    def events(self):
        return [pairs(e) for e in self("TTG.EVENTS", 0, "COUNT", 1000)]

    def event(self, name, **match):
        """The first event of that kind; fails when there is none."""
        for e in self.events():
            if e["event"] == name and all(e[k] == v for k, v in match.items()):
                return e
        raise AssertionError(f"no {name} {match} in {self.events()}")

    def lines(self):
        text = self("TTG.RESULTS", 0, "COUNT", 65536, "JSON")[3]
        return [json.loads(line) for line in text.splitlines()]

    def worker(self, name, *options, env=None, queue=None):
        return spawn([TTG, "worker", "--queue", queue or f"ttg+unix:{self.node.unix}", "--job",
                      self.name, "--name", name, *options], env=env)

    def wait(self, key, count):
        wait_until(lambda: self.status(key) == count, what=f"{key} = {count} of {self.name}")

    def finished(self):
        wait_until(lambda: self.status("state") == "finished", what="the job's end")

    def exact(self):
        """Each chunk once, and the right sum."""
        self.finished()
        n = self.chunks * self.size
        assert self.status("completed") == self.chunks
        assert self.status("sum") == str(n * (n - 1) // 2), self.status("sum")
        ids = sorted(int(line["chunk_id"]) for line in self.lines())
        assert ids == list(range(self.chunks))


@test
@nobody_silent
def a_killed_workers_chunk_starts_elsewhere():
    job = Job(Node(), 6)
    first = job.worker("first", "--slots", 2, "--simulate-ms", 600000)
    job.wait("leased", 2)
    second = job.worker("second", "--simulate-ms", 0)
    job.wait("completed", 4)  # all but what the first one runs; the second waits now
    first.kill()
    assert second.wait() == 0
    job.exact()
    lost = job.event("worker.lost")
    taken = [e for e in job.events() if e["event"] == "chunk.reclaimed"]
    assert lost["from"] == "first" and lost["value"] == 2
    assert sorted(e["chunk"] for e in taken) == [0, 1]
    assert all(e["from"] == "first" and e["to"] == "second" and e["seq"] > lost["seq"] for e in taken)
    assert job.status("attempts") == 6 + 2  # one a slot
    assert job.status("reclaimed") == 2


@test
def a_paused_workers_late_result_is_dropped():
    job = Job(Node(), 400)
    sleepy = job.worker("sleepy", "--simulate-ms", 300)
    job.wait("leased", 1)
    sleepy.stop()
    there = job.status("completed")
    other = job.worker("other", "--simulate-ms", 100)
    wait_until(lambda: job.status("workers_lost") > 0, what="the loss of a worker")
    wait_until(lambda: any(e["event"] == "chunk.reclaimed" for e in job.events()))
    sleepy.cont()
    sleepy.wait_for("worker.rejoined")
    wait_until(lambda: sum(line["worker_id"] == "sleepy" for line in job.lines()) > there, what="it to go on")
    # There is so much left to do that no pause of this test matters; now somebody does it.
    quick = job.worker("quick", "--simulate-ms", 0)
    assert sleepy.wait() == 0 and other.wait() == 0 and quick.wait() == 0
    job.exact()
    assert "chunk.dropped" in sleepy.err() or "commit.stale" in sleepy.err()
    assert 401 <= job.status("attempts") <= 400 + job.status("workers_lost")


@test
@nobody_silent
def sigterm_finishes_the_chunk():
    job = Job(Node(), 10)
    go, begun = temp_dir() + "/go", temp_dir() + "/begun"
    worker = job.worker("w", "--", "sh", "-c",
                        f"echo half; : >{begun}; while ! [ -e {go} ]; do sleep 0.01; done; echo whole")
    wait_until(lambda: os.path.exists(begun), what="the chunk to begin")  # or it is given back at once
    worker.kill(signal.SIGTERM)
    worker.wait_for("worker.draining")
    write_file(go)
    assert worker.wait() == 143
    assert job.status("completed") == 1
    assert job.lines()[0]["output"] == "half\nwhole\n"
    assert (job.status("leased"), job.status("attempts"), job.status("workers")) == (0, 1, 0)
    assert job.status("workers_lost") == 0  # it said good-bye


@test
@nobody_silent
def the_second_sigterm_gives_the_chunk_back():
    job = Job(Node(), 10)
    begun = temp_dir()
    worker = job.worker("w", "--slots", 2, "--", "sh", "-c", f"echo half; : >{begun}/{{chunk}}; sleep 600")
    wait_until(lambda: len(os.listdir(begun)) == 2, what="two chunks to begin")
    worker.kill(signal.SIGTERM)
    worker.wait_for("worker.draining")
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 143
    assert job.status("completed") == 0 and job.lines() == []
    assert (job.status("leased"), job.status("released"), job.status("attempts")) == (0, 2, 0)


@test
@nobody_silent
def the_drain_time_ends():
    job = Job(Node(), 10)
    worker = job.worker("w", "--drain", "0.2", "--simulate-ms", 600000)
    job.wait("leased", 1)
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 143
    assert (job.status("leased"), job.status("released"), job.status("attempts")) == (0, 1, 0)


def node_dies_again_and_again(unix):
    port, path = free_port(), temp_dir() + "/q"
    options = {"listen": f"127.0.0.1:{port}"}
    job = Job(node_at(path, **options), 3000)
    queue = f"ttg+unix:{path}" if unix else f"ttg://127.0.0.1:{port}"
    # They would need half a minute: the job does not end before the node has died ten times.
    workers = [job.worker(f"w{i}", "--simulate-ms", 50, "--slots", 1 + i, queue=queue)
               for i in range(3)]
    deaths = 0
    while deaths < 10:
        before = job.status("completed")
        wait_until(lambda: job.status("completed") >= before + 20, what="the job to get on")
        job.node.kill()
        job.node = node_at(path, job.node.data, **options)
        deaths += 1
    workers.append(job.worker("quick", "--simulate-ms", 0, queue=queue))
    for worker in workers:
        assert worker.wait() == 0
    job.exact()
    if job.status("workers_lost") == 0:  # all came back within 3 s: nothing was done twice
        assert job.status("attempts") == 3000, job.status("attempts")


@test
def a_node_that_dies_ten_times_loses_nothing():
    node_dies_again_and_again(unix=True)


@test
def a_node_that_dies_ten_times_loses_nothing_over_tcp():
    node_dies_again_and_again(unix=False)


@test
@nobody_silent
def a_chunk_runs_on_while_the_node_restarts():
    path, go = temp_dir() + "/q", temp_dir() + "/go"
    job = Job(node_at(path), 3)
    starts = write_file(temp_dir() + "/starts")

    def started():
        with open(starts, encoding="ascii") as file:
            return file.read().split()
    worker = job.worker("w", "--", "sh", "-c", f"echo {{chunk}} >> {starts}; "
                        f"until [ -e {go}{{chunk}} ]; do sleep 0.01; done; echo done",
                        queue=f"ttg+unix:{path}")
    for chunk in range(3):
        wait_until(lambda: len(started()) > chunk, what="the next chunk")
        job.wait("leased", 1)
        job.node.kill()
        if chunk == 1:
            write_file(go + "1")  # ends while nobody listens
        job.node = node_at(path, job.node.data)
        write_file(go + str(chunk))
    assert worker.wait() == 0
    assert started() == ["0", "1", "2"]  # none twice
    assert job.status("attempts") == 3


@test
@nobody_silent
def a_node_that_was_stopped_blames_nobody():
    job = Job(Node(), 4)
    workers = [job.worker(f"w{i}", "--slots", 2, "--simulate-ms", 5000) for i in range(2)]
    job.wait("leased", 4)
    job.node.process.stop()
    at = time.monotonic()
    wait_until(lambda: time.monotonic() > at + 4)  # longer than any worker may be silent
    job.node.process.cont()
    for worker in workers:
        assert worker.wait() == 0
    job.exact()
    assert (job.status("attempts"), job.status("workers_lost")) == (4, 0)
    assert "node.was_away" in job.node.process.err()


@test
def a_node_that_stays_away_ends_the_worker():
    job = Job(Node(), 5)
    worker = job.worker("w", "--queue-retry", "0.5", "--simulate-ms", 600000)
    job.wait("leased", 1)
    job.node.kill()
    assert worker.wait() == 3
    assert "no connection to ttg+unix:" in worker.err()


@test
def the_newer_worker_of_a_name_wins():
    job = Job(Node(), 4)
    older = job.worker("w", "--simulate-ms", 600000)
    job.wait("leased", 1)
    newer = job.worker("w", "--simulate-ms", 0)
    assert older.wait() == 3
    assert "newer" in older.err()
    assert newer.wait() == 0
    job.exact()


@test
def a_command_that_dies_becomes_a_dead_letter():
    job = Job(Node(), 3, "MAXATTEMPTS", 3, "RETRYMIN", 1, "RETRYMAX", 5)
    worker = job.worker("w", "--", "sh", "-c",
                        "echo chunk {chunk}; [ {chunk} != 1 ] || { echo last words >&2; kill -SEGV $$; }")
    assert worker.wait() == 0
    assert (job.status("completed"), job.status("dead_letters")) == (2, 1)
    raw = job.node.raw()
    dead = pairs(plain(raw("TTG.DEAD", "SHOW", "j", 1)))
    assert dead["attempts"] == 3, dead
    reasons = [pairs(r) for r in dead["reasons"]]
    assert len(reasons) == 3
    assert all("SIGSEGV" in r["reason"] and "last words" in r["reason"] for r in reasons), reasons


@test
@nobody_silent
def a_chunk_that_kills_its_worker_becomes_a_dead_letter():
    job = Job(Node(), 3, "MAXATTEMPTS", 3, "RETRYMIN", 1, "RETRYMAX", 5)
    workers, where = 0, temp_dir()
    while job.status("state") == "running":
        worker = job.worker(f"w{workers}", "--", "sh", "-c", f"cd {where}; echo fine; [ {{chunk}} = 1 ] || exec touch "
                            "done.{chunk}; touch at; while [ -e at ]; do sleep 0.01; done; kill -9 $PPID")
        wait_until(lambda w=worker: w.code() is not None or os.path.exists(where + "/at"), what="chunk 1 or the end")
        if worker.code() is None:
            # Or the chunk before it is the one to blame, if its result is on its way still.
            wait_until(lambda: job.status("completed") == len(os.listdir(where)) - 1, what="the results before")
            os.unlink(where + "/at")
        code = worker.wait()
        workers += 1
        assert code == (-signal.SIGKILL if workers <= 3 else 0), (workers, code)
    assert (job.status("completed"), job.status("dead_letters")) == (2, 1)
    assert job.status("workers_lost") == 3
    raw = job.node.raw()
    dead = pairs(plain(raw("TTG.DEAD", "SHOW", "j", 1)))
    assert dead["attempts"] == 3, dead


@test
def slots_run_at_the_same_time():
    job = Job(Node(), 12)
    go = temp_dir() + "/go"
    worker = job.worker("w", "--slots", 4, "--", "sh", "-c",
                        f"while ! [ -e {go} ]; do sleep 0.01; done; echo $TTG_CHUNK")
    job.wait("leased", 4)
    write_file(go)
    assert worker.wait() == 0
    assert sorted(int(line["output"]) for line in job.lines()) == list(range(12))


@test
def a_coprocess_serves_many_chunks():
    script = write_file(temp_dir() + "/c.py", """
import json, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # for who is not that quick
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"result": str(os.getpid())}), flush=True)
open(sys.argv[1], "w").write("ended in order")
""")
    job = Job(Node(), 20)
    mark = temp_dir() + "/mark"
    worker = job.worker("w", "--coproc", "--", "python3", script, mark)
    assert worker.wait() == 0
    assert len({line["output"] for line in job.lines()}) == 1
    with open(mark, encoding="ascii") as file:
        assert file.read() == "ended in order"


@test
def lines_of_a_file_reach_the_commands():
    node, path = Node(), temp_dir() + "/in"
    queue = f"ttg+unix:{node.unix}"
    write_file(path, "".join(f"line {i}\r\n" for i in range(999)) + "last")
    run([TTG, "submit", "j", "--queue", queue, "--input", path, "--chunk", 10, "--", "cat"])
    workers = [spawn([TTG, "worker", "--queue", queue, "--job", "j", "--name", name, "--slots", 2, "--",
                      "cat"]) for name in ("a", "b")]
    for worker in workers:
        assert worker.wait() == 0
        assert "kernel.differs" not in worker.err()
    out = run([TTG, "results", "j", "--queue", queue]).out
    lines = sorted((json.loads(line) for line in out.splitlines()), key=lambda r: r["start_param"])
    text = "".join(line["output"] for line in lines)
    assert text == "".join(f"line {i}\n" for i in range(999)) + "last\n"


@test
def an_input_that_is_missing_here_is_an_error():
    node, path = Node(), temp_dir() + "/in"
    queue = f"ttg+unix:{node.unix}"
    write_file(path, "one\ntwo\n")
    run([TTG, "submit", "j", "--queue", queue, "--input", path, "--", "cat"])
    os.unlink(path)
    worker = spawn([TTG, "worker", "--queue", queue, "--job", "j", "--", "cat"])
    assert worker.wait() in (2, 3)
    assert path in worker.err(), worker.err()


@test
def a_command_for_single_parameters_refuses_other_jobs():
    queue = f"ttg+unix:{Node().unix}"
    run([TTG, "submit", "j", "--queue", queue, "--params", 10, "--chunk", 5, "--", "cat"])
    run([TTG, "worker", "--queue", queue, "--job", "j", "--", "echo", "{param}"], code=2,
        err="add --chunk 1")
    assert re.search("2 waiting", run([TTG, "status", "j", "--queue", queue]).out)


@test
@nobody_silent
def faults_cost_attempts_only():
    job = Job(Node(), 300, "MAXATTEMPTS", 1000, "RETRYMIN", 1, "RETRYMAX", 5)
    workers = [job.worker(f"w{i}", "--simulate-ms", "0.1", "--slots", 3,
                          env={"SIMULATE_FAULT_RATE": "0.3"}) for i in range(2)]
    for worker in workers:
        assert worker.wait() == 0
    job.exact()
    failures = job.status("failures")
    assert failures > 20
    assert job.status("attempts") == 300 + failures


@test
def a_job_that_is_not_there_is_waited_for():
    node = Node()
    early = spawn([TTG, "worker", "--queue", f"ttg+unix:{node.unix}", "--job", "j", "--name", "early",
                   "--simulate-ms", "0"])
    late = spawn([TTG, "worker", "--queue", f"ttg+unix:{node.unix}", "--job", "other",
                  "--idle-timeout", "0.3"])
    assert late.wait() == 0
    assert "nothing to do" in late.err()
    job = Job(node, 10)
    assert early.wait() == 0
    job.exact()


@test
def who_waits_for_a_job_asks_once_and_may_go():
    node = Node()

    def told(section, name):
        raw = node.raw()
        text = plain(raw("INFO", section))
        raw.close()
        found = re.search(rf"^{name}:(?:calls=)?(\d+)", text, re.M)
        return int(found[1]) if found else 0
    waiting = [spawn([TTG, "worker", "--queue", f"ttg+unix:{node.unix}", "--job", "j", "--name",
                      f"w{i}", "--simulate-ms", "0"]) for i in range(3)]
    wait_until(lambda: told("clients", "blocked_clients") == 3)
    waiting[0].kill(signal.SIGTERM)
    assert waiting[0].wait() == 143
    waiting[1].kill()
    wait_until(lambda: told("clients", "blocked_clients") == 1)
    # Three that wait, not fifteen a second that ask.
    assert told("commandstats", "cmdstat_ttg.join") == 3
    job = Job(node, 10)
    assert waiting[2].wait() == 0
    job.exact()
    assert job.status("workers_lost") == 0


@test
def told_to_stop_before_it_knows_that_it_has_joined():
    """Where a job is short many of its workers are: they are not lost."""
    node = Node()
    job, proxy = Job(node, 4), Proxy(node.port)
    proxy.no_answer_after(b"TTG.JOIN")
    worker = job.worker("w", "--simulate-ms", 0, queue=f"ttg://127.0.0.1:{proxy.port}")
    wait_until(lambda: any(e["event"] == "worker.joined" for e in job.events()), what="the join")
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 143
    wait_until(lambda: job.status("workers") == 0, what="nobody to be there")
    assert job.status("workers_lost") == 0, job.events()
    job.event("worker.left")
    proxy.close()


@test
def who_waited_for_its_job_is_missed_when_it_dies():
    node = Node()
    with socket.socket(socket.AF_UNIX) as worker:
        worker.connect(node.unix)
        worker.sendall(b"TTG.JOIN j w 5 SLOTS 1 BLOCK 20000\r\n")
        asked = node.raw()
        wait_until(lambda: "blocked_clients:1" in plain(asked("INFO", "clients")))
        asked.close()
        job = Job(node, 1)
        assert b"running" in worker.recv(4096)
        worker.sendall(b"TTG.TAKE j w 5 COUNT 1\r\n")
        job.wait("leased", 1)
    job.wait("leased", 0)
    job.event("worker.lost")


@test
def waiting_for_the_others_is_not_idle():
    job = Job(Node(), 1)
    first = job.worker("first", "--simulate-ms", 600000)
    job.wait("leased", 1)
    second = job.worker("second", "--simulate-ms", 0, "--idle-timeout", "0.2")
    second.wait_for("worker.joined")
    time_of_join = time.monotonic()
    wait_until(lambda: time.monotonic() > time_of_join + 1)  # five times its idle time
    assert second.code() is None
    first.kill()
    assert second.wait() == 0
    job.exact()


@test
def a_paused_job_goes_on():
    job = Job(Node(), 50)
    job("TTG.JOB", "PAUSE")
    worker = job.worker("w", "--simulate-ms", 0, "--idle-timeout", "0.1")
    worker.wait_for("worker.joined")
    assert job.status("completed") == 0
    job("TTG.JOB", "RESUME")
    assert worker.wait() == 0
    job.exact()


@test
def cancel_stops_what_runs():
    job = Job(Node(), 50)
    worker = job.worker("w", "--slots", 2, "--simulate-ms", 600000)
    job.wait("leased", 2)
    job("TTG.JOB", "CANCEL")
    assert worker.wait() == 0
    assert job.status("completed") == 0


@test
def another_kernel_than_the_jobs_is_warned_of():
    job = Job(Node(), 3, "KERNEL", "exec ./score --fast")
    worker = job.worker("w", "--simulate-ms", 0)
    assert worker.wait() == 0
    assert "kernel.differs" in worker.err() and "./score --fast" in worker.err()


@test
def log_lines_name_worker_job_and_chunk():
    job = Job(Node(), 1, "MAXATTEMPTS", 1)
    worker = job.worker("w", "--", "sh", "-c", "exit 3")
    assert worker.wait() == 0
    line = next(l for l in worker.err().splitlines() if "chunk.failed" in l)
    assert all(word in line for word in ("worker=w", "job=j", "chunk=0", "attempt=1", "exit status 3"))
    assert worker.out() == ""


@test
def a_worker_that_stays_goes_on_with_the_next_run_of_the_job():
    go = os.path.join(temp_dir(), "go")
    node = node_at(os.path.join(temp_dir(), "s"))
    url = f"ttg+unix:{node.unix}"
    worker = spawn([TTG, "worker", "--stay", "--queue", url, "--job", "j", "--idle-timeout", "0.1",
                    "--", "test", "-e", go])
    worker.wait_for("worker.waiting")
    run([TTG, "submit", "j", "--queue", url, "--params", "3", "--chunk", "1", "--max-attempts", "1",
         "--", "test", "-e", go])
    run([TTG, "wait", "j", "--queue", url], code=1)
    wait_until(lambda: worker.err().count("worker.waiting") == 2, what="the wait for the next run")
    assert "committed=0 failed=3" in worker.err()
    write_file(go, "")
    run([TTG, "dlq", "redrive", "--all", "--job", "j", "--queue", url])
    run([TTG, "wait", "j", "--queue", url])
    wait_until(lambda: "committed=3" in worker.err(), what="the second end")
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 143
    node.stop()


main()

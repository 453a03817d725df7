#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The redis-cli commands that operators know (streams, group, pending list) answer as they always did,
on jobs that workers run from nothing but the older environment variables."""
import re

from harness import TTG, main, run, skip, spawn, test, wait_until, have
from redisrig import Redis

GROUP = "ttg-workers"


class Cli:
    """redis-cli, one command a call; its lines as people see them when they pipe it."""

    def __init__(self, server):
        if not have("redis-cli"):
            skip("redis-cli is not installed")
        self.port = server.port

    def __call__(self, *words):
        out = run(["redis-cli", "-p", self.port, *words]).out
        return out.rstrip("\n").split("\n")

    def number(self, *words):
        (line,) = self(*words)
        return int(line)


def workers(server, *numbers, **variables):
    """As the older manifests start them."""
    env = {"QUEUE_MODE": "true", "QUEUE_BACKEND": "redis", "REDIS_HOST": "127.0.0.1",
           "REDIS_PORT": server.port, "TOTAL_WORKERS": 3, "TOTAL_PARAMETERS": 10000,
           "CHUNK_SIZE": 100, **variables}
    return [spawn([TTG, "worker"], env={**env, "WORKER_ID": n}) for n in numbers]


@test
def monitoring_by_hand():
    """ping, XLEN of both streams, XPENDING: before, while and after three workers run."""
    server = Redis()
    cli = Cli(server)
    assert cli("ping") == ["PONG"]
    slow = workers(server, 0, SIMULATE_WORK_MS=1000)[0]  # as long as it has a chunk, the job goes on
    wait_until(lambda: cli.number("XLEN", "ttg:tasks") > 0, what="tasks")
    wait_until(lambda: int(cli("XPENDING", "ttg:tasks", GROUP)[0]) > 0, what="its lease")
    team = workers(server, 1, 2, SIMULATE_WORK_MS=1)
    wait_until(lambda: cli.number("XLEN", "ttg:results") > 0, what="the first result")
    tasks, results = cli.number("XLEN", "ttg:tasks"), cli.number("XLEN", "ttg:results")
    assert 0 < tasks <= 100 and results < 100, (tasks, results)
    pending = cli("XPENDING", "ttg:tasks", GROUP)  # count, lowest id, highest id, consumers
    assert int(pending[0]) >= 1 and re.match(r"\d+-\d+$", pending[1]), pending
    assert set(pending[3::2]) <= {"worker-0", "worker-1", "worker-2"}, pending
    assert sum(int(n) for n in pending[4::2]) == int(pending[0]), pending
    slow.kill()
    assert [w.wait(60) for w in team] == [0, 0]
    assert cli.number("XLEN", "ttg:results") == 100
    assert cli("XPENDING", "ttg:tasks", GROUP)[0] == "0"
    info = cli("XINFO", "GROUPS", "ttg:tasks")
    assert info[info.index("name") + 1] == GROUP, info
    entry = cli("XRANGE", "ttg:results", "-", "+", "COUNT", "1")
    for field in ("chunk_id", "start_param", "end_param", "worker_id", "status", "params_processed",
                  "duration_seconds", "result_summary", "completed_at"):
        assert field in entry, entry


@test
def before_anybody_works_all_tasks_are_counted():
    server = Redis()
    cli = Cli(server)
    first = workers(server, 0, SIMULATE_WORK_MS=1000)[0]  # its first chunk takes long
    wait_until(lambda: cli.number("XLEN", "ttg:tasks") == 100, what="100 tasks")
    wait_until(lambda: int(cli("XPENDING", "ttg:tasks", GROUP)[0]) > 0, what="its lease")
    assert cli.number("XLEN", "ttg:results") == 0
    task = cli("XRANGE", "ttg:tasks", "-", "+", "COUNT", "1")
    assert task[1:9] == ["chunk_id", "00000", "start_param", "0", "end_param", "99",
                         "total_in_chunk", "100"], task
    consumers = cli("XINFO", "CONSUMERS", "ttg:tasks", GROUP)
    assert "worker-0" in consumers and first.code() is None, consumers


@test
def a_task_taken_claimed_and_acknowledged_by_hand():
    server = Redis()
    cli = Cli(server)
    workers(server, 0, SIMULATE_WORK_MS=1000)
    wait_until(lambda: cli.number("XLEN", "ttg:tasks") == 100, what="100 tasks")
    again = run(["redis-cli", "-p", server.port, "XGROUP", "CREATE", "ttg:tasks", GROUP, "0",
                 "MKSTREAM"], code=None).out
    assert "BUSYGROUP" in again, again
    got = cli("XREADGROUP", "GROUP", GROUP, "worker-9", "BLOCK", "5000", "COUNT", "1", "STREAMS",
              "ttg:tasks", ">")
    assert got[0] == "ttg:tasks" and got[2:4] == ["chunk_id", got[3]], got
    entry = got[1]
    mine = cli("XPENDING", "ttg:tasks", GROUP, entry, entry, "1")
    assert mine[:2] == [entry, "worker-9"], mine
    # Nothing is stale yet: a minute has not gone by.
    assert cli("XCLAIM", "ttg:tasks", GROUP, "worker-8", "60000", entry) == [""]
    claimed = cli("XCLAIM", "ttg:tasks", GROUP, "worker-8", "0", entry)
    assert claimed[0] == entry and "chunk_id" in claimed, claimed
    cli("XADD", "ttg:results", "*", "chunk_id", got[3], "worker_id", "worker-8", "status",
        "complete", "result_summary", '{"sum": 1, "count": 100}')
    assert cli.number("XACK", "ttg:tasks", GROUP, entry) == 1
    assert cli.number("XACK", "ttg:tasks", GROUP, entry) == 0
    told = run([TTG, "status", "--queue", server.url, "--job", "default", "--json"]).out
    assert '"completed":1,' in told, told  # it was taken in


@test
def a_worker_is_deleted_and_the_others_finish():
    """Fault tolerance by hand: 100 results in the end, whoever died."""
    server = Redis()
    cli = Cli(server)
    team = workers(server, 0, 1, 2, SIMULATE_WORK_MS=1)
    wait_until(lambda: cli.number("XLEN", "ttg:results") >= 10, what="ten results")
    team[1].kill()
    assert [team[0].wait(60), team[2].wait(60)] == [0, 0]
    assert cli.number("XLEN", "ttg:results") == 100
    assert cli("XPENDING", "ttg:tasks", GROUP)[0] == "0"


main()

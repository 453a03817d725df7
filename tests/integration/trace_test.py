#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One chunk is followed by its trace through the logs of all processes: it loses its first worker, and
run, node, both workers and the command itself name it by the same id."""
import json
import os
import re
import signal

from harness import TTG, main, run, spawn, temp_dir, test, wait_until, write_file
from jobrig import children
from noderig import Node
from redisrig import Redis

JSON = ["--log-format", "json", "--log-level", "DEBUG"]


def lines(process):
    """The JSON lines of a log; others are passed over."""
    found = []
    for line in process.err().splitlines():
        if line.startswith("{") and line.endswith("}"):
            found.append(json.loads(line))
    return found


def followed(queue, node):
    """Runs a job, kills the worker that is at chunk 2, and returns (run, script's notes)."""
    notes = temp_dir() + "/notes"
    script = write_file(temp_dir() + "/work", f"""#!/bin/sh
echo "$TTG_CHUNK $TTG_ATTEMPT $TRACEPARENT" >>{notes}
[ $TTG_CHUNK = 2 ] && [ $TTG_ATTEMPT = 1 ] && sleep 60
sleep 0.1
""", 0o755)
    process = spawn([TTG, "run", "--queue", queue, "--job", "sweep", "--params", "20", "--chunk", "1",
                     "--workers", "2", *JSON, "--output", temp_dir() + "/out", "--", script])

    def read():
        return open(notes, encoding="ascii").read().splitlines() if os.path.exists(notes) else []
    wait_until(lambda: any(line.startswith("2 1 ") for line in read()))
    # It has told its status by then, and with it when the job was created.
    wait_until(lambda: len(read()) > 12, what="the other worker to go on")

    def chunks(event, worker=None):
        return {e["chunk"] for e in lines(process) if e["event"] == event and worker in (None, e["worker"])}
    owner = next(e["worker"] for e in lines(process) if e["event"] == "chunk.started" and e["chunk"] == 2)
    # Or the chunk before it is the one to blame, if its result is on its way still.
    wait_until(lambda: chunks("chunk.started", owner) - {2} <= chunks("chunk.collected"), what="its results")
    victim = next(pid for pid, line in children(process.pid, "worker").items() if f" {owner} " in line)
    os.kill(victim, signal.SIGKILL)
    assert process.wait(60) == 0
    return process, [line.split() for line in read()]


def check(process, notes, node=None):
    log = lines(process)
    (moved,) = [e for e in log if e["event"] == "chunk.reclaimed" and e["chunk"] == 2]
    trace = moved["trace_id"]
    assert re.fullmatch("[0-9a-f]{32}", trace)
    started = [e for e in log if e["event"] == "chunk.started" and e.get("trace_id") == trace]
    assert [e["chunk"] for e in started] == [2, 2] and len({e["span_id"] for e in started}) == 2, started
    assert [e["attempt"] for e in started] == [1, 2]
    (done,) = [e for e in log if e["event"] == "chunk.done" and e.get("trace_id") == trace]
    assert done["span_id"] == started[1]["span_id"]
    (collected,) = [e for e in log if e["event"] == "chunk.collected" and e.get("trace_id") == trace]
    assert collected["chunk"] == 2 and collected["attempt"] == 2, collected
    parents = [n[2] for n in notes if n[0] == "2"]
    assert parents == [f"00-{trace}-{e['span_id']}-01" for e in started], parents
    others = {e["trace_id"] for e in log if e["event"] == "chunk.started"}
    assert len(others) == 20, "one trace a chunk"
    if node:
        story = [e for e in lines(node.process) if e.get("trace_id") == trace]
        assert [e["event"] for e in story] == ["chunk.leased", "chunk.returned", "chunk.leased",
                                               "chunk.committed"], story
        assert "attempt" not in story[1], story[1]
        assert [story[0]["span_id"], story[2]["span_id"], story[3]["span_id"]] == \
            [started[0]["span_id"], started[1]["span_id"], started[1]["span_id"]]


@test
def one_chunk_is_followed_through_run_node_and_workers():
    node = Node(*JSON)
    check(*followed(f"ttg+unix:{node.unix}", node), node)


@test
def on_redis_too():
    server = Redis()
    check(*followed(server.url, None))


@test
def lines_for_people_carry_no_ids():
    node = Node()
    done = run([TTG, "run", "--queue", f"ttg+unix:{node.unix}", "--params", "2", "--chunk", "1", "--log-level",
                "DEBUG", "--", "sh", "-c", "exit 100"], code=1, err="chunk.started")
    assert "trace_id" not in done.err and "span_id" not in done.err


main()

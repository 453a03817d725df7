#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pipelines: ends of clients, dead letters, every kind of stage, back-pressure, drain, mistakes."""
import json
import os
import signal
import time

from harness import ROOT, TTG, alive, have, main, run, skip, test, ttg, wait_until, write_file
from pipelinerig import Pipeline, check_sales, go_on, held_back, redis, redis_client, sales

STRICT = "import json, sys\nfor line in sys.stdin:\n    m = json.loads(line)\n"


# ---- what a stage may do

@test
def a_client_ends_when_all_its_paths_have_ended_before_the_source_has():
    lines = [{"client": c, "value": n} for n in range(300) for c in ("x", "y")]
    lines += [{"client": "x", "end": True}]
    source = "import json, time\n" + \
        "".join(f"print({json.dumps(json.dumps(m))})\n" for m in lines[:1]) + \
        f"for m in json.loads({json.dumps(json.dumps(lines[1:]))}): print(json.dumps(m))\n" \
        "import sys, os\nsys.stdout.flush()\n" \
        "while not os.path.exists('go'): time.sleep(0.02)\n"
    p = Pipeline([
        {"name": "in", "source": ["python3", "in.py"]},
        {"name": "pass", "from": "in", "by": "id", "partitions": 3,
         "coproc": ["python3", "pass.py"]},
        {"name": "sum", "from": "pass", "aggregate": "sum", "by": "key", "partitions": 2},
        {"name": "all", "from": "sum", "aggregate": {"top": 2}},
        {"name": "out", "from": "all", "sink": "out.jsonl"}], files=[("in.py", source), ("pass.py",
            STRICT + "    print(json.dumps({'result': [{'key': str(m['value'] % 10), "
            "'value': m['value']}]}), flush=True)\n")])
    running = p.start()
    wait_until(lambda: len(p.lines()) == 1, 60)
    assert p.lines()[0]["client"] == "x", p.lines()
    assert running.code() is None
    go_on(p)
    assert running.wait(60) == 0, running.err()
    assert {m["client"] for m in p.lines()} == {"x", "y"} and len(p.lines()) == 2, p.lines()
    best = [{"key": str(k), "value": sum(range(k, 300, 10))} for k in (9, 8)]
    assert [m["value"] for m in p.lines()] == [best, best], p.lines()


def dead_pipeline(queue=None):
    fail = STRICT + "    v = m['value']\n" \
        "    if v == 3: sys.exit(7)\n" \
        "    bad = v % 10 == 4 and not __import__('os').path.exists('fixed')\n" \
        "    print(json.dumps({'error': 'no ' + str(v), 'permanent': True} if bad else\n" \
        "                     {'result': [{'value': v * 2}]}), flush=True)\n"
    return Pipeline([
        {"name": "in", "source": "in.jsonl"},
        {"name": "twice", "from": "in", "coproc": ["python3", "twice.py"], "attempts": 2},
        {"name": "out", "from": "twice", "sink": "out.jsonl"}], queue, "dead", files=[
            ("twice.py", fail),
            ("in.jsonl", "".join(f'{{"client":"c","value":{n}}}\n' for n in range(20)) + "what\n")])


@test
def dead_letters_are_kept_with_their_reason_and_may_be_tried_again():
    p = dead_pipeline()
    status = p.run(code=1)
    assert status["state"] == "done", status
    assert sorted(m["value"] for m in p.lines()) == [2 * n for n in range(20) if n not in (3, 4, 14)]
    letters = [json.loads(line) for line in p.ask("dlq list", "--json").splitlines()]
    reasons = {json.loads(m["message"])["value"]: (m["reason"], m["attempts"]) for m in letters
               if m["stage"] == "twice"}
    assert set(reasons) == {3, 4, 14}, letters
    assert "exit status 7" in reasons[3][0] and reasons[3][1] == 2, reasons
    assert reasons[4] == ("no 4", 1), reasons
    assert [m["message"] for m in letters if m["stage"] == "in"] == ["what"], letters
    table = p.ask("status")
    assert "pipeline dead: done" in table and "no 4" in p.ask("dlq list")
    run(p.words("dlq drop", "in"), env=p.env, out="1 dead letters")
    assert p.ask("dlq list", "in") == ""
    run(p.words("dlq list", "none"), code=2, env=p.env, err="there is no stage 'none'")
    # Done is done: a second run says so and changes nothing.
    run(p.words("run"), env=p.env, err="has run to its end already")
    p.ask("clean")
    assert not os.path.exists(p.state)


@test
def redriven_letters_go_through_the_rest_of_the_pipeline():
    p = dead_pipeline(redis())
    os.remove(os.path.join(p.dir, "in.jsonl"))
    write_file(os.path.join(p.dir, "in.py"), "import json, os, time\n"
               "for n in range(20): print(json.dumps({'client': 'c', 'value': n}), flush=True)\n"
               "while not os.path.exists('go'): time.sleep(0.02)\n")
    with open(p.file, encoding="utf-8") as file:
        spec = json.load(file)
    spec["stages"][0]["source"] = ["python3", "in.py"]
    write_file(p.file, json.dumps(spec))
    running = p.start()
    wait_until(lambda: p.stage("twice").get("dead") == 3, 60)
    write_file(os.path.join(p.dir, "fixed"))
    run(p.words("dlq redrive", "twice"), env=p.env, out="3 dead letters")
    wait_until(lambda: p.stage("twice").get("dead") == 1, 60)
    go_on(p)
    assert running.wait(60) == 1
    assert sorted(m["value"] for m in p.lines()) == [2 * n for n in range(20) if n != 3]


@test
def clean_removes_the_state_and_what_waits_in_the_queue():
    p = slow_pipeline(1000, redis(), "clean")
    running = p.start()
    wait_until(lambda: p.stage("slow").get("in", 0) > 10)
    run(p.words("clean"), code=3, env=p.env, err="drain` first")
    running.kill()
    running.wait()
    p.ask("clean")
    client = redis_client()
    assert not client.keys("ttg:{clean}:*") and not os.path.exists(p.state)
    if p.lines():
        run(p.words("run"), code=2, env=p.env, err="move the file away")
        os.remove(os.path.join(p.dir, "out.jsonl"))
    go_on(p)
    assert p.run()["state"] == "done"
    assert len(p.lines()) == 1000


@test
def exec_runs_a_command_for_each_batch():
    script = STRICT + "    print(json.dumps({'in': m['id'], 'value': m['value'] + 1}))\n" \
        "    print(json.dumps({'in': m['id'], 'value': -m['value']}))\n"
    p = Pipeline([
        {"name": "in", "source": "in.jsonl"},
        {"name": "add", "from": "in", "exec": ["python3", "add.py"], "batch": 50},
        {"name": "out", "from": "add", "sink": "out.jsonl"}], files=[
            ("add.py", script),
            ("in.jsonl", "".join(f'{{"client":"c","value":{n}}}\n' for n in range(120)))])
    p.run()
    assert sorted(m["value"] for m in p.lines()) == \
        sorted([n + 1 for n in range(120)] + [-n for n in range(120)])
    assert len({m["id"] for m in p.lines()}) == 240


def slow_pipeline(count, queue=None, name="slow"):
    """Its slow stage does twenty, and the rest when there is a file `go`."""
    return Pipeline([
        {"name": "in", "source": ["seq", "1", str(count)], "format": "text"},
        {"name": "slow", "from": "in", "coproc": ["python3", "slow.py"], "limit": 300},
        {"name": "out", "from": "slow", "sink": "out.jsonl"}], files=[("slow.py", "import os, time\n" +
            STRICT + "    while int(m['value']) > 20 and not os.path.exists('go'): time.sleep(0.02)\n"
            "    time.sleep(0.001)\n    print('{\"result\": [{\"value\": 1}]}', flush=True)\n")],
        queue=queue, name=name)


PLUGIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ttg/plugin.h>

/* Answers each message with its number of bytes; dies of the one that says "crash". */
static int run(void *state, struct ttg_call *call)
{
    char text[64];
    (void)state;
    if (memmem(call->lines, call->lines_bytes, "crash", 5))
        abort();
    ttg_write(call, text, (size_t)snprintf(text, sizeof text, "{\\"value\\":%zu}\\n", call->lines_bytes));
    return TTG_DONE;
}

TTG_PLUGIN(.name = "bytes", .run = run);
"""


@test
def a_plugin_that_crashes_the_process_gives_up_one_message_only():
    if not have("cc"):
        skip("there is no C compiler")
    p = Pipeline([
        {"name": "in", "source": "in.txt", "format": "text"},
        {"name": "bytes", "from": "in", "plugin": "bytes.so", "attempts": 3},
        {"name": "out", "from": "bytes", "sink": "out.jsonl"}],
        files=[("bytes.c", PLUGIN), ("in.txt", "one\ntwo\ncrash\nfour\n")])
    run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-I", os.path.join(ROOT, "include"), "-o",
         os.path.join(p.dir, "bytes.so"), os.path.join(p.dir, "bytes.c")])
    status = p.run(code=1)
    assert len(p.lines()) == 3, p.lines()
    letter = json.loads(p.ask("dlq list", "--json"))
    assert "crash" in letter["message"] and letter["attempts"] == 3, letter
    assert "ended the process" in letter["reason"], letter
    assert status["stages"][1]["instances"][0]["restarts"] == 3, status


@test
def a_slow_stage_holds_up_the_source():
    p = slow_pipeline(1500)
    running = p.start()
    most = wait_until(lambda: p.stage("slow").get("queued"), what="what waits")
    go_on(p)
    while running.code() is None:
        most = max(most, p.stage("slow").get("queued", 0))
        time.sleep(0.02)
    assert running.code() == 0 and len(p.lines()) == 1500
    assert most <= 300 + 256, most


@test
def a_drained_pipeline_goes_on_later():
    p = sales(60000)
    held_back(p, 60000, 30000)
    running = p.start()
    wait_until(lambda: p.stage("sum").get("in", 0) > 500)
    status = json.loads(p.ask("drain", "--json"))
    assert running.wait() == 0
    assert status["state"] == "drained" and all(s["queued"] == 0 for s in status["stages"]), status
    assert p.lines("top.jsonl") == []
    go_on(p)
    assert p.run()["state"] == "done"
    check_sales(p, 60000)


@test
def a_second_signal_stops_at_once_and_two_cannot_run_at_a_time():
    p = slow_pipeline(1000)
    running = p.start()
    wait_until(lambda: p.stage("slow").get("in", 0) > 10)
    run(p.words("run"), code=3, env=p.env, err="the pipeline runs already, as process")
    running.kill(signal.SIGINT)
    running.wait_for("pipeline.draining")
    running.kill(signal.SIGINT)
    assert running.wait() == 130
    wait_until(lambda: not any(alive(pid) for pid in p.pids()), what="the instances to be gone")
    go_on(p)
    with open(p.file, encoding="utf-8") as file:
        spec = file.read()
    write_file(p.file, spec.replace('"limit"', '"partitions": 2, "limit"'))
    run(p.words("run"), code=2, env=p.env, err="the stages have changed")
    write_file(p.file, spec)
    assert p.run()["state"] == "done"
    assert len(p.lines()) == 1000


@test
def mistakes_are_refused_before_anything_starts():
    p = Pipeline([{"name": "in", "source": "in"}, {"name": "out", "from": "im", "sink": "out"}])
    run([TTG, "pipeline", "check", p.file], code=2, err=r"p.json:1: .*there is no stage 'im'; did you mean 'in'")
    run(p.words("run"), code=2, err="did you mean 'in'")
    assert not os.path.exists(p.state)
    ttg("pipeline", code=2, err="what to do is missing")
    ttg("pipeline", "statsu", "x", code=2, err="did you mean 'status'")
    ttg("pipeline", "run", "/nowhere.json", code=2, err="/nowhere.json")
    p = Pipeline([{"name": "in", "source": ["no-such-command-here"]},
                  {"name": "out", "from": "in", "sink": "out"}])
    ttg("pipeline", "check", p.file, out="is good")
    run(p.words("run"), code=2, env=p.env, err="no-such-command-here")


main()

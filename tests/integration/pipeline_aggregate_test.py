#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Aggregates of pipelines: commands and libraries of the user's, files that stay short, full disks.
SOAK=1 runs the full counts (make soak)."""
import contextlib
import csv
import glob
import json
import os
import signal
import subprocess

from harness import have, main, run, skip, temp_dir, test, wait_until, write_file
from pipelinerig import Inbox, Instance, Pipeline, check_sales, compile_library, go_on, held_back, \
    medians_with_kills, redis, sales
from statefulrig import shim

SOAK = os.environ.get("SOAK")


# On RabbitMQ, whose start takes long: pipeline_kill_test.py.

@test
def a_command_and_a_library_aggregate_with_kills_on_a_node():
    medians_with_kills(None, 200000 if SOAK else 8000, 200 if SOAK else 10, 5)


@test
def a_command_and_a_library_aggregate_with_kills_on_redis():
    medians_with_kills(redis(), 100000 if SOAK else 4000, 100 if SOAK else 5, 6)


ANSWER = """import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["client"] == "bad":
        print('{"error": "bad client", "permanent": true}', flush=True)
    elif asked["client"] == "worse" and not os.path.exists("fixed"):
        sys.exit(3)
    else:
        value = sum(row["value"] for row in asked["rows"])
        print(json.dumps({"result": [{"key": "n", "value": len(asked["rows"])},
                                     {"key": "sum", "value": value},
                                     {"key": "sum", "value": value}]}), flush=True)
"""


@test
def a_client_without_a_result_is_a_dead_letter_and_the_others_go_on():
    lines = "".join(f'{{"client":"{c}","value":{n}}}\n'
                    for n in range(10) for c in ("good", "bad", "worse", "fine"))
    p = Pipeline([
        {"name": "in", "source": "in.jsonl"},
        {"name": "add", "from": "in", "aggregate": ["python3", "add.py"], "attempts": 2},
        {"name": "out", "from": "add", "sink": "out.jsonl"}],
        files=[("in.jsonl", lines), ("add.py", ANSWER)])
    p.run(code=1)
    got = sorted((m["client"], m["key"], m["value"]) for m in p.lines())
    assert got == sorted([(c, "n", 10) for c in ("good", "fine")] +
                         2 * [(c, "sum", 45) for c in ("good", "fine")]), got
    letters = {json.loads(m["message"])["client"]: (m["reason"], m["attempts"],
                                                    json.loads(m["message"])["rows"])
               for m in map(json.loads, p.ask("dlq list", "--json").splitlines())}
    assert set(letters) == {"bad", "worse"}, letters
    assert letters["bad"][:2] == ("bad client", 1), letters
    assert "exit status 3" in letters["worse"][0] and letters["worse"][1] == 2, letters
    assert sorted(row["value"] for row in letters["bad"][2]) == list(range(10)), letters


MERGING = """import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["client"] == "bad":
        with open("asked", "a") as file:
            file.write("x")
        sys.exit(3)
    value = sum(row["value"] for row in asked["rows"])
    row = [{"key": "sum", "value": value}]
    print(json.dumps({"result": row}), flush=True)
"""


@test
def what_is_merged_meanwhile_does_not_count_as_an_answer():
    lines = ['{"client":"bad","value":1}', '{"client":"bad","end":true}']
    lines += [f'{{"client":"big","value":{n}}}' for n in range(8000)]
    p = Pipeline([
        {"name": "in", "source": "in.jsonl"},
        {"name": "add", "from": "in", "aggregate": ["python3", "add.py"], "merge": True,
         "compact": 10, "attempts": 3},
        {"name": "out", "from": "add", "sink": "out.jsonl"}],
        files=[("in.jsonl", "\n".join(lines) + "\n"), ("add.py", MERGING)])
    p.run(code=1)
    assert [(m["client"], m["value"]) for m in p.lines()] == [("big", 8000 * 7999 // 2)]
    with open(os.path.join(p.dir, "asked"), encoding="utf-8") as file:
        assert len(file.read()) == 3
    (letter,) = p.ask("dlq list", "--json").splitlines()
    assert json.loads(letter)["attempts"] == 3, letter


LIBRARY = """
#include <string.h>
#include <ttg/aggregate.h>

/* Keeps the lengths of values; refuses keys that say no; has no result for the client "none". */
static int extract(void *user, struct ttg_bytes client, const struct ttg_kept *m,
                   struct ttg_rows *out)
{
    (void)user;
    (void)client;
    return m->key.len == 2 && memcmp(m->key.ptr, "no", 2) == 0
               ? 1 : ttg_put(out, "", 0, "x", m->value.len > 3);
}
static int rebuild(void *user, struct ttg_bytes client, void *state, const struct ttg_kept *row)
{
    (void)user;
    (void)client;
    *(uint64_t *)state += row->value.len;
    return 0;
}
static int result(void *user, struct ttg_bytes client, const void *state, struct ttg_rows *out)
{
    char text[2] = {(char)('0' + *(const uint64_t *)state), 0};
    (void)user;
    if (RESULT && client.len == 4 && memcmp(client.ptr, "none", 4) == 0)
        return 7;
    return ttg_put(out, "long", 4, text, 1);
}
TTG_AGGREGATE(.state_bytes = sizeof(uint64_t), .rebuild = rebuild, .extract = extract,
              .result = result);
"""


@test
def a_library_keeps_what_it_likes_and_stops_the_pipeline_without_a_result():
    lines = "".join(f'{{"client":"{c}","key":"{k}","value":{v}}}\n' for c in ("some", "none")
                    for k, v in (("a", 1), ("b", 12345), ("no", 1), ("c", '"long"')))
    p = Pipeline([
        {"name": "in", "source": "in.jsonl"},
        {"name": "count", "from": "in", "aggregate": "./count.so"},
        {"name": "out", "from": "count", "sink": "out.jsonl"}],
        files=[("in.jsonl", lines), ("bad.c", "#define RESULT 1\n" + LIBRARY),
               ("good.c", "#define RESULT 0\n" + LIBRARY), ("none.c", "int nothing;\n")])
    library = os.path.join(p.dir, "count.so")
    run(p.words("run"), code=2, env=p.env, err="cannot load the aggregate")
    compile_library(os.path.join(p.dir, "none.c"), library)
    run(p.words("run"), code=2, env=p.env, err="exports no ttg_aggregate")
    compile_library(os.path.join(p.dir, "bad.c"), library)
    run(p.words("run"), code=2, env=p.env, err="no result of client none: it answered 7")
    compile_library(os.path.join(p.dir, "good.c"), library)
    assert p.run(code=1)["state"] == "done"
    assert sorted((m["client"], m["key"], m["value"]) for m in p.lines()) == \
        [("none", "long", 2), ("some", "long", 2)], p.lines()
    letters = [json.loads(line) for line in p.ask("dlq list", "--json").splitlines()]
    assert all("refuses" in m["reason"] for m in letters), letters
    # Once at least: the source was stopped with it, and has sent its lines again.
    assert {json.loads(m["message"])["id"] for m in letters} == {"in:3", "in:7"}, letters


@test
def a_dead_letter_is_not_lost_between_rows_and_commit():
    inbox, log = Inbox("node", "lost"), os.path.join(temp_dir(), "kills")
    p = Pipeline([{"name": "sum", "input": True, "aggregate": "sum"},
                  {"name": "out", "from": "sum", "sink": "out.jsonl"}], inbox.url, "lost")
    os.mkdir(p.state)
    inbox.put([{"id": "1", "client": "a", "value": 1}, {"id": "2", "client": "a", "value": "x"},
               {"id": "end", "client": "*", "end": True}])
    # Its fdatasync is the rows'; then it dies, before anything is sent or acknowledged.
    first = Instance(p, "sum", **shim(2, "after", log, "fdatasync"))
    first.order("own 0 100")
    assert first.process.wait() == -signal.SIGKILL
    second = Instance(p, "sum")
    second.order("own 0 101")
    wait_until(lambda: inbox.client.xlen("ttg:{lost}:pipe:sum.0") == 0)
    second.stop()
    assert second.part()["duplicates"] == 1, second.part()
    assert [m["value"] for m in inbox.sent() if "end" not in m] == [1], inbox.sent()
    letters = inbox.client.xrange("ttg:{lost}:pipe:sum.dead")
    assert len(letters) == 1 and "no number" in str(letters), letters


# ---- files that stay short

def rows(count, first=0):
    return [{"id": f"{c}{n:06}", "client": c, "key": str(n % 5), "value": n}
            for n in range(first, first + count) for c in "ab"]


def bytes_of_files(p):
    return [os.path.getsize(path) for path in glob.glob(f"{p.state}/sum.0/*/clients/?.csv")]


@test
def files_of_long_lived_clients_stay_short_whatever_is_killed():
    stages = [{"name": "sum", "input": True, "aggregate": "sum", "compact": 10},
              {"name": "out", "from": "sum", "sink": "out.jsonl"}]
    inbox, log, total = Inbox("node", "long"), os.path.join(temp_dir(), "kills"), 0
    p = Pipeline(stages, inbox.url, "long")
    os.mkdir(p.state)
    # A checkpoint: write, sync and rename the snapshot, then the summaries, then their directory.
    deaths = [(call, at, when) for at in ((1, 2, 3, 4) if SOAK else (2,)) for call, when in
              (("syncfs", "before"), ("syncfs", "after"), ("fsync", "before"), ("fsync", "after"),
               ("pwrite", "half"), ("renameat", "before"), ("renameat", "after"),
               ("unlinkat", "before"))]
    if not SOAK:
        deaths += [("renameat", 3, "before"), ("renameat", 3, "after"), ("fsync", 4, "before"),
                   ("fsync", 5, "after")]
    most = killed = 0
    for epoch, (call, at, when) in enumerate(deaths, 100):
        inbox.put(rows(1000, total))
        total += 1000
        one = Instance(p, "sum", **shim(at, when, log, call))
        one.order(f"own 0 {epoch}")
        wait_until(lambda: one.process.code() is not None or
                   inbox.client.xlen("ttg:{long}:pipe:sum.0") == 0)
        one.order("stop")
        code = one.process.wait()
        assert code in (0, -signal.SIGKILL), one.process.err()
        killed += code != 0
        most = max([most, *bytes_of_files(p)])
    inbox.put([{"id": "end", "client": "*", "end": True}])
    last = Instance(p, "sum")
    last.order("own 0 999")
    wait_until(lambda: last.part()["finished"])
    last.stop()
    got = {(m["client"], m["key"]): m["value"] for m in inbox.sent() if "end" not in m}
    assert got == {(c, str(k)): sum(range(k, total, 5)) for c in "ab" for k in range(5)}, got
    assert len([m for m in inbox.sent() if "end" not in m]) == 10
    print(f"# {killed} deaths, {total} rows of a client, at most {most} bytes")
    # Rows alone would be 20 bytes each.
    assert most < 60000 and total * 20 > 3 * most, most
    assert killed >= 6, killed


@test
def a_compacted_file_is_read_by_csv():
    inbox = Inbox("node", "csv")
    p = Pipeline([{"name": "sum", "input": True, "aggregate": {"top": 3}, "compact": 10},
                  {"name": "out", "from": "sum", "sink": "out.jsonl"}], inbox.url, "csv")
    os.mkdir(p.state)
    inbox.put(rows(200))
    one = Instance(p, "sum")
    one.order("own 0 100")
    wait_until(lambda: inbox.client.xlen("ttg:{csv}:pipe:sum.0") == 0)
    one.stop()
    with open(glob.glob(f"{p.state}/sum.0/*/clients/a.csv")[0], encoding="utf-8", newline="") as f:
        lines = list(csv.reader(f))
    assert lines[0] == ["msg_id", "end", "key", "value"], lines
    assert lines[1] == ["~200 a[000000-000199]", "", "4", "199"], lines
    assert [line[2:] for line in lines[2:]] == [["3", "198"], ["2", "197"]], lines


# ---- full disks

@contextlib.contextmanager
def small_disk():
    if not have("mount"):
        skip("no mount(8)")
    mount = temp_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        skip("mounting a small tmpfs is not permitted: " + done.stderr.strip())
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def fill(mount):
    """Until there is no room; the file that takes it."""
    filler = os.path.join(mount, "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


@test
def a_full_disk_below_a_sink_holds_it_up_until_there_is_room():
    with small_disk() as mount:
        p = Pipeline([{"name": "in", "source": ["seq", "1", "2000"], "format": "text"},
                      {"name": "out", "from": "in", "sink": os.path.join(mount, "out.jsonl")}],
                     redis(), "sink")
        filler = fill(mount)
        running = p.start()
        running.wait_for(r"sink.full file=.*it takes no more")
        assert running.code() is None
        os.unlink(filler)
        assert running.wait(60) == 0, running.err()[-3000:]
        lines = p.lines(os.path.join(mount, "out.jsonl"))
        assert sorted(int(m["value"]) for m in lines) == list(range(1, 2001)), len(lines)


@test
def a_full_disk_below_the_state_holds_up_the_stage_until_there_is_room():
    with small_disk() as mount:
        full_disk(mount)


def full_disk(mount):
    count = 12000
    p = sales(count, redis(), "full")
    p.state = os.path.join(mount, "state")
    held_back(p, count, count // 2)
    with open(p.file, encoding="utf-8") as file:
        spec = json.load(file)
    spec["stages"][2].update(partitions=1, instances=1, compact=10) # a short log: it is full soon
    write_file(p.file, json.dumps(spec))
    running = p.start()
    wait_until(lambda: p.stage("sum").get("in", 0) == count // 2, 60)
    filler = fill(mount)
    go_on(p)
    running.wait_for(r"aggregate.full partition=sum\.\d reason=.*it takes no more", 60)
    assert running.code() is None
    assert p.lines("top.jsonl") == []
    os.unlink(filler)
    assert running.wait(60) == 0, running.err()[-3000:]
    check_sales(p, count)


main()

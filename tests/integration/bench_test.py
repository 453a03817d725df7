#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark harness measures what it says: work that was not done, or not kept as it is said to
be, has no figures. Small sizes; nothing here asks how fast anything is."""
import json
import os
import re
import shutil
import signal
import sys
import types

from harness import ROOT, TTG, main, run, skip, spawn, temp_dir, test, write_file

sys.path.insert(0, os.path.join(ROOT, "bench"))
import alternate  # noqa: E402 pylint: disable=wrong-import-position
import render  # noqa: E402 pylint: disable=wrong-import-position
import results  # noqa: E402 pylint: disable=wrong-import-position
from peers.base import BIN, Outcome  # noqa: E402 pylint: disable=wrong-import-position

RUN = os.path.join(ROOT, "bench/run.py")


def programs():
    for name in ("syncs.so", "redis_bare", "pingpong", "spawn", "nap", "hang"):
        assert os.path.exists(os.path.join(BIN, name)), f"make bench-programs (no {name} in {BIN})"


def bench(*words, code=0):
    """Figures of a small run, by (system, class)."""
    where = temp_dir()
    done = run([RUN, *words, "--rounds", "2", "--scale", "0.01", "--results", where], code=code,
               env={"TTG": TTG})
    entries = {}
    for name in os.listdir(where):
        with open(os.path.join(where, name), encoding="utf-8") as file:
            whole = results.check(json.load(file))
        entries.update({(e["system"], e["class"]): e for e in whole["entries"]})
    return entries, done


@test
def work_that_syncs_is_counted():
    programs()
    systems = "ttg,ttg-1,pingpong" + (",raw-redis" if shutil.which("redis-server") else "")
    entries, _ = bench("noop", "--systems", systems)
    for (system, durability), entry in entries.items():
        for one in entry["rounds"]:
            assert one["seconds"] > 0 and one["cpu_s"] >= 0, entry
            if durability == "fsync":
                # A batch a sync: the log of a job of a hundred round trips has many.
                assert one["syncs"] > 3, (system, one)
        assert len(entry["rounds"]) == 2, entry
    assert {d for s, d in entries if s == "ttg"} == {"fsync", "everysec", "none"}
    syncs = {d: results.median(entries["ttg-1", d], "syncs") for d in ("fsync", "none")}
    assert syncs["fsync"] > 2 * syncs["none"], syncs
    if ("raw-redis", "fsync") in entries:
        assert results.median(entries["raw-redis", "none"], "syncs") == 0


@test
def told_to_stop_it_keeps_what_it_has():
    programs()
    where = temp_dir()
    process = spawn([RUN, "noop", "exec", "--systems", "spawn,pingpong", "--rounds", "100000",
                     "--scale", "0.001", "--results", where], env={"TTG": TTG})
    process.wait_for("noop 3/100000")
    process.kill(signal.SIGTERM)
    assert process.wait() == 1
    assert os.listdir(where) == ["noop.json"], os.listdir(where)
    entry, = results.load(os.path.join(where, "noop.json"), "noop")["entries"]
    assert entry["system"] == "pingpong" and len(entry["rounds"]) >= 3, entry


@test
def commands_and_a_slow_worker_are_run():
    programs()
    entries, _ = bench("exec", "straggler", "--systems", "ttg,xargs,spawn")
    assert {s for s, _ in entries} == {"ttg", "xargs", "spawn"}
    slow, _ = bench("straggler", "--systems", "ttg,xargs")
    for entry in slow.values():
        assert min(results.values(entry, "over_ideal")) >= 1, entry  # nobody is better than that


@test
def a_killed_worker_is_measured():
    programs()
    entries, _ = bench("reclaim", "--systems", "ttg", "--kills", "2")
    assert len(results.values(entries["ttg", "fsync"], "ms")) == 2, entries


@test
def a_wrong_result_has_no_figure():
    programs()
    wrong = write_file(os.path.join(temp_dir(), "wrong"),
                       "#!/bin/sh\nexpr $1 + \\( $1 = 7 \\)\ntrue\n", 0o755)
    for name in ("ttg", "xargs", "spawn"):
        entries, done = bench("exec", "--systems", name, "--classes",
                              "fsync" if name == "ttg" else "none", "--command", wrong, code=1)
        assert not entries and re.search("REFUSED.*(the sum is|different results)", done.err), done


@test
def what_is_missing_doubled_or_not_synced_is_refused():
    for outcome in (Outcome(1, 9, 45), Outcome(1, -10, 45), Outcome(1, 10, 46)):
        try:
            alternate.check_sum(outcome, 10)
        except alternate.Wrong:
            continue
        raise AssertionError(f"{outcome} was believed")
    alternate.check_sum(Outcome(1, 10, 45), 10)
    alternate.check_syncs("none", {"syncs": 0})
    try:
        alternate.check_syncs("fsync", {"syncs": 0})
    except alternate.Wrong:
        return
    raise AssertionError("no sync was believed to be one")


@test
def a_redis_that_does_not_sync_is_found_out():
    if not shutil.which("redis-server"):
        skip("no redis-server")
    from peers.place import Place  # pylint: disable=import-outside-toplevel
    programs()
    place = Place()
    try:
        server = place.redis("fsync")
        server.check_durability()
        server.client.config_set("appendfsync", "everysec")
        try:
            server.check_durability()
        except AssertionError:
            return
        raise AssertionError("a redis-server that does not sync was not noticed")
    finally:
        place.close()


@test
def figures_that_are_no_figures_are_refused():
    entry = {"system": "s", "title": "t", "class": "none", "settings": "", "version": "",
             "parameters": {}, "rounds": [{"seconds": 1}],
             "context": {"when": "", "commit": "", "machine": "", "kernel": ""}}
    good = {"format": 1, "work": "noop", "entries": [entry]}
    results.check(good)
    for change in ({"format": 2}, {"entries": [entry, entry]},
                   {"entries": [{**entry, "rounds": []}]},
                   {"entries": [{**entry, "rounds": [{"seconds": "1"}]}]},
                   {"entries": [{k: v for k, v in entry.items() if k != "context"}]}):
        try:
            results.check({**good, **change})
        except ValueError:
            continue
        raise AssertionError(f"accepted: {change}")


@test
def rounds_are_replaced_or_added():
    path = os.path.join(temp_dir(), "noop.json")
    context = {"when": "", "commit": "", "machine": "", "kernel": ""}

    def entry(seconds):
        return {"system": "s", "title": "t", "class": "none", "settings": "", "version": "",
                "parameters": {"tasks": 1}, "rounds": [{"seconds": seconds}], "context": context}
    for seconds, keep, expected in ((1, False, [1]), (2, True, [1, 2]), (3, False, [3])):
        results.merge(path, "noop", [entry(seconds)], keep)
        found = results.load(path, "noop")["entries"]
        assert [r["seconds"] for e in found for r in e["rounds"]] == expected, found
    gone = {k: v for k, v in entry(0).items() if k not in ("rounds", "context")}
    results.merge(path, "noop", [{**gone, "unavailable": "why"}], False)
    assert results.load(path, "noop")["entries"][0]["rounds"], "old figures are kept"


@test
def the_page_is_that_of_the_figures():
    run([RUN, "render", "--check"])
    with open(os.path.join(ROOT, render.PAGE), encoding="utf-8") as file:
        page = file.read()
    options = types.SimpleNamespace(results=None)
    again, _ = render.render(options.results, page.replace("<!-- bench:noop -->\n",
                                                           "<!-- bench:noop -->\nby hand"))
    assert again == page, "what was written by hand into a table is still there"


main()

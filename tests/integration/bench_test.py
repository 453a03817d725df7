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
import meter  # noqa: E402 pylint: disable=wrong-import-position
import render  # noqa: E402 pylint: disable=wrong-import-position
import results  # noqa: E402 pylint: disable=wrong-import-position
import summary  # noqa: E402 pylint: disable=wrong-import-position
import work_growth  # noqa: E402 pylint: disable=wrong-import-position
from peers.place import Place  # noqa: E402 pylint: disable=wrong-import-position
from peers.base import BIN, Outcome, System  # noqa: E402 pylint: disable=wrong-import-position

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
def the_harness_does_not_count_itself():
    place = Place()
    try:
        process = spawn(["sleep", "100"])
        assert set(meter.tree(place.beside(None))) == {process.pid}
        assert not meter.tree(place.beside(None, before=meter.tree())), "of another one"
        process.kill()
        process.wait()
        assert not meter.tree(place.beside(None))
    finally:
        place.close()


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
def rounds_of_another_state_of_ttg_are_not_kept():
    path = os.path.join(temp_dir(), "noop.json")

    def entry(system, commit):
        return {"system": system, "title": "t", "class": "none", "settings": "", "version": "",
                "parameters": {"tasks": 1}, "rounds": [{"seconds": 1}],
                "context": {"when": "", "commit": commit, "machine": "", "kernel": ""}}
    for commit in ("a", "a", "b"):
        results.merge(path, "noop", [entry("ttg-1", commit), entry("xargs", commit)], True)
    found = {e["system"]: e for e in results.load(path, "noop")["entries"]}
    assert len(found["ttg-1"]["rounds"]) == 1 and len(found["xargs"]["rounds"]) == 3, found


def some_place(over=lambda: False):
    return types.SimpleNamespace(dir="/", failed=False, over=over, close=lambda: None)


@test
def a_round_beside_others_is_thrown_away():
    programs()
    entries, done = bench("exec", "--systems", "spawn", "--others", "-1")
    assert not entries and "thrown away: others used" in done.err, done


@test
def a_system_that_breaks_costs_only_itself():
    systems = [type(n, (System,), {"name": n, "title": n, "classes": {"none": ""}}) for n in "abc"]
    jobs = [alternate.Job(s, "none", "noop", 1, 1) for s in systems]
    place = some_place()

    def measure(_, job):
        return {"seconds": 1 / (job.system.name != "b")}
    entries = alternate.in_turn(place, jobs, 2, measure)
    assert [(e["system"], len(e["rounds"])) for e in entries] == [("a", 2), ("c", 2)], entries
    assert place.failed


@test
def nothing_is_begun_after_its_time():
    left = [False, False, True]
    jobs = [alternate.Job(type(n, (System,), {"name": n, "title": n, "classes": {"none": ""}}),
                          "none", "noop", 1, 1) for n in "abc"]
    place = some_place(lambda: left.pop(0))
    entries = alternate.in_turn(place, jobs, 1, lambda *_: {"seconds": 1})
    assert [e["system"] for e in entries] == ["a", "b"] and not place.failed, entries


@test
def what_would_take_too_long_is_left_out_and_named():
    options = types.SimpleNamespace(most=10**7, least=0, axes=["tasks"], rounds=2, scaled=int,
                                    wants=lambda name: name == "ttg")
    same = dict.fromkeys(("memory_bytes", "cpu_s", "written_bytes", "disk_bytes", "syncs"), 1)
    real, work_growth.one_round = work_growth.one_round, lambda _, job, memory: {
        **same, "seconds": job.count * 0.0005}
    try:
        entries = work_growth.growth(some_place(), options)
    finally:
        work_growth.one_round = real
    rounds = {e["parameters"]["tasks"]: len(e.get("rounds", ())) for e in entries}
    assert rounds == {1000: 2, 10000: 2, 100000: 1, 1000000: 0, 10000000: 0}, rounds
    text, _ = render.growth(entries)
    assert "size before: ttg run, 1,000,000 tasks would take 500 s." in text, text


@test
def the_summary_says_where_we_are_behind():
    def entry(system, seconds, durability="fsync"):
        return {"system": system, "title": system, "class": durability,
                "parameters": {"tasks": 100, "workers": 3}, "rounds": [{"seconds": seconds}]}
    found = {"noop": [entry("ttg", 2), entry("ttg-redis", 1), entry("slow", 4), entry("quick", 1),
                      {**entry("gone", 0), "rounds": [], "unavailable": "why"},
                      entry("ttg", 1, "none")]}
    assert summary.rows(lambda work: found.get(work, [])) == [
        ["No-op tasks, synced", "50/s", "100/s", "quick", "0.5 ×"]]


@test
def what_idles_beside_is_not_counted():
    process = spawn(["sleep", "60"])
    assert process.pid in meter.tree() and process.pid not in meter.tree({process.pid})


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

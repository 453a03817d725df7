#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demos compute, and notice when the result is wrong; nothing of them stays."""
import glob
import os
import re
import signal
import threading

from demorig import WHY_LOST, Demo, check_story, stopped
from harness import ROOT, TTG, main, run, temp_dir, test, wait_until, write_file
from jobrig import bars

STATIC = os.path.join(ROOT, "examples/demo/static.sh")
STUB = """#!/bin/sh
{before}
echo '{{"chunk_id":"0000'$WORKER_ID'","result_summary":{{"sum":'$(({sum}))',"count":1}}}}'
"""


def stub(total, before=":"):
    """A worker of which all three answer a third of the total."""
    return write_file(os.path.join(temp_dir(), "ttg"), STUB.format(sum=f"{total} / 3", before=before),
                      0o755)


@test
def three_workers_add_up():
    done = run([STATIC], cwd=ROOT, env={"TTG": TTG})
    assert done.out.endswith(" = 49995000\n"), done
    assert done.out.count('"chunk_id"') == 3, done


@test
def a_wrong_sum_is_a_failure():
    assert run([STATIC], env={"TTG": stub(49995000)}).out.endswith(" = 49995000\n")
    assert run([STATIC], env={"TTG": stub(49994997)}, code=1).out.endswith("must be 49995000\n")


@test
def a_failed_worker_is_a_failure():
    run([STATIC], env={"TTG": stub(49995000, "[ $WORKER_ID != 1 ] || exit 1")}, code=1)
    run([STATIC], env={"TTG": stub(49995000, "[ $WORKER_ID != 1 ] || kill -9 $$")}, code=1)
    run([STATIC], env={"TTG": "/nonexistent/ttg"}, code=1, err="nonexistent")


@test
def a_killed_worker_costs_nothing():
    demo = Demo()
    done = demo.run("--scale", "small", "--fault-demo")
    check_story(done.out)
    # Two: of the one before the commit was still under way.
    assert re.search(rf"worker-1 is lost \({WHY_LOST}\): [12] leases? free again", done.out), done
    demo.check_gone()


@test
def a_kill_that_comes_too_late_is_tried_again():
    """Its workers do all while the demo itself is not scheduled."""
    for _ in range(5):
        demo = Demo()
        process = demo.spawn("--fault-demo", "--workers", "6")
        process.wait_for("^2[.] the same job")
        wait_until(lambda: demo.lines("-fault.ndjson") > 0, what="the second job")
        process.stop()
        if "kill -9" not in process.out():
            break
        process.kill()  # the test was not scheduled in time
    else:
        raise AssertionError("always killed before it could be stopped")
    place, = glob.glob(demo.dir + "/ttg/demo/*/fault/")
    queue = "embedded:" + place.rstrip("/")
    wait_until(lambda: "100 done" in run([TTG, "status", "fault", "--queue", queue]).out, what="the end of the job")
    process.cont()
    assert process.wait() == 0, (process.out(), process.err())
    out = process.out()
    assert re.search("^  all was done before .*; once more$", out, re.M), out
    assert out.count("sum 499500, verified: 100 of 100") == 2, out
    assert re.search("^100 of 100 chunks, [1-3] taken over from the killed worker", out, re.M), out
    demo.check_gone()


@test
def json_has_the_summary_and_the_takeover():
    demo = Demo()
    line = demo.json("--fault-demo", "--workers", "4")
    for key, want in (("backend", "embedded"), ("scale", "small"), ("workers", 4), ("chunks", 100),
                      ("completed", 100), ("params", 1000), ("sum", 499500), ("verified", True),
                      ("dead_letters", 0), ("killed", "worker-1")):
        assert line[key] == want, (key, line)
    assert line["takeover_ms"] is not None and line["taken_over"] >= 1, line
    assert line["taken_over_by"] != line["killed"], line
    line = demo.json("--scale", "medium")
    assert line["params"] == 10000 and line["sum"] == 49995000, line
    assert line["verified"] is True and "killed" not in line, line
    demo.check_gone()


@test
def interrupted_it_leaves_nothing():
    stops = [(signal.SIGINT, 130, r"^1\. undisturbed"), (signal.SIGTERM, 143, r"kill -9 \d+"),
             (signal.SIGHUP, 143, "took over")]

    def start():
        demo = Demo()
        return demo, demo.spawn("--fault-demo")

    def stop(number, code, moment):
        demo, process = stopped(start, moment, lambda _, p: p.kill(number), code)
        assert "stopping" in process.out()
        demo.check_gone()
    failed = []

    def try_one(*which):
        try:
            stop(*which)
        except AssertionError as error:
            failed.append((which, error))
    threads = [threading.Thread(target=try_one, args=which) for which in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


@test
def killed_it_leaves_no_process():
    demo = Demo()
    process = demo.spawn("--fault-demo")
    process.wait_for("kill -9")
    process.kill()
    process.wait()
    wait_until(lambda: not demo.processes(), what="all processes to be gone")


@test
def with_one_worker_its_successor_takes_over():
    demo = Demo()
    line = demo.json("--scale", "medium", "--fault-demo", "--workers", "1")
    assert line["completed"] == 100 and line["verified"] is True, line
    assert line["killed"] == "worker-0" and line["taken_over"] >= 1, line
    demo.check_gone()


@test
def the_bar_fits_the_terminal():
    shown = bars(40, ["demo", "--scale", "medium", "--json"], Demo().env)
    assert shown and max(map(len, shown)) < 40, shown


@test
def what_is_not_possible_is_said():
    demo = Demo()
    demo.run("--backend", "kafka", code=2, err="embedded.*redis")
    demo.run("--backend", "redis", code=3, err="apt-get install redis-server",
             env={"PATH": "/nonexistent"})
    demo.run("--workers", "0", code=2)
    demo.check_gone()


@test
def kept_files_can_be_looked_at():
    demo = Demo()
    done = demo.run("--scale", "medium", "--skip-cleanup")
    kept = [line for line in done.out.splitlines() if line.startswith("kept: ")]
    assert kept, done
    path = kept[0].split(" ")[1].rstrip(";")
    with open(os.path.join(path, "embedded-undisturbed.ndjson"), encoding="utf-8") as file:
        assert len(file.readlines()) == 100
    run([TTG, "status", "undisturbed", "--queue", "embedded:" + os.path.join(path, "undisturbed")],
        out="100 done")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg monitor` on RabbitMQ: what the management API tells of queues, workers and alarms; without it,
what passive declares tell."""
import json
import os
import re
import socket
import urllib.request

from harness import TTG, keep, main, run, spawn, temp_dir, test, wait_until
from rabbitrig import Rabbit

_rabbit = []


def rabbit():
    """One broker, and a job on it that lasts."""
    if not _rabbit:
        _rabbit.append(Rabbit())
        files = temp_dir()
        job = spawn([TTG, "run", "--queue", _rabbit[0].url, "--job", "watched", "--params", "100000",
                     "--chunk", "10", "--simulate-ms", "10", "--workers", "2", "--output",
                     os.path.join(files, "out")])
        keep(job, files)
        wait_until(lambda: _rabbit[0].queues().get("ttg.watched.tasks", {}).get("consumers") == 2)
    return _rabbit[0]


def watch(management, good):
    """The first view of which `good` is true."""
    monitor = spawn([TTG, "monitor", "watched", "--queue", rabbit().url, "--json", "--watch", "0.3",
                     "--management", management])
    found = {}

    def look():
        for line in monitor.out().split("\n")[:-1][-3:]:
            view = json.loads(line)
            if view.get("broker") and good(view):
                found.update(view)
        return found
    wait_until(look)
    return found


def queues_of(view):
    return {q["queue"]: q for q in view["broker"]["queues"]}


def management():
    return f"http://127.0.0.1:{rabbit().http}"


@test
def the_management_api_tells_of_queues_and_workers():
    view = watch(management(), lambda v: all(w["unacked"] for w in v["workers"]) and len(v["workers"]) == 2
                 and queues_of(v)["ttg.watched.tasks"]["out_rate"] > 0)
    assert view["broker"]["by"] == "management" and view["broker"]["version"].startswith("3."), view["broker"]
    assert view["broker"]["nodes"] == view["broker"]["nodes_running"] == 1
    assert view["broker"]["alarms"] == "" and view["broker"]["why"] == ""
    queues = queues_of(view)
    assert set(queues) == {"ttg.watched." + n for n in ("tasks", "tasks.retry", "tasks.suspect", "tasks.dlq",
                                                        "results")}, queues
    assert queues["ttg.watched.tasks"]["ready"] > 0 and queues["ttg.watched.tasks"]["consumers"] == 2
    assert {w["host"] for w in view["workers"]} == {socket.gethostname()}, view["workers"]
    done = run([TTG, "monitor", "watched", "--queue", rabbit().url, "--once", "--management", management()])
    assert re.search(r"^queue +[\d,]+ in tasks \+[\d,]+ out, 2 consumers", done.out, re.M), done


@test
def unnamed_it_goes_to_the_job_that_is_worked_at():
    """There is none of the name `default`."""
    words = ["--queue", rabbit().url, "--watch", "0.3", "--management", management()]
    monitor = spawn([TTG, "monitor", *words])
    wait_until(lambda: re.search("^job  watched  running", monitor.out(), re.M), what="the job in view")
    monitor = spawn([TTG, "monitor", "nosuch", *words])
    wait_until(lambda: re.search("^waiting for job nosuch\njobs here: watched$", monitor.out(), re.M),
               what="the list of jobs")


@test
def without_it_passive_declares_count():
    view = watch("http://127.0.0.1:1", lambda v: queues_of(v)["ttg.watched.tasks"]["ready"] > 0)
    assert view["broker"]["by"] == "declare" and "refused" in view["broker"]["why"], view["broker"]
    assert queues_of(view)["ttg.watched.tasks"]["consumers"] == 2
    done = run([TTG, "monitor", "watched", "--queue", rabbit().url, "--once", "--management",
                "http://127.0.0.1:1"])
    assert re.search(r"^queue +[\d,]+ in tasks, 2 consumers", done.out, re.M), done


@test
def somebody_else_answers_there():
    view = watch(f"http://127.0.0.1:{rabbit().port}", lambda v: True)
    assert view["broker"]["by"] == "declare" and view["broker"]["why"], view["broker"]
    run([TTG, "monitor", "--queue", rabbit().url, "--once", "--management", "nonsense"], code=2,
        err="is no http://HOST:PORT")


def metrics(job, *words):
    """{name{labels}: value} of /metrics of a dashboard for a job."""
    monitor = spawn([TTG, "monitor", *([job] if job else []), "--web", ":0", "--queue", rabbit().url, *words])
    address = monitor.wait_for(r"(http://127\.0\.0\.1:\d+)/").group(1)
    with urllib.request.urlopen(address + "/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def told_as_metrics(job):
    """The same out of `ttg status`."""
    told = json.loads(run([TTG, "status", job, "--json", "--queue", rabbit().url]).out)
    states = {state: told[state] for state in ("unfed", "fresh", "ready", "delayed", "leased", "dropped")}
    states.update(done=told["completed"], dead=told["dead_letters"])
    want = {f'ttg_job_chunks{{job_name="{job}",state="{state}"}}': n for state, n in states.items()}
    for state in ("running", "paused", "finished", "canceled"):
        want[f'ttg_job_state{{job_name="{job}",state="{state}"}}'] = told["state"] == state
    for name, key in (("completed_total", "completed"), ("params_total", "params"), ("attempts_total", "attempts"),
                      ("failures_total", "failures"), ("reclaimed_total", "reclaimed"),
                      ("stale_dropped_total", "stale_dropped"), ("workers_lost_total", "workers_lost"),
                      ("workers", "workers"), ("slots", "slots"), ("results_kept", "results")):
        want[f'ttg_job_{name}{{job_name="{job}"}}'] = told[key]
    return want


@test
def metrics_are_what_status_says():
    """Of a job with a dead letter, with the management API and without."""
    run([TTG, "run", "--queue", rabbit().url, "--job", "counted", "--params", "200", "--chunk", "10", "--workers", "2",
         "--max-attempts", "1", "--", "sh", "-c", "test {start} != 50"], code=1)
    want = told_as_metrics("counted")
    assert want['ttg_job_chunks{job_name="counted",state="done"}'] == 19, want
    assert want['ttg_job_chunks{job_name="counted",state="dead"}'] == 1, want
    for where in (management(), "http://127.0.0.1:1"):
        got = metrics("counted", "--management", where)
        assert got["ttg_monitor_queue_up"] == 1, got
        assert {name: got.get(name) for name in want} == want, (where, got, want)


@test
def metrics_of_a_job_that_runs():
    done = 'ttg_job_completed_total{job_name="watched"}'
    before, got, after = told_as_metrics("watched"), metrics("watched"), told_as_metrics("watched")
    assert 0 < before[done] <= got[done] <= after[done], (before[done], got[done], after[done])
    assert got['ttg_job_workers{job_name="watched"}'] == 2, got
    # Of several jobs it tells of the one that it was given.
    run([TTG, "submit", "beside", "--queue", rabbit().url, "--params", "10"])
    assert all('job_name="watched"' in n for n in metrics("watched") if n.startswith("ttg_job_"))
    assert metrics("beside")['ttg_job_chunks{job_name="beside",state="done"}'] == 0
    got = metrics(None)  # nobody made the default job
    assert got["ttg_monitor_queue_up"] == 1 and not [n for n in got if n.startswith("ttg_job_")], got


@test
def alarms_are_shown():
    rabbit().ctl("set_vm_memory_high_watermark", "0.00001")
    view = watch(management(), lambda v: v["broker"]["alarms"])
    assert re.match(r"memory is full on ttg\d+@localhost", view["broker"]["alarms"]), view["broker"]
    done = run([TTG, "monitor", "watched", "--queue", rabbit().url, "--once", "--management", management()],
               env={"COLUMNS": "200"})
    assert "ALARM memory is full" in done.out, done


main()

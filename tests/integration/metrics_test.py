#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What every process says at /metrics: good by Prometheus' own checker, documented, used by the alert
rules and the dashboard that we ship, and right."""
import glob
import json
import os
import re
import signal
import urllib.request

from harness import ROOT, TTG, have, main, run, skip, spawn, temp_dir, test, ttg, wait_until, write_file
from noderig import Node
from redisrig import Redis

RULES = os.path.join(ROOT, "deploy/prometheus/ttg-rules.yml")
GRAFANA = os.path.join(ROOT, "deploy/grafana/ttg.json")
DOCS = os.path.join(ROOT, "docs/metrics.md")


def promtool():
    return have("promtool") or skip("promtool (Debian's prometheus) is not installed")


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def value(text, series):
    found = re.search("^" + re.escape(series) + r" (\S+)$", text, re.M)
    assert found, f"no {series} in\n{text}"
    return float(found.group(1))


def port_of(process):
    return int(process.wait_for(r"(?:http\.listening .*address=\S+|http://127\.0\.0\.1):(\d+)").group(1))


def everybody():
    """A job with a killed worker, watched in all processes: {kind: text of /metrics}. From chunk 5 on its
    chunks end when the file is there: however late we are, the victim has one when it is killed."""
    node = Node("--http", "127.0.0.1:0")
    queue, go, port = f"ttg+unix:{node.unix}", temp_dir() + "/go", port_of(node.process)
    command = ["--", "sh", "-c", f"sleep 0.03; until [ {{chunk}} -lt 5 ] || [ -e {go} ]; do sleep 0.05; done"]
    ttg("submit", "j", "--queue", queue, "--params", "40", "--chunk", "1", *command)
    work = [TTG, "worker", "--queue", queue, "--job", "j"]
    victim = spawn([*work, "--name", "worker-9", *command])
    victim.wait_for("worker.joined")

    def at(state):
        return value(scrape(port), f'ttg_job_chunks{{job_name="j",state="{state}"}}')
    wait_until(lambda: at("done") == 5 and at("leased") > 0, what="the victim's sixth chunk")
    victim.kill()
    worker = spawn([*work, "--name", "worker-1", "--stay", "--http", "127.0.0.1:0", *command])
    write_file(go)
    wait_until(lambda: at("done") == 40, what="all chunks")
    monitor = spawn([TTG, "monitor", "--web", "127.0.0.1:0", "--queue", queue])
    return {"node": scrape(port), "worker": of_a_worker(port_of(worker), 35), "monitor": scrape(port_of(monitor)),
            "run": of_a_run()}


def first(port, good):
    """The first text of which that is true."""
    text = ""

    def known():
        nonlocal text
        text = scrape(port)
        return good(text)
    wait_until(known)
    return text


def of_a_worker(port, count):
    """Once it knows, too, that its results were accepted."""
    return first(port, lambda text: value(text, "ttg_worker_committed_total") == count)


def of_a_run():
    process = spawn([TTG, "run", "--params", "100000", "--chunk", "1", "--simulate-ms", "50", "--workers", "2",
                     "--http", "127.0.0.1:0"], env={"XDG_STATE_HOME": temp_dir(), "HOME": temp_dir()})
    text = first(port_of(process), lambda text: "ttg_job_completed_total" in text and
                 value(text, "ttg_run_workers_started_total") == 2)
    process.kill(signal.SIGTERM)
    process.wait()
    return text


_texts = {}


def texts():
    if not _texts:
        _texts.update(everybody())
    return _texts


def names(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))


@test
def figures_are_right():
    node, worker, run_text = texts()["node"], texts()["worker"], texts()["run"]
    for series, expected in (('ttg_job_chunks{job_name="j",state="done"}', 40), ('ttg_job_chunks{job_name="j",state="leased"}', 0),
                             ('ttg_job_params_total{job_name="j"}', 40), ('ttg_job_state{job_name="j",state="finished"}', 1),
                             ('ttg_job_workers_lost_total{job_name="j"}', 1),
                             ('ttg_job_chunk_duration_seconds_count{job_name="j"}', 40),
                             ('ttg_job_chunk_duration_seconds_bucket{job_name="j",le="0.025"}', 0),
                             ('ttg_job_chunk_duration_seconds_bucket{job_name="j",le="10"}', 40)):
        assert value(node, series) == expected, series
    taken = value(node, 'ttg_job_reclaimed_total{job_name="j"}')
    assert taken >= 1 and value(node, 'ttg_job_reclaim_seconds_count{job_name="j"}') == taken
    assert value(node, "ttg_node_sync_seconds_count") > 0
    committed = value(worker, "ttg_worker_committed_total")
    assert committed == 35 and value(worker, "ttg_worker_chunk_duration_seconds_count") == committed
    assert value(worker, "ttg_worker_commit_seconds_count") > 0
    assert value(texts()["monitor"], 'ttg_job_completed_total{job_name="j"}') == 40
    assert value(run_text, "ttg_run_workers_started_total") == 2
    for kind, text in texts().items():
        assert f'kind="{kind}"' in text and value(text, "process_resident_memory_bytes") > 1e6
        assert value(text, "process_open_fds") > 3 and value(text, "process_start_time_seconds") > 1e9


@test
def prometheus_finds_nothing_wrong():
    tool = promtool()
    for kind, text in texts().items():
        done = run([tool, "check", "metrics"], stdin=text, code=None)
        assert done.code == 0, f"{kind}: {done}"
    bad = run([tool, "check", "metrics"], stdin="# TYPE a_seconds counter\na_seconds 1\n", code=None)
    assert bad.code != 0, "the checker itself finds nothing"


@test
def labels_are_bounded():
    node = Node("--http", "127.0.0.1:0")
    client = node.raw()
    for i in range(130):
        client("TTG.JOB", "CREATE", f"job-{i}", "FIRST", 0, "LAST", 9, "CHUNK", 1)
    text = scrape(port_of(node.process))
    jobs = set(re.findall(r'job_name="(.*?)"', text))
    assert len(jobs) == 100 and "job-129" in jobs and "job-1" not in jobs, sorted(jobs)


@test
def every_metric_is_documented_and_every_documented_one_exists():
    with open(DOCS, encoding="utf-8") as file:
        told = set(re.findall(r"^\| `((?:ttg|process)_\w+)`", file.read(), re.M))
    there = set().union(*map(names, texts().values()))
    assert told == there, f"not told: {sorted(there - told)}; not there: {sorted(told - there)}"


def used_in(text):
    return set(re.findall(r"\b((?:ttg|process)_[a-z_]+)", text))


@test
def rules_and_dashboard_use_what_exists():
    there = set().union(*map(names, texts().values()))
    there |= {n + s for n in there for s in ("_bucket", "_sum", "_count")}
    with open(GRAFANA, encoding="utf-8") as file:
        board = json.load(file)
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    assert len(queries) >= 12 and board["uid"] and board["title"]
    with open(RULES, encoding="utf-8") as file:
        rules = file.read()
    for text in (*queries, rules.split("\ngroups:")[-1]):
        unknown = {n for n in used_in(text) if n not in there and not n.startswith("ttg_rule")}
        assert not unknown, f"{unknown} in {text}"
    tool = promtool()
    run([tool, "check", "rules", RULES], out=r"SUCCESS: \d+ rules found")
    for query in queries:
        run([tool, "query", "instant", "http://127.0.0.1:1", re.sub(r"\$__rate_interval", "5m", query)
             .replace("$job", ".*")], code=None, err="connection refused|dial tcp")
    # Planted errors are found.
    with open(RULES, encoding="utf-8") as file:
        broken = file.read().replace("rate(", "rete(", 1)
    path = temp_dir() + "/broken.yml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(broken)
    assert run([tool, "check", "rules", path], code=None).code != 0


@test
def alerts_fire_when_they_should():
    tool = promtool()
    for path in glob.glob(os.path.join(ROOT, "deploy/prometheus/*_test.yml")):
        run([tool, "test", "rules", path], out="SUCCESS")


@test
def a_taken_port_stops_no_work():
    server = Redis()
    port = port_of(Node("--http", "127.0.0.1:0").process)
    ttg("submit", "j", "--queue", server.url, "--params", "3", "--chunk", "1")
    done = run([TTG, "worker", "--queue", server.url, "--job", "j"], env={"TTG_HTTP": f"127.0.0.1:{port}"},
               err="metrics.unavailable")
    assert "committed=3" in done.err


main()

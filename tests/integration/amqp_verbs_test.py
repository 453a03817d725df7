#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Questions and commands to jobs on a RabbitMQ broker, with a collector and without one; attempts
that survive workers and collectors; TLS; the library."""
import functools
import json
import os
import re
import signal
import time

from amqprelay import AmqpRelay
from gaterig import Gate
from harness import TTG, keep, main, run, spawn, temp_dir, test, wait_until, write_file
from rabbitrig import Rabbit, open_to_all


@functools.lru_cache(None)
def certificates():
    """An authority, what it signed for the broker and for a client, and a stranger's authority."""
    where = temp_dir()
    keep(where)

    def path(name):
        return os.path.join(where, name)

    def authority(name):
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             f"/CN={name}", "-keyout", path(f"{name}.key"), "-out", path(f"{name}.pem")])
    authority("ca")
    authority("stranger")
    names = write_file(path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("broker", "client"):
        run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout",
             path(f"{name}.key"), "-out", path(f"{name}.csr")])
        run(["openssl", "x509", "-req", "-in", path(f"{name}.csr"), "-CA", path("ca.pem"),
             "-CAkey", path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", names, "-out",
             path(f"{name}.pem")])
    for name in os.listdir(where):
        os.chmod(path(name), 0o644)
    os.chmod(where, 0o755)
    open_to_all(where)
    return path


@functools.lru_cache(None)
def broker():
    """One for all tests: it takes seconds to start."""
    path = certificates()
    return Rabbit(tls=(path("ca.pem"), path("broker.pem"), path("broker.key")))


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def start(job, output, *options, params, chunk, env=None, url=None):
    return spawn([TTG, "run", "--queue", url or broker().url, "--job", job, "--params", params, "--chunk",
                  chunk, "--output", output, "--json", *options], env=env)


def summary(process):
    return json.loads(process.out().strip().splitlines()[-1])


def count_lines(path):
    try:
        with open(path, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


def ask(*words, code=0, **checks):
    return run([TTG, *words, "--queue", broker().url], code=code, **checks)


def status(job):
    return json.loads(ask("status", job, "--json").out)


@test
def a_running_job_is_watched_paused_and_resumed():
    out = os.path.join(temp_dir(), "out")
    gate = Gate(100, 10)
    p = start("watched", out, "--workers", 2, *gate.words, params=12000, chunk=10)
    wait_until(lambda: count_lines(out) > 30)

    def both():
        gate.more(70)
        s = status("watched")
        return s if {w["worker"] for w in s["worker_list"]} == {"worker-0", "worker-1"} else None
    s = wait_until(both, what="two workers in the status")
    assert s["state"] == "running" and s["chunks"] == 1200 and 0 < s["completed"] < 1200, s
    follower = spawn([TTG, "results", "watched", "--follow", "--queue", broker().url])
    ask("pause", "watched")
    gate.open()

    def all_stand():
        tasks = broker().queues()["ttg.watched.tasks"]
        return tasks.get("consumers") == 0 and tasks.get("messages_unacknowledged") == 0 and \
            tasks.get("messages_ready") == 1200 - status("watched")["completed"]
    wait_until(all_stand, what="what workers had in hand is done, and no more")
    assert status("watched")["state"] == "paused"
    assert "paused" in ask("explain", "watched").out
    assert status("watched")["completed"] < 1200
    wait_until(lambda: count_lines(out) == status("watched")["completed"])
    ask("resume", "watched")
    waiter = spawn([TTG, "wait", "watched", "--queue", broker().url])
    assert p.wait(60) == 0, p.err()
    assert waiter.wait() == 0, waiter.err()
    assert follower.wait() == 0, follower.err()
    assert sorted(follower.out().splitlines()) == sorted(
        open(out, encoding="utf-8").read().splitlines()), len(follower.out().splitlines())
    assert summary(p)["verified"], summary(p)
    s = status("watched")
    assert s["state"] == "finished" and s["completed"] == 1200, s
    assert s["sum"] == 12000 * 11999 // 2, s
    assert "workers    2 took part, 0 lost" in ask("status", "watched").out
    ask("verify", "watched", "--output", out)


@test
def why_a_chunk_does_not_run_is_said_as_far_as_it_is_known():
    ask("submit", "why", "--params", "4", "--chunk", "1", "--retry-delay", "60", "--max-attempts", "2")

    def why(*chunk):
        return json.loads(ask("explain", "why", *chunk, "--json").out)["why"]
    assert "no worker is here" in why() and "no worker is here" in why(2), why(2)
    worker = spawn([TTG, "worker", "--queue", broker().url, "--job", "why", "--", "sh", "-c",
                    "[ {start} != 1 ] || exit 1; [ {start} != 3 ] || exec sleep 1000"])
    wait_until(lambda: status("why")["completed"] == 2 and status("why")["failures"] == 1)
    assert why(1) == "it is tried again: it waits for that, or a worker has it: only the broker knows", why(1)
    assert why(3) == "it waits for a free worker, or a worker has it: only the broker knows", why(3)
    assert why() == "chunks are with workers, or wait for one that is free", why()
    worker.kill()
    ask("cancel", "why")
    assert "was canceled" in why() and "was canceled" in why(1), why(1)


@test
def who_follows_waits_for_a_collector_that_is_away():
    """It hangs until the broker drops it; the lines that it has are not trimmed ones."""
    out = os.path.join(temp_dir(), "out")
    p = start("away", out, "--workers", 2, "--simulate-ms", 1, params=16000, chunk=10)
    wait_until(lambda: count_lines(out) > 200)  # some of them are in the snapshot
    os.kill(p.pid, signal.SIGSTOP)
    wait_until(lambda: "ttg.away.job.lock" not in broker().queues(), 40, "the broker drops it")
    follower = spawn([TTG, "results", "away", "--follow", "--queue", broker().url])
    wait_until(lambda: "ttg.away.job.lock" in broker().queues() or follower.code() is not None,
               what="somebody looks at the job")
    known = status("away")["completed"]  # the follower answers, or nobody
    assert known > 200 and follower.code() is None, (known, follower.err())
    os.kill(p.pid, signal.SIGCONT)
    assert p.wait(60) == 0, p.err()
    assert follower.wait() == 0, follower.err()
    assert sorted(follower.out().splitlines()) == sorted(
        open(out, encoding="utf-8").read().splitlines()), len(follower.out().splitlines())
    assert count_lines(out) == 1600 and summary(p)["verified"], summary(p)


@test
def results_of_slow_chunks_are_there_after_the_end():
    """Each is saved before the next one comes, and the last before the end is marked."""
    out = os.path.join(temp_dir(), "out")
    p = start("slow", out, "--workers", 1, "--simulate-ms", 300, params=5, chunk=1)
    assert p.wait(60) == 0, p.err()
    with open(out, encoding="utf-8") as file:
        assert ask("results", "slow").out == file.read()
    assert 1.5 <= status("slow")["seconds"] <= summary(p)["seconds"], status("slow")
    ask("wait", "slow", out=r"5 parameters in [1-9]")


@test
def results_of_a_resumed_job_are_there_after_the_end():
    """Also those that only the output of the first run has."""
    out = os.path.join(temp_dir(), "out")
    gate = Gate(10)
    what = ["--workers", 1, "--drain", 0.2, *gate.words]
    p = start("again", out, *what, params=30, chunk=1)
    wait_until(lambda: count_lines(out) > 3)
    os.kill(p.pid, signal.SIGINT)
    assert p.wait() == 130, p.err()
    assert 3 < count_lines(out) < 30, p.err()
    gate.open()
    p = start("again", out, *what, "--resume", params=30, chunk=1)
    assert p.wait() == 0, p.err()
    with open(out, encoding="utf-8") as file:
        assert ask("results", "again").out == file.read()


@test
def a_job_without_a_collector_is_watched_and_read_and_collected_later():
    out = os.path.join(temp_dir(), "out")
    what = ["--params", 2000, "--chunk", 10, "--simulate-ms", 0.5]
    run([TTG, "submit", "alone", "--queue", broker().url, *what])
    assert status("alone")["completed"] == 0 and ask("results", "alone").out == ""
    waiter = spawn([TTG, "wait", "alone", "--queue", broker().url])
    follower = spawn([TTG, "results", "alone", "--follow", "--queue", broker().url])
    workers = [spawn([TTG, "worker", "--queue", broker().url, "--job", "alone", "--simulate-ms",
                      0.5], env={"WORKER_ID": i}) for i in range(2)]
    assert [w.wait() for w in workers] == [0, 0]
    assert waiter.wait() == 0 and follower.wait() == 0, (waiter.err(), follower.err())
    assert len(follower.out().splitlines()) == 200
    s = status("alone")
    assert s["state"] == "finished" and s["sum"] == 2000 * 1999 // 2, s
    assert 0.5 <= s["seconds"] < 60, s
    ask("verify", "alone")
    p = spawn([TTG, "run", "--queue", broker().url, "--job", "alone", *what, "--workers", 0,
               "--output", out, "--json"])
    assert p.wait() == 0, p.err()
    assert summary(p)["verified"] and count_lines(out) == 200, summary(p)
    assert len(ask("results", "alone").out.splitlines()) == 200


@test
def a_visitor_makes_room_for_a_collector():
    out = os.path.join(temp_dir(), "out")
    what = ["--params", 1000000, "--chunk", 10, "--simulate-ms", 1]
    run([TTG, "submit", "room", "--queue", broker().url, *what])
    waiter = spawn([TTG, "wait", "room", "--queue", broker().url])
    wait_until(lambda: broker().queues().get("ttg.room.job.lock"))
    p = start("room", out, "--workers", 2, "--simulate-ms", 1, params=1000000, chunk=10)
    wait_until(lambda: count_lines(out) > 10)
    other = start("room", out + "2", "--workers", 0, "--simulate-ms", 1, params=1000000, chunk=10)
    assert other.wait() != 0 and "another process collects" in other.err(), other.err()
    ask("cancel", "room")
    assert p.wait() == 1, p.err()
    assert waiter.wait() == 1, waiter.err()


@test
def a_canceled_job_ends_and_is_refused():
    out = os.path.join(temp_dir(), "out")
    p = start("canceled", out, "--workers", 2, "--simulate-ms", 2, params=100000, chunk=10)
    wait_until(lambda: count_lines(out) > 10)
    ask("cancel", "canceled")
    assert p.wait() == 1, (p.code(), p.err())
    assert status("canceled")["state"] == "canceled"
    again = start("canceled", out + "2", "--simulate-ms", 2, params=100000, chunk=10)
    assert again.wait() == 2, again.err()


@test
def dead_letters_are_listed_shown_redriven_once_and_dropped():
    where = temp_dir()
    out, lucky = os.path.join(where, "out"), os.path.join(where, "lucky")
    command = ["--", "/bin/sh", "-c",
               f"[ -e {lucky} ] || [ {{chunk}} -lt 7 ] || {{ echo no luck >&2; exit 3; }}"]
    options = ["--workers", 2, "--retry-delay", 0.02, "--max-attempts", 3]
    p = start("letters", out, *options, *command, params=100, chunk=10)
    assert p.wait() == 1, p.err()
    listed = [json.loads(line) for line in
              ask("dlq", "list", "--job", "letters", "--json").out.splitlines()]
    assert sorted(d["chunk"] for d in listed) == [7, 8, 9], listed
    assert all(d["attempts"] == 3 and "no luck" in d["reason"] for d in listed), listed
    shown = json.loads(ask("dlq", "show", 7, "--job", "letters", "--json").out)
    assert [r["attempt"] for r in shown["reasons"]] == [1, 2, 3], shown
    assert all(r["worker"].startswith("worker-") for r in shown["reasons"]), shown
    assert shown["start_param"] == 70 and shown["end_param"] == 79, shown
    ask("dlq", "drop", 9, "--job", "letters")
    ask("dlq", "show", 9, "--job", "letters", code=2)
    write_file(lucky, "")
    assert "1 chunks" in ask("dlq", "redrive", 7, "--job", "letters").out
    ask("dlq", "redrive", 7, "--job", "letters", code=2)
    assert "1 chunks" in ask("dlq", "redrive", "--all", "--job", "letters").out
    assert "0 chunks" in ask("dlq", "redrive", "--all", "--job", "letters").out
    assert len(broker().get("ttg.letters.tasks.dlq")) == 0
    assert len(broker().get("ttg.letters.tasks")) == 2
    p = start("letters", out, *options, "--resume", *command, params=100, chunk=10)
    assert p.wait() == 1, p.err()  # the dropped one stays without a result
    s = status("letters")
    assert s["completed"] == 9 and s["dropped"] == 1 and s["state"] == "finished", s
    assert sorted(int(line["chunk_id"]) for line in lines_of(out)) == list(range(9))


@test
def a_chunk_that_kills_its_worker_is_given_up_after_its_attempts():
    where = temp_dir()
    out, starts = os.path.join(where, "out"), os.path.join(where, "starts")
    command = ["--", "/bin/sh", "-c", f"[ {{chunk}} != 5 ] || {{ echo x >>{starts}; "
               "kill -9 $PPID; sleep 9; }"]
    p = start("poison", out, "--workers", 2, "--max-attempts", 3, *command, params=200, chunk=10)
    assert p.wait(40) == 1, p.err()
    # Killed within a millisecond, a worker may not have told the broker that it had begun.
    assert 3 <= count_lines(starts) <= 9, count_lines(starts)
    s = summary(p)
    assert s["completed"] == 19 and s["dead_letters"] == 1, s
    shown = json.loads(ask("dlq", "show", 5, "--job", "poison", "--json").out)
    assert shown["attempts"] == 3 and "died" in shown["reasons"][-1]["reason"], shown


@test
def attempts_survive_the_collector():
    where = temp_dir()
    out, starts = os.path.join(where, "out"), os.path.join(where, "starts")
    command = ["--", "/bin/sh", "-c",
               f"[ {{chunk}} != 5 ] || {{ echo {{attempt}} >>{starts}; exit 3; }}"]
    options = ["--workers", 1, "--max-attempts", 4, "--retry-delay", 0.4]
    relay = AmqpRelay(broker())
    p = start("counted", out, *options, *command, params=100, chunk=10, url=relay.url)
    wait_until(lambda: sum(what == "publish" and queue.startswith("ttg.counted.tasks.retry")
                           for _, what, queue in list(relay.passed)) >= 2, what="two failures are noted")
    p.kill()
    p.wait()
    relay.close()
    p = start("counted", out, *options, "--resume", *command, params=100, chunk=10)
    assert p.wait(40) == 1, p.err()
    with open(starts, encoding="ascii") as file:
        assert file.read().split() == ["1", "2", "3", "4"]
    shown = json.loads(ask("dlq", "show", 5, "--job", "counted", "--json").out)
    assert [r["attempt"] for r in shown["reasons"]] == [1, 2, 3, 4], shown


@test
def a_chunk_longer_than_the_consumer_time_out_is_finished():
    out = os.path.join(temp_dir(), "out")
    broker().ctl("eval", "application:set_env(rabbit, consumer_timeout, 1000).")
    broker().ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    try:
        p = start("long", out, "--workers", 1, "--simulate-ms", 250, params=20, chunk=10)
        assert p.wait(40) == 0, p.err()
        assert summary(p)["verified"] and count_lines(out) == 2, summary(p)
    finally:
        broker().ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")


@test
def a_chunk_longer_than_the_heartbeats_keeps_its_connection():
    out = os.path.join(temp_dir(), "out")
    gate, end = Gate(0), time.monotonic() + 6
    p = start("heart", out, "--workers", 1, "--slots", 2, *gate.words, params=1, chunk=1)
    wait_until(lambda: [(c["prefetch_count"], c["ack_required"])
                        for c in broker().api("GET", "consumers")
                        if c["queue"]["name"] == "ttg.heart.tasks"] == [(2, True)],
               what="a consumer with as much credit as it has slots")
    wait_until(lambda: time.monotonic() > end)
    gate.open()
    assert p.wait() == 0, p.err()
    assert summary(p)["attempts"] == 1 and "queue.cut" not in p.err(), p.err()


@test
def tls_is_verified_in_both_directions():
    path = certificates()
    out = os.path.join(temp_dir(), "out")
    url = f"amqps://guest:guest@localhost:{broker().tls_port}/"

    def tls(ca, client):
        words = [TTG, "run", "--queue", url, "--job", "tls", "--params", 100, "--chunk", 10,
                 "--workers", 1, "--simulate-ms", 0, "--output", out, "--json", "--queue-retry", 1,
                 "--queue-ca", path(ca)]
        if client:
            words += ["--queue-cert", path("client.pem"), "--queue-key", path("client.key")]
        return spawn(words)
    p = tls("stranger.pem", True)
    assert p.wait() in (2, 3) and "verif" in p.err().lower(), p.err()
    p = tls("ca.pem", False)
    assert p.wait() in (2, 3), p.err()
    p = tls("ca.pem", True)
    assert p.wait() == 0, p.err()
    assert summary(p)["verified"], summary(p)


@test
def the_playbooks_commands_give_its_answers():
    """Sections 3.2 and 5.4: rabbitmqctl list_queues, the management API, rabbitmqadmin."""
    p = spawn([TTG, "worker"], env={
        "QUEUE_MODE": "true", "QUEUE_BACKEND": "rabbitmq", "RABBITMQ_HOST": "127.0.0.1",
        "RABBITMQ_PORT": broker().port, "WORKER_ID": 0, "TOTAL_WORKERS": 1,
        "TOTAL_PARAMETERS": 10000, "CHUNK_SIZE": 100, "SIMULATE_WORK_MS": 0})
    assert p.wait() == 0, p.err()
    listed = broker().ctl("-q", "list_queues", "name", "messages", "consumers").out
    rows = dict((line.split("\t")[0], line.split("\t")[1:]) for line in listed.splitlines()[1:])
    assert rows["ttg.tasks"] == ["0", "0"] and rows["ttg.results"][0] == "100", listed
    assert rows["ttg.tasks.retry"][0] == "0" and rows["ttg.tasks.dlq"][0] == "0", listed
    queues = broker().queues()
    assert all(queues[q]["durable"] for q in ("ttg.tasks", "ttg.results", "ttg.tasks.dlq"))
    assert queues["ttg.tasks"]["arguments"]["x-dead-letter-routing-key"] == "ttg.tasks.retry"
    wait_until(lambda: "ttg.results\t100\n" in run(
        ["rabbitmqadmin", "-H", "127.0.0.1", "-P", broker().http, "-f", "tsv", "list", "queues",
         "name", "messages"]).out)
    result, _ = broker().get("ttg.results", 1)[0]
    assert result["result_summary"].keys() == {"sum", "count"}, result
    assert {"chunk_id", "worker_id", "status", "params_processed", "duration_seconds",
            "completed_at"} <= result.keys() and result["status"] == "complete", result
    ask("submit", "fields", "--params", 200, "--chunk", 100, "--simulate-ms", 0)
    (task, _), _ = broker().get("ttg.fields.tasks")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", task.pop("created_at")), task
    assert task == {"chunk_id": "00000", "start_param": 0, "end_param": 99,
                    "total_in_chunk": 100}, task
    # A consumer of another make rejects: five seconds later the task is there again.
    broker().publish("ttg.tasks", {"chunk_id": "00000", "start_param": 0, "end_param": 99,
                                   "total_in_chunk": 100, "created_at": "2026-02-09T10:00:00Z"})
    broker().api("POST", "queues/%2F/ttg.tasks/get",
                 {"count": 1, "ackmode": "reject_requeue_false", "encoding": "auto"})
    (_, headers), = wait_until(lambda: broker().get("ttg.tasks"))
    assert [(death["queue"], death["reason"]) for death in headers["x-death"]] == \
        [("ttg.tasks.retry", "expired"), ("ttg.tasks", "rejected")], headers


if __name__ == "__main__":
    main()

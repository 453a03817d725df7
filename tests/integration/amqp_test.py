#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs on a real RabbitMQ broker: topology, faults of workers, of the broker, of the collector."""
import os

from amqprig import broker, check, retry_delays, some_lines, start, summary
from chaosqueues import RabbitQueue
from chaosrig import storm
from gaterig import Gate
from harness import TTG, main, run, spawn, temp_dir, test, wait_until


def children(process):
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(path, encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


@test
def the_default_job_has_the_names_and_arguments_of_the_playbook():
    out = os.path.join(temp_dir(), "out")
    p = start("default", out, "--workers", 3, "--simulate-ms", 0.1, params=1000, chunk=10)
    assert p.wait() == 0, p.err()
    check(out, 1000, 10)
    s = summary(p)
    assert s["verified"] and s["sum"] == 499500 and s["dead_letters"] == 0, s
    queues = broker().queues()
    assert all(queues[q]["durable"] for q in ("ttg.tasks", "ttg.results", "ttg.tasks.dlq"))
    assert queues["ttg.tasks.retry"]["arguments"] == {
        "x-message-ttl": 5000, "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "ttg.tasks"}, queues["ttg.tasks.retry"]
    again = start("default", out + "2", params=1000, chunk=10)
    assert again.wait() == 2, again.err()
    assert "ended" in again.err()


@test
def a_killed_worker_costs_nothing():
    out = os.path.join(temp_dir(), "out")
    gate = Gate(200, 10)
    p = start("killed", out, "--workers", 3, *gate.words, params=6000, chunk=10)
    for count in (50, 150, 250):
        some_lines(out, count)
        workers = children(p)
        os.kill(workers[0], 9)
        wait_until(lambda w=workers[0]: w not in children(p))
        gate.more(200)
    gate.open()
    assert p.wait(60) == 0, p.err()
    check(out, 6000, 10)
    assert summary(p)["reclaimed"] >= 1, summary(p)


@test
def a_broker_that_is_killed_and_started_again_loses_nothing():
    out = os.path.join(temp_dir(), "out")
    p = start("restart", out, "--workers", 2, "--simulate-ms", 1, params=5000, chunk=10)
    some_lines(out, 100)
    broker().kill()
    broker().start()
    assert p.wait(60) == 0, p.err()
    check(out, 5000, 10)


@test
def a_broker_that_is_full_is_waited_for():
    out = os.path.join(temp_dir(), "out")
    gate = Gate(200, 5)
    p = start("full", out, "--workers", 2, *gate.words, params=5000, chunk=1)
    some_lines(out, 100)
    try:  # rabbitmqctl takes seconds
        broker().ctl("set_vm_memory_high_watermark", "0.00001")
        gate.open()
        p.wait_for("queue.blocked")
    finally:
        broker().ctl("set_vm_memory_high_watermark", "0.4")
    assert p.wait(60) == 0, p.err()
    check(out, 5000, 1)


@test
def a_killed_collector_is_resumed_without_gap_or_copy():
    out = os.path.join(temp_dir(), "out")
    options = ["--workers", 2, "--simulate-ms", 1]
    p = start("resumed", out, *options, params=5000, chunk=10)
    for count in (100, 250):
        some_lines(out, count)
        p.kill()
        p.wait()
        p = start("resumed", out, *options, "--resume", params=5000, chunk=10)
    assert p.wait(60) == 0, p.err()
    check(out, 5000, 10)
    assert summary(p)["sum"] == 12497500 and summary(p)["verified"], summary(p)


@test
def there_is_one_collector():
    out = os.path.join(temp_dir(), "out")
    p = start("alone", out, "--workers", 1, "--simulate-ms", 1, params=1000000, chunk=10)
    some_lines(out, 5)
    other = start("alone", out + "2", "--workers", 0, params=1000000, chunk=10)
    assert other.wait() != 0, other.err()
    assert "another process collects" in other.err(), other.err()
    third = start("alone", out + "3", "--workers", 0, params=1000000, chunk=20)
    assert third.wait() != 0, third.err()
    assert p.code() is None, p.err()


@test
def failures_are_retried_and_then_kept_as_dead_letters_with_their_reason():
    out = os.path.join(temp_dir(), "out")
    command = ["--", "/bin/sh", "-c", "[ {chunk} != 5 ] || { echo no luck >&2; exit 3; }"]
    options = ["--workers", 2, "--retry-delay", 0.02, "--max-attempts", 3]
    p = start("dead", out, *options, *command, params=200, chunk=10)
    assert p.wait() == 1, p.err()
    s = summary(p)
    assert s["dead_letters"] == 1 and s["completed"] == 19 and s["attempts"] == 22, s
    (task, headers), = broker().get("ttg.dead.tasks.dlq")
    assert task["chunk_id"] == "00005" and task["start_param"] == 50, task
    assert headers["x-ttg-attempt"] == 3 and "no luck" in headers["x-ttg-reason"], headers
    first, second = sorted(retry_delays("dead"))
    assert first in (15, 18, 21, 25) and second in (30, 36, 43, 50), (first, second)
    # Nobody redrove it: resuming finds the job as it was.
    again = start("dead", out, *options, "--resume", *command, params=200, chunk=10)
    assert again.wait() == 1, again.err()
    assert summary(again)["completed"] == 19, summary(again)


@test
def what_strangers_publish_does_no_harm():
    out = os.path.join(temp_dir(), "out")
    gate = Gate(20)
    p = start("open", out, "--workers", 1, *gate.words, params=1000, chunk=10)
    some_lines(out, 5)
    broker().publish("ttg.open.tasks", {"nothing": "useful"})
    broker().publish("ttg.open.results", ["no", "result"])
    broker().publish("ttg.open.results", {"chunk_id": "00000", "worker_id": "me",
                                          "status": "complete", "params_processed": 10,
                                          "result_summary": {"sum": 1, "count": 10}})
    gate.open()
    assert p.wait(60) == 0, p.err()
    check(out, 1000, 10)
    assert summary(p)["stale_dropped"] >= 1, summary(p)
    wait_until(lambda: len(broker().get("ttg.open.tasks.dlq")) == 1)


@test
def refusals_of_the_broker_are_named():
    out = os.path.join(temp_dir(), "out")
    port = broker().port
    for url, word in ((f"amqp://guest:wrong@127.0.0.1:{port}/", "ACCESS_REFUSED"),
                      (f"amqp://guest:guest@127.0.0.1:{port}/nowhere", "nowhere")):
        p = start("named", out, params=10, chunk=1, url=url)
        assert p.wait() in (2, 3), (p.code(), p.err())
        assert word in p.err() and "wrong" not in p.err(), p.err()
    broker().api("PUT", "queues/%2F/ttg.other.tasks", {"durable": True, "arguments": {}})
    p = start("other", out, params=10, chunk=1)
    assert p.wait() in (2, 3), (p.code(), p.err())
    assert "ttg.other.tasks" in p.err() and "inequivalent" in p.err(), p.err()


@test
def the_environment_of_the_playbook_alone_is_enough():
    """Worker 0 creates the chunks, the others wait for them; results stay in ttg.results."""
    def worker(number):
        return spawn([TTG, "worker"], env={
            "QUEUE_MODE": "true", "QUEUE_BACKEND": "rabbitmq", "RABBITMQ_HOST": "127.0.0.1",
            "RABBITMQ_PORT": broker().port, "WORKER_ID": number, "TOTAL_WORKERS": 3,
            "TOTAL_PARAMETERS": 3000, "CHUNK_SIZE": 10, "SIMULATE_WORK_MS": 0.3})
    if "ttg.job" in broker().queues():
        broker().api("DELETE", "queues/%2F/ttg.job")
    others = [worker(1), worker(2)]
    first = worker(0)
    first.wait_for("job.created")
    others[0].wait_for("worker.joined")
    first.kill()
    first.wait()
    again = worker(0)
    assert [w.wait() for w in (*others, again)] == [0, 0, 0], again.err()
    assert "job.exists" in again.err() and "job.created" not in again.err(), again.err()
    found = {r["chunk_id"]: r for r, _ in broker().get("ttg.results")}
    assert len(found) == 300, len(found)
    total = sum(r["result_summary"]["sum"] for r in found.values())
    assert total == 3000 * 2999 // 2, total
    assert worker(0).wait() == 0


@test
def a_submitted_job_is_collected_later():
    out = os.path.join(temp_dir(), "out")
    what = ["--params", 1000, "--chunk", 10, "--simulate-ms", 0]
    run([TTG, "submit", "late", "--queue", broker().url, *what])
    workers = [spawn([TTG, "worker", "--queue", broker().url, "--job", "late", "--simulate-ms", 0],
                     env={"WORKER_ID": i}) for i in range(2)]
    assert [w.wait() for w in workers] == [0, 0]
    p = spawn([TTG, "run", "--queue", broker().url, "--job", "late", *what, "--workers", 0,
               "--output", out, "--json"])
    assert p.wait() == 0, p.err()
    check(out, 1000, 10)
    done = run([TTG, "results", "late", "--queue", broker().url])
    assert len(done.out.splitlines()) == 100, done


@test
def the_next_host_of_a_list_is_tried():
    out = os.path.join(temp_dir(), "out")
    url = f"amqp://guest:guest@127.0.0.1:1,127.0.0.1:{broker().port}/"
    p = start("list", out, "--workers", 1, "--simulate-ms", 0, params=100, chunk=10, url=url)
    assert p.wait() == 0, p.err()
    check(out, 100, 10)


@test
def whatever_dies_the_answer_is_the_same():
    """As in chaos_test; the broker was killed above. In a soak amqp_chaos_test does all of it."""
    RabbitQueue.brokers[RabbitQueue.queue_type] = broker()
    storm(RabbitQueue, ("worker", "submitter", "collector", "everything"), few=2)


if __name__ == "__main__":
    main()

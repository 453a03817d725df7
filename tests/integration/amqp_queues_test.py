#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The queues of a job on a real RabbitMQ broker: those of retries; half made ones, deleted ones."""
import json
import os

from amqprig import broker, check, retry_delays, some_lines, start, summary
from gaterig import Gate
from harness import TTG, main, run, temp_dir, test


@test
def delays_are_spread_where_somebody_chose_one_and_the_playbooks_where_not():
    where = temp_dir()
    command = ["--", "/bin/sh", "-c", "[ {attempt} -gt 1 ]"]
    chosen = start("spread", where + "/1", "--workers", 2, "--retry-delay", 0.1, *command,
                   params=60, chunk=1)
    usual = start("usual", where + "/2", "--workers", 2, *command, params=60, chunk=1)
    for p in (chosen, usual):
        assert p.wait() == 0, p.err()
        assert summary(p)["completed"] == 60 and summary(p)["attempts"] == 120, summary(p)
    delays = retry_delays("spread")  # 100 ms and a quarter of it both ways, in four steps
    assert delays <= {75, 91, 108, 125} and len(delays) > 1, delays
    assert retry_delays("usual") == set()
    assert broker().queues()["ttg.usual.tasks.retry"]["arguments"]["x-message-ttl"] == 5000


@test
def queues_that_were_half_made_when_a_node_died_are_made_again_or_named():
    """A broker notes a quorum queue before it starts its replicas."""
    out = os.path.join(temp_dir(), "out")
    quorum = {"x-queue-type": "quorum"}
    broker().half_make("ttg.half.results", quorum)
    p = start("half", out, "--queue-type", "quorum", "--workers", 1, "--simulate-ms", 0, params=100,
              chunk=10)
    assert p.wait(60) == 0, p.err()
    assert "job.silent" in p.err() and "job.made_again" in p.err(), p.err()
    check(out, 100, 10)
    # This one may hold the marker of a job: only somebody who knows better may delete it.
    broker().half_make("ttg.mute.job", {**quorum, "x-max-length": 1})
    for command in (["run", "--job", "mute", "--queue-type", "quorum", "--params", 10],
                    ["status", "mute"]):
        done = run([TTG, *command, "--queue", broker().url, "--queue-retry", 1], code=3)
        assert "ttg.mute.job" in done.err and "do not" in done.err, done
    found = json.loads(run([TTG, "doctor", "--queue", broker().url, "--management",
                            f"http://127.0.0.1:{broker().http}", "--json"], code=1).out)
    assert any(f["id"] == "rabbit-replicas" and "ttg.mute.job" in f["where"]
               for f in found["findings"]), found
    broker().api("DELETE", "queues/%2F/ttg.mute.job")
    p = start("mute", out + "2", "--workers", 1, "--simulate-ms", 0, params=100, chunk=10)
    assert p.wait(60) == 0, p.err()


@test
def queues_that_somebody_deletes_are_made_again_with_what_was_in_them():
    where, runs, gates = temp_dir(), {}, []
    for queue in ("tasks", "results"):
        gates.append(Gate(60, 10))
        runs[queue] = start("gone" + queue, os.path.join(where, queue), "--workers", 1, *gates[-1].words,
                            params=5000, chunk=10)
        some_lines(os.path.join(where, queue), 30)
        broker().api("DELETE", f"queues/%2F/ttg.gone{queue}.{queue}")
    for gate in gates:
        gate.open()
    for queue, p in runs.items():
        assert p.wait(60) == 0, p.err()
        assert "job.queues_gone" in p.err() and "gone" in p.err(), p.err()
        check(os.path.join(where, queue), 5000, 10)


if __name__ == "__main__":
    main()

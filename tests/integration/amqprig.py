# SPDX-License-Identifier: Apache-2.0
"""amqprig - jobs on one RabbitMQ broker, and what their outputs have to be."""
import functools
import json

from harness import TTG, spawn, wait_until
from rabbitrig import Rabbit


@functools.lru_cache(None)
def broker():
    """One for all tests: it takes seconds to start."""
    return Rabbit()


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def check(path, params, chunk):
    """Each chunk once, and the exact sum."""
    lines = lines_of(path)
    numbers = sorted(int(line["chunk_id"]) for line in lines)
    assert numbers == list(range((params + chunk - 1) // chunk)), (len(lines), numbers[:5])
    total = sum(line["result_summary"]["sum"] for line in lines)
    assert total == params * (params - 1) // 2, total


def start(job, output, *options, params, chunk, url=None):
    return spawn([TTG, "run", "--queue", url or broker().url, "--job", job, "--params", params,
                  "--chunk", chunk, "--output", output, "--json", *options])


def summary(process):
    return json.loads(process.out().strip().splitlines()[-1])


def some_lines(path, count):
    def seen():
        try:
            with open(path, "rb") as file:
                return file.read().count(b"\n") >= count
        except FileNotFoundError:
            return False
    wait_until(seen, what=f"{count} lines in the output")


def retry_delays(job):
    """Of the job's queues for other delays than the playbook's: ms."""
    name = f"ttg.{job}.tasks.retry."
    delays = {q[len(name):]: a["arguments"]["x-message-ttl"] for q, a in broker().queues().items()
              if q.startswith(name)}
    assert all(int(text) == ms for text, ms in delays.items()), delays
    return set(delays.values())

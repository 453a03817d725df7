#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Power cuts under a real RabbitMQ broker: what it confirmed is there again, the jobs go on by
themselves; and a broker whose own files are damaged is named, not waited for for ever."""
import os
import re

from amqprig import check, lines_of, some_lines, start, summary
from chaosrig import SOAK
from harness import TTG, main, run, temp_dir, test, wait_until
from powerrig import Disk
from rabbitrig import Rabbit, needed


def vhost_settings(disk):
    """The file without which a virtual host does not start."""
    (path,) = run(["find", disk.path(), "-name", ".config"]).out.split()
    return path


def wait_registered(disk, job):
    """Until the broker has written which log belongs to the job's last quorum queue: seconds later."""
    (path,) = run(["find", disk.path(), "-path", "*/quorum/*", "-name", "names.dets"]).out.split()

    def there():
        with open(path, "rb") as file:
            return re.search(rb"%2F_ttg\." + job.encode() + rb"\.job(?!\.)", file.read())
    wait_until(there, 60, "the queues are registered")


def lines_after_a_while(path, count):
    """As some_lines; a disk in a file syncs slowly beside other work."""
    wait_until(lambda: os.path.exists(path) and len(lines_of(path)) >= count, 60, f"{count} lines")


def power_cuts(cuts):
    """A job on queues of each type goes on after each cut, and its result is exact. Nobody comes to
    its help: had a task or a result been lost that was confirmed, its job would stand still.

    Broker and queues count as older than half a minute, when the kernel has written everything:
    RabbitMQ syncs messages, but not the settings of a new virtual host, nor (3.10) which log belongs
    to a new quorum queue, which it even keeps to itself for 3 s."""
    params = 700 * cuts + 2500
    disk = Disk(needed())
    broker = Rabbit(disk=disk)
    out = {kind: os.path.join(temp_dir(), kind) for kind in ("classic", "quorum")}
    jobs = {kind: start(kind, path, "--queue-type", kind, "--workers", 2, "--simulate-ms", 4,
                        params=params, chunk=1, url=broker.url) for kind, path in out.items()}
    for path in out.values():
        lines_after_a_while(path, 50)
    wait_registered(disk, "quorum")
    disk.sync()
    for cut in range(cuts):
        for path in out.values():
            lines_after_a_while(path, 700 * (cut + 1))
        disk.cut()
        broker.kill()
        disk.mount_again()
        broker.start()
    for kind, job in jobs.items():
        assert job.wait(60) == 0, (kind, job.err()[-2000:])
        assert summary(job)["verified"] and summary(job)["dead_letters"] == 0, summary(job)
        check(out[kind], params, 1)
        run([TTG, "verify", "--queue", broker.url, "--output", out[kind], kind])
    broker.kill()


@test
def nothing_that_was_confirmed_is_lost_by_a_power_cut():
    power_cuts(5 if SOAK else 1)


@test
def a_broker_without_its_settings_is_named():
    """RabbitMQ does not sync the settings of a new virtual host. A power cut within half a minute
    leaves them empty; then it takes connections and refuses every queue, or does not start. Without
    the file it makes it again."""
    disk = Disk(needed())
    broker = Rabbit(disk=disk)
    out = os.path.join(temp_dir(), "out")
    options = ["--queue-type", "quorum", "--workers", 2, "--simulate-ms", 1]
    p = start("empty", out, *options, params=4000, chunk=1, url=broker.url)
    some_lines(out, 500)
    wait_registered(disk, "empty")
    p.kill()
    broker.kill()
    with open(vhost_settings(disk), "w", encoding="ascii"):
        pass
    broker.start()
    options.append("--resume")
    p = start("empty", out, *options, "--queue-retry", 3, params=4000, chunk=1, url=broker.url)
    assert p.wait() == 3 and "ttg.empty.job" in p.err() and "broker's log" in p.err(), p.err()
    worker = run([TTG, "worker", "--queue", broker.url, "--job", "empty", "--queue-retry", 3],
                 code=3, err="queue.refuses")
    assert "the job's queues (ttg.empty.job and others) do not" in worker.err, worker
    broker.kill()
    os.unlink(vhost_settings(disk))
    broker.start()
    p = start("empty", out, *options, params=4000, chunk=1, url=broker.url)
    assert p.wait(60) == 0, p.err()
    check(out, 4000, 1)
    broker.kill()


if __name__ == "__main__":
    main()

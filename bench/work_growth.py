# SPDX-License-Identifier: Apache-2.0
"""growth - what more tasks, more workers and larger results cost: time, processor time, memory of
all processes, bytes and syncs.

One of three numbers grows at a time (parameter `axis`): tasks from 10^3 to 10^7, workers from 1 to
64, the bytes of a result from 10 to 10^6. Each system goes as far as it gets within LIMIT_S, by the
time of its last size; what takes long is measured once. Each measurement has brokers of its own,
as one that had much to do keeps memory."""
from alternate import Job, in_turn, one_round
from peers import ALL
from peers.base import Unavailable

WORKERS = 3
# system, class, greatest number of tasks
TASKS = [("ttg", "fsync", 10**7), ("raw-redis", "fsync", 10**6), ("ttg-redis", "fsync", 10**6),
         ("ttg-rabbit", "fsync", 10**6), ("raw-rabbit", "fsync", 10**6),
         ("beanstalkd-fast", "fsync", 10**6), ("celery-redis-fast", "fsync", 10**5),
         ("celery-rabbit-fast", "fsync", 10**5), ("rq-fast", "fsync", 10**5),
         ("dask-fast", "none", 10**5), ("gearman-fast", "none", 10**6)]
CROWDS = [("ttg", "fsync", 300000), ("raw-redis", "fsync", 100000), ("ttg-redis", "fsync", 100000)]
PAYLOADS = [("ttg", "fsync"), ("raw-redis", "fsync")]
PAYLOAD_TOTAL = 128 * 10**6  # bytes of all results together; at most 20,000 tasks
LIMIT_S, ONCE_S = 80, 10  # what would take longer is left out; from which on once is enough
TOO_LONG = "would take"


def job(name, durability, axis, tasks, workers=WORKERS, payload=0):
    found = Job(ALL[name], durability, "noop", workers, tasks,
                {"axis": axis, "tasks": tasks, "workers": workers, "payload": payload})
    found.payload = payload
    return found


def jobs_of(options):
    most = options.most
    for name, durability, limit in TASKS:
        for exponent in range(3, 8):
            if 10**exponent <= min(limit, most):
                yield job(name, durability, "tasks", 10**exponent)
    for name, durability, tasks in CROWDS:
        for exponent in range(7):
            yield job(name, durability, "workers", options.scaled(min(tasks, most)), 2**exponent)
    for name, durability in PAYLOADS:
        for exponent in range(1, 7):
            tasks = min(20000, most, PAYLOAD_TOTAL // 10**exponent)
            yield job(name, durability, "payload", options.scaled(tasks), WORKERS, 10**exponent)


def growth(place, options):
    place.counting = True
    paces = {}  # seconds a task of a system, by what was measured last

    def measure(where, one):
        if one.rounds and one.rounds[-1]["seconds"] > ONCE_S:
            return one.rounds.pop()
        row = one.system.name, one.parameters["axis"]
        expected = paces.get(row, 0) * one.count
        if row[1] == "tasks" and not one.rounds and expected > LIMIT_S:
            raise Unavailable(f"{one.count:,} tasks {TOO_LONG} {expected:.0f} s")
        where.close()
        used = one_round(where, one, memory=True)
        paces[row] = used["seconds"] / one.count
        return used
    jobs = [j for j in jobs_of(options) if options.wants(j.system.name)
            and (not options.axes or j.parameters["axis"] in options.axes)
            and options.least <= j.parameters["tasks"]]
    return in_turn(place, jobs, options.rounds, measure)


WORKS = {"growth": growth}

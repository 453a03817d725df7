# SPDX-License-Identifier: Apache-2.0
"""The works that are a number of tasks and a time: no-ops, commands, and a slow worker.

    noop       tasks that do nothing, end to end: sent, worked off, results collected, checked
    exec       an external command for each task
    straggler  10 ms a task, 8 workers, one ten times slower: how much later than possible"""
from alternate import Job, in_turn, one_round
from peers import ALL
from peers.base import NAP_MS, SLOW

WORKERS = 3
STRAGGLERS = 8
NAPS = 1420  # 2 s is possible: 7 workers do 100 a second, one does 10


def chosen(options, kind):
    """Systems that can do this, in the order of the table, with their classes."""
    for system in ALL.values():
        if kind in system.kinds and options.wants(system.name):
            for durability in system.classes:
                if options.wants_class(durability):
                    yield system, durability


def jobs_of(options, kind, workers):
    for system, durability in chosen(options, kind):
        size = system.sizes.get(kind, 1000)
        yield Job(system, durability, kind, workers, options.scaled(size))


def noop(place, options):
    place.counting = True
    return in_turn(place, list(jobs_of(options, "noop", WORKERS)), options.rounds)


def exec_(place, options):
    place.counting = False  # a library to load in each command would be measured too
    return in_turn(place, list(jobs_of(options, "exec", WORKERS)), options.rounds)


def ideal_seconds(count):
    """All workers busy to the end, the slow one too."""
    return count * NAP_MS / 1000 / (STRAGGLERS - 1 + 1 / SLOW)


def over_ideal(place, job):
    used = one_round(place, job)
    used["over_ideal"] = round(used["seconds"] / ideal_seconds(job.count), 4)
    return used


def straggler(place, options):
    place.counting = False
    count = options.scaled(NAPS)
    jobs = [Job(system, durability, "nap", STRAGGLERS, count)
            for system, durability in chosen(options, "nap")
            if durability == ("fsync" if "fsync" in system.classes else "none")
            or (system.name, durability) == ("ttg", "none")]  # beside those in memory
    return in_turn(place, jobs, options.rounds, over_ideal)


WORKS = {"noop": noop, "exec": exec_, "straggler": straggler}

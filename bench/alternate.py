# SPDX-License-Identifier: Apache-2.0
"""alternate - runs systems in turn, round after round, so that what happens to the machine happens
to all of them, and refuses figures of work that was not done or not kept as it is said to be."""
import sys
import traceback

import meter
import results
from peers.base import Unavailable


class Wrong(Exception):
    """The results are not those of the work: there is no figure."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def check_sum(outcome, count):
    """Each of 0 … count-1 exactly once: as many different ones, and their sum."""
    if outcome.count != count:
        raise Wrong(f"{outcome.count} different results, not {count} (negative: doubled)")
    if outcome.total != count * (count - 1) // 2:
        raise Wrong(f"the sum is {outcome.total}, not {count * (count - 1) // 2}")


def check_syncs(durability, used):
    """Nothing is in the class fsync that does not sync."""
    if durability == "fsync" and used.get("syncs", 1) == 0:
        raise Wrong("said to sync before it answers, but nothing was synced")


class Disturbed(Exception):
    """Others used the machine meanwhile."""


class Job:
    """One row: a system with its durability, workers and number of tasks, and its rounds."""

    def __init__(self, system, durability, kind, workers, count=None, parameters=None):
        self.system, self.durability, self.kind = system, durability, kind
        self.workers, self.count, self.rounds, self.why = workers, count, [], None
        self.parameters, self.settings = parameters, system.classes[durability]
        self.payload = 0
        try:
            self.version = system.version()
        except Unavailable as reason:
            self.version, self.why = "", str(reason)

    def open(self, place):
        instance = self.system(place, self.durability, self.workers, self.kind)
        instance.payload = self.payload
        self.settings = instance.settings()
        return instance

    def entry(self, directory):
        entry = {"system": self.system.name, "title": self.system.title, "class": self.durability,
                 "settings": self.settings, "version": self.version,
                 "parameters": self.parameters or {"tasks": self.count, "workers": self.workers}}
        if self.why:
            entry["unavailable"] = self.why
        else:
            entry.update(rounds=self.rounds, context=results.context(directory))
        return entry


def one_round(place, job, memory=False):
    """Starts the system, gives it the work, checks, stops it; what it used."""
    before = meter.tree()
    instance = job.open(place)
    try:
        instance.start()
        sync_us = place.wait_for_disk()
        with meter.Meter(instance.data_dir(), place.counters(instance.broker), memory,
                         place.beside(instance.broker, before)) as measured:
            outcome = instance.work(job.count)
        used = measured.used
        check_sum(outcome, job.count)
        instance.check_durability()
        check_syncs(job.durability, used)
        if used["others"] > place.others:
            raise Disturbed(f"others used {used['others']} processors")
        return {"seconds": round(outcome.seconds, 6), **used, "sync_us": sync_us}
    finally:
        instance.stop()


def in_turn(place, jobs, rounds, measure=one_round):
    """`rounds` times each job, in turn. One that fails, however, has no figures and stops nobody
    else; told to stop, those that are there already are kept. A signal only leaves a note: it may
    come while a process is started."""
    for job in jobs:
        if job.why:
            say(f"{job.system.name}: {job.why}")
    try:
        run_all(place, jobs, rounds, measure)
    except SystemExit:
        place.stopped = place.failed = True
    return [job.entry(place.dir) for job in jobs
            if job.why != "failed" and (job.why or job.rounds)]


def run_all(place, jobs, rounds, measure):
    for number in range(rounds):
        for job in jobs:
            if place.over():
                return
            if job.why:
                continue
            try:
                job.rounds.append(measure(place, job))
                say(f"{job.kind} {number + 1}/{rounds} {job.system.name} {job.durability} "
                    f"{job.parameters or job.count}: {job.rounds[-1]}")
            except Disturbed as reason:
                say(f"{job.kind} {number + 1}/{rounds} {job.system.name} is thrown away: {reason}")
            except Unavailable as reason:
                job.why = str(reason)
                say(f"{job.system.name}: {reason}")
            except Exception as reason:  # pylint: disable=broad-except
                job.why, job.rounds, place.failed = "failed", [], True
                if not isinstance(reason, (AssertionError, Wrong)):
                    traceback.print_exc()
                say(f"REFUSED {job.system.name} {job.durability}: {reason}")

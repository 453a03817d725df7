# SPDX-License-Identifier: Apache-2.0
"""cold - from nothing to the checked result of one task: servers, a worker, the task, and (start)
how long the command alone takes."""
import time

from alternate import Job, check_sum, in_turn
from peers.base import harness
from peers.ttg_peer import Ttg
from work_rate import chosen


def from_nothing(place, job):
    place.close()  # brokers too
    began = time.monotonic()
    instance = job.open(place)
    try:
        instance.start()
        outcome = instance.work(1)
        took = time.monotonic() - began
        check_sum(outcome, 1)
        return {"seconds": round(took, 6)}
    finally:
        instance.stop()


def cold(place, options):
    place.counting = False
    jobs = [Job(system, durability, "cold", 1, 1) for system, durability in chosen(options, "cold")
            if durability == ("fsync" if "fsync" in system.classes else "none")]
    return in_turn(place, jobs, options.rounds, from_nothing)


class Command(Ttg):
    """Only for its row: the command itself, doing next to nothing."""
    name = "ttg-version"
    title = "ttg version"
    classes = {"none": "the command alone"}


class True_(Ttg):  # pylint: disable=invalid-name
    name = "true"
    title = "/bin/true"
    classes = {"none": "the floor of this machine"}


def start(place, options):
    place.counting = False

    def run(_, job):
        command = ["/bin/true"] if job.system is True_ else [harness.TTG, "version"]
        instance = job.open(place)
        try:
            return {"seconds": round(instance.timed(command)[0], 6)}
        finally:
            instance.stop()
    return in_turn(place, [Job(s, "none", "start", 1, 1) for s in (True_, Command)
                           if options.wants(s.name)], max(options.rounds * 10, 20), run)


WORKS = {"cold": cold, "start": start}

# SPDX-License-Identifier: Apache-2.0
"""reclaim - `kill -9` of a worker until its task has started in another one, which is free.

Two workers and one task that never ends. Whoever runs it is killed with all its processes; the
task itself (bench/hang.c) tells when it started, by the machine's monotonic clock. Then a new
worker becomes the free one. `stop` is the same with SIGSTOP: nobody can know at once. With a load
of N as many processes compute beside."""
import os
import signal
import time

import meter
from alternate import Job, in_turn, say
from peers import ALL
from peers.base import BIN, PYTHON, harness


class Starts:
    def __init__(self, path):
        self.path = path

    def lines(self):
        """[(pid, parent, ns)] so far"""
        try:
            with open(self.path, encoding="ascii") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        return [tuple(map(int, line.split()[1:])) for line in text.splitlines()]

    def wait(self, count, deadline_s):
        """The line of that number, or None."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            lines = self.lines()
            if len(lines) >= count:
                return lines[count - 1]
            time.sleep(0.0005)
        return None


def hit(instance, runner, number):
    """Sends the signal to whoever runs the task; the member that is gone, all its processes, the
    time just before.
    The worker first, then what it has started. For parallel it is the command itself."""
    pid = runner[0]
    victim, pids = None, [pid]
    if instance.killed == "the worker":
        tree = meter.tree()
        victim = next(m for m in instance.members if pid in meter.family(m.pid, tree))
        pids = meter.family(victim.pid, tree)
    at = time.monotonic_ns()
    for one in pids:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            pass
    return victim, pids, at


def one_kill(instance, starts, number, patience_s):
    """Milliseconds, or None: not within that time."""
    before = len(starts.lines())
    victim, pids, at = hit(instance, starts.lines()[-1], number)
    again = starts.wait(before + 1, patience_s)
    if victim:
        victim.close()
        instance.members.remove(victim)
    meter.end(pids)  # who was only stopped, too
    return (again[2] - at) / 1e6 if again else None


def kills(place, job):
    """One start of the system and some kills: adds a round for each."""
    place.starts = os.path.join(place.dir, "starts")
    if os.path.exists(place.starts):
        os.unlink(place.starts)
    starts, number = Starts(place.starts), signal.SIGSTOP if job.stop else signal.SIGKILL
    instance = job.open(place)
    try:
        instance.start()
        instance.submit_one()
        assert starts.wait(1, 30), f"{job.system.name}: the task did not start"
        time.sleep(0.3)  # all is quiet: the other worker waits for work
        for left in range(job.kills, 0, -1):
            took = one_kill(instance, starts, number, job.patience_s)
            say(f"reclaim {job.system.name} {job.durability}: {took} ms")
            job.rounds.append({"ms": round(took, 3) if took else None,
                               "patience_s": job.patience_s})
            if not took:
                break
            if left > 1 and instance.members and instance.killed == "the worker":
                fresh = instance.add_worker()
                getattr(instance, "wait_worker", lambda _: None)(fresh)
                time.sleep(0.05)  # its take is parked
    finally:
        instance.stop()
    return job.rounds.pop()


def reclaim(place, options):
    place.counting, place.hang = False, f"{BIN}/hang"
    jobs = []
    for system in ALL.values():
        if "hang" not in system.kinds or not options.wants(system.name):
            continue
        durability = "fsync" if "fsync" in system.classes else "none"
        for fault in options.faults:
            if fault == "stop" and not system.name.startswith("ttg"):
                continue
            job = Job(system, durability, "hang", 2, 1,
                      {"fault": fault, "workers": 2, "load": options.load})
            job.kills, job.stop = options.kills, fault == "stop"
            job.patience_s = options.patience
            jobs.append(job)
    load = [harness.spawn([PYTHON, "-c", "while True: pass"]) for _ in range(options.load)]
    try:
        return in_turn(place, jobs, 1, kills)
    finally:
        for process in load:
            process.close()


WORKS = {"reclaim": reclaim}

# SPDX-License-Identifier: Apache-2.0
"""instructions - how many instructions the hot paths take (bench/hot.c under callgrind).

A count does not depend on how busy the machine is, so it shows what a change does to the code.
`bench/run.py instructions --check` changes nothing and fails where a path takes 3 % more than the
figure that is kept. The compiler and its version matter as much as the code."""
import re

import results
from alternate import Job, in_turn, say
from peers.base import BIN, System, first_line, need_program

PATHS = {"parse": "parse a request of 7 words", "xadd": "XADD with its answer",
         "xreadgroup-xack": "XADD, XREADGROUP COUNT 1 and XACK",
         "take-commit": "TTG.TAKE and TTG.COMMIT, 64 at a time, a chunk"}
COUNTS = 6400, 12800
MORE = 1.03


def systems():
    for path, title in PATHS.items():
        yield type(path, (System,), {
            "name": path, "title": title, "classes": {"none": "callgrind"},
            "version": classmethod(lambda cls: (need_program("valgrind") and "")
                                   + first_line("gcc", "--version"))})


def count(instance, path, number):
    _, process = instance.timed(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                                 f"{BIN}/hot", path, number])
    return int(re.search(r"Collected : (\d+)", process.err())[1])


def one_path(place, job):
    instance = job.open(place)
    try:
        few, many = (count(instance, job.system.name, n) for n in COUNTS)
        return {"instructions": round((many - few) / (COUNTS[1] - COUNTS[0]), 1)}
    finally:
        instance.stop()


def instructions(place, options):
    place.counting = False
    jobs = [Job(system, "none", "instructions", 1, 1, {}) for system in systems()]
    entries = in_turn(place, jobs, 1, one_path)
    kept = {e["system"]: e for e in results.load(
        results.path_of(options.results, "instructions"), "instructions")["entries"]}
    for entry in entries:
        before, now = (results.median(e, "instructions") if e else None
                       for e in (kept.get(entry["system"]), entry))
        if before and now:
            say(f"{entry['system']}: {before} before, {now} now, {now / before - 1:+.1%}")
            place.failed |= options.check and now > before * MORE
    return [] if options.check else entries


WORKS = {"instructions": instructions}

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures ttg beside what people use today: the same work, the same machine, in turn.

    make bench                              every work, all systems: an hour
    make bench QUICK=1                      whether all of it works: five minutes
    make bench WHAT="noop exec" ROUNDS=5    some works
    bench/run.py noop --systems ttg,rq --classes fsync --rounds 3 --keep
    bench/run.py list                       works and systems
    bench/run.py render [--check]           tables and plots of docs/performance.md again

The figures go to bench/results/WORK.json, from there into docs/performance.md and docs/plots.
--keep adds rounds to figures that are there; without it they are replaced. --seconds 120 begins
nothing after that time, for a machine that one has to oneself in pieces. --calm-us 150 waits before
each measurement until the disk syncs as quickly as that, a minute at most, and --others 0.2 throws
rounds away in which others used more of a processor than that on average. --quick runs everything
once and small, to see whether it works; its figures mean nothing and are thrown away.
A system that is not installed says so in its row: `tools/deps bench` installs them."""
import argparse
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peers.base import ROOT, harness  # noqa: E402 pylint: disable=wrong-import-position
import alternate  # noqa: E402 pylint: disable=wrong-import-position
import meter  # noqa: E402 pylint: disable=wrong-import-position
import render  # noqa: E402 pylint: disable=wrong-import-position
import results  # noqa: E402 pylint: disable=wrong-import-position
import work_cold  # noqa: E402 pylint: disable=wrong-import-position
import work_growth  # noqa: E402 pylint: disable=wrong-import-position
import work_instructions  # noqa: E402 pylint: disable=wrong-import-position
import work_node  # noqa: E402 pylint: disable=wrong-import-position
import work_rate  # noqa: E402 pylint: disable=wrong-import-position
import work_reclaim  # noqa: E402 pylint: disable=wrong-import-position
from peers import ALL  # noqa: E402 pylint: disable=wrong-import-position
from peers.place import Place  # noqa: E402 pylint: disable=wrong-import-position

WORKS = {**work_rate.WORKS, **work_reclaim.WORKS, **work_growth.WORKS, **work_node.WORKS,
         **work_cold.WORKS, **work_instructions.WORKS}


class Options(argparse.Namespace):
    def wants(self, name):
        return not self.systems or name in self.systems

    def wants_class(self, durability):
        return not self.classes or durability in self.classes

    def scaled(self, count):
        return max(10, round(count * self.scale))


def words(text):
    return [word for word in text.replace(",", " ").split() if word]


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT")
    parser.add_argument("--systems", type=words, default=[], help="only these, by name")
    parser.add_argument("--classes", type=words, default=[], help="fsync, everysec, none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20, help="of reclaim, a system")
    parser.add_argument("--faults", type=words, default=["kill"], help="of reclaim: kill, stop")
    parser.add_argument("--patience", type=float, default=25,
                        help="of reclaim: seconds to wait for a task that may never come back")
    parser.add_argument("--load", type=int, default=0, help="of reclaim: busy processes beside")
    parser.add_argument("--axes", type=words, default=[], help="of growth: tasks workers payload")
    parser.add_argument("--most", type=int, default=10**7, help="of growth: tasks at most")
    parser.add_argument("--least", type=int, default=0, help="of growth: tasks at least")
    parser.add_argument("--command", type=words, default=["/bin/echo"],
                        help="of exec: gets the number of its task, has to print it")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--calm-us", type=float, default=float("inf"))
    parser.add_argument("--others", type=float, default=float("inf"))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", metavar="DIR")
    parser.add_argument("--check", action="store_true",
                        help="of render and instructions: only look")
    options = parser.parse_args(namespace=Options())
    if options.quick:
        options.rounds, options.kills, options.scale, options.most = 1, 2, 0.01, 1000
        options.patience = min(options.patience, 3)
        options.results = options.results or harness.temp_dir()
    return options


def one_work(place, options, name):
    """A work that fails as a whole costs the others nothing."""
    try:
        entries = WORKS[name](place, options)
        results.merge(results.path_of(options.results, name), name, entries, options.keep)
    except Exception:  # pylint: disable=broad-except
        place.failed = True
        traceback.print_exc()
        alternate.say(f"FAILED {name}")


def measure(options, names):
    meter.adopt_orphans()
    place = Place()
    place.ends, place.calm_us = time.monotonic() + options.seconds, options.calm_us
    place.others = options.others

    def stop(*_):
        if place.stopped:
            sys.exit(1)
        place.stopped = place.failed = True
        alternate.say("stopping after this measurement; once more to stop at once")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    place.command = options.command
    try:
        for name in names:
            if not place.over():
                one_work(place, options, name)
    finally:
        place.close()
    return not place.failed


def main():
    options = read_options()
    names = options.what or list(WORKS)
    if names == ["list"]:
        print("works:  ", *WORKS)
        for system in ALL.values():
            print(f"{system.name:18} {system.title}: {', '.join(system.kinds)}; "
                  f"{', '.join(system.classes)}")
        return 0
    if names == ["render"]:
        return render.main(options)
    unknown = [n for n in names if n not in WORKS] + [n for n in options.systems if n not in ALL]
    if unknown:
        sys.exit(f"there is no {' '.join(unknown)}; see bench/run.py list")
    os.chdir(ROOT)
    complete = measure(options, names)
    if not options.results:
        render.main(options)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

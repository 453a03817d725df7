# SPDX-License-Identifier: Apache-2.0
"""What runs commands without a queue: xargs, GNU parallel, a bare loop of posix_spawn."""
import os
import subprocess
import time

from .base import BIN, NAP_MS, SLOW, Outcome, System, first_line, need_program


def read_numbers(path):
    with open(path, encoding="ascii") as file:
        numbers = [int(line) for line in file]
    distinct = set(numbers)
    return (len(distinct) if len(distinct) == len(numbers) else -len(numbers)), sum(numbers)


class Shell(System):
    classes = {"none": "results in a file, nothing synced"}
    kinds = ("exec", "nap", "cold")
    sizes = {"exec": 2000}
    slot = slow_slot = None  # the variable that holds the number of the slot; which one is slow

    def command(self):
        return [f"{BIN}/nap"] if self.kind == "nap" else self.place.command

    def line(self, count):
        raise NotImplementedError

    def work(self, count):
        numbers, out = f"{self.dir}/numbers", f"{self.dir}/out"
        with open(numbers, "w", encoding="ascii") as file:
            file.writelines(f"{n}\n" for n in range(count))
        env = {"BENCH_NAP_MS": str(NAP_MS), "BENCH_SLOW": str(SLOW)}
        if self.slow_slot is not None:
            env["BENCH_SLOW_SLOT"] = str(self.slow_slot)
        began = time.monotonic()
        with open(numbers, "rb") as stdin, open(out, "wb") as stdout:
            subprocess.run(self.line(count), stdin=stdin, stdout=stdout, check=True, cwd=self.dir,
                           env={**os.environ, "HOME": self.dir, **env})
        return Outcome(time.monotonic() - began, *read_numbers(out))


class Xargs(Shell):
    name = "xargs"
    title = "xargs -P"
    slow_slot = 0

    @classmethod
    def version(cls):
        need_program("xargs")
        return first_line("xargs", "--version")

    def line(self, count):
        return ["xargs", "--process-slot-var=BENCH_SLOT", f"-P{self.workers}", "-n1",
                *self.command()]


class Parallel(Shell):
    name = "parallel"
    title = "GNU parallel"
    kinds = ("exec", "nap", "hang", "cold")
    sizes = {"exec": 500}
    slow_slot = 1
    killed = "the command (parallel itself has to live)"
    options = ()

    @classmethod
    def version(cls):
        need_program("parallel")
        return first_line("parallel", "--version")

    def line(self, count):
        command = self.command()
        if self.kind == "nap":
            command = ["BENCH_SLOT={%}", *command]
        return ["parallel", "--will-cite", f"-j{self.workers}", *self.options, *command, "{}"]

    def submit_one(self):
        self.members = [self.spawn(
            ["parallel", "--will-cite", f"-j{self.workers}", *self.options, self.place.hang, "{}",
             self.place.starts, ":::", "0"], {"HOME": self.dir})]


class ParallelFast(Parallel):
    name = "parallel-retries"
    title = "GNU parallel --retries"
    classes = {"none": "--retries 1000"}
    kinds = ("hang",)
    options = ("--retries", "1000")


class Bare(Shell):
    name = "spawn"
    title = "bare spawn loop (ours)"
    slow_slot = None
    kinds = ("exec", "cold")

    def line(self, count):
        return [f"{BIN}/spawn", str(self.workers), str(count), *self.command()]


SYSTEMS = [Xargs, Parallel, ParallelFast, Bare]

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kernels in a real worker: the examples, and what is left of commands when a worker is killed."""
import json
import os
import random
import shutil
import signal

from harness import ROOT, TTG, alive, have, main, run, skip, spawn, temp_dir, test, wait_until, \
    write_file

EXAMPLES = os.path.join(ROOT, "examples")
QUIET = {"QUEUE_MODE": "false", "SIMULATE_WORK_MS": "0", "XDG_CONFIG_HOME": "/nonexistent",
         "TTG_CONFIG": None}


def worker(*words, code=0, err=None, **env):
    done = run([TTG, "worker", "-n", "2000", "--total-workers", "2", *words], code=code, err=err,
               env={**QUIET, "WORKER_ID": "1", **env})
    return [json.loads(line) for line in done.out.splitlines()], done


def marked(mark):
    """Processes (no zombies) that have inherited MARK=mark."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if f"MARK={mark}".encode() in file.read().split(b"\0") and alive(name):
                    found.append(int(name))
        except (OSError, ValueError):
            pass
    return found


def collatz_steps(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@test
def the_python_example_computes():
    for slots in ("1", "3"):
        (total,), _ = worker("--slots", slots, "--coproc", "--", "python3", f"{EXAMPLES}/coproc.py")
        assert total["result_summary"]["sum"] == sum(map(collatz_steps, range(1000, 2000)))
    # Parameter 0 is none of its: a permanent failure is not tried again.
    _, done = worker("--coproc", "--", "python3", f"{EXAMPLES}/coproc.py", code=1, WORKER_ID="0",
                     err="parameters must be positive")
    assert json.loads(done.out)["dead_letters"] == 1


@test
def the_plugin_example_computes():
    if not have("cc"):
        skip("no C compiler")
    here = temp_dir()
    shutil.copytree(f"{EXAMPLES}/plugin", f"{here}/plugin")
    run(["make", "-B", "-C", f"{here}/plugin", f"INCLUDE={ROOT}/include"])
    (total,), _ = worker("--slots", "2", "--plugin", f"{here}/plugin/primes.so")
    primes = [n for n in range(1000, 2000) if all(n % d for d in range(2, n))]
    assert total["result_summary"]["sum"] == sum(primes)


@test
def the_shell_examples_compute():
    lines, done = worker("-c", "500", "--", f"{EXAMPLES}/squares.sh", "{start}", "{end}")
    assert lines[0]["output"] == "500 numbers, sum of squares %d\n" % sum(
        n * n for n in range(1000, 1500))
    assert "squares of 1000 to 1499, attempt 1" in done.err
    worker("--", f"{EXAMPLES}/squares.sh", code=1, err="usage: squares.sh START END")
    listed = write_file(f"{temp_dir()}/a", "one\nthree\n\n")
    run([f"{EXAMPLES}/line-lengths.sh"], stdin=f"{listed}\n/no/such/file\n",
        out=rf"\A5 {listed}\n- /no/such/file\n\Z", err="/no/such/file: cannot be read")


def killed_worker(*words):
    """Starts a worker whose command writes a pid to $PID_FILE, kills it; nobody may stay."""
    mark = f"{os.getpid()}-{random.random()}"
    pid_file = f"{temp_dir()}/pid"
    child = spawn([TTG, "worker", "-c", "10", *words],
                  env={**QUIET, "MARK": mark, "PID_FILE": pid_file})
    wait_until(lambda: os.path.exists(pid_file))
    with open(pid_file, encoding="ascii") as file:
        grandchild = int(file.read())
    wait_until(lambda: grandchild in marked(mark), what="the mark of the grandchild")  # it may be in an exec
    child.kill(signal.SIGKILL)
    child.wait()
    wait_until(lambda: not alive(grandchild), what="the grandchild is gone")
    wait_until(lambda: not marked(mark), what="the command and the guard are gone")


SLEEPER = "(trap '' TERM HUP INT; sleep 1000) & echo $! >$PID_FILE.new; " \
          "mv $PID_FILE.new $PID_FILE; wait"


@test
def nothing_survives_a_killed_worker():
    killed_worker("--", "sh", "-c", SLEEPER)
    killed_worker("--coproc", "--", "sh", "-c", "read line; " + SLEEPER)


@test
def nothing_survives_whenever_the_worker_is_killed():
    # Commands start all the time, so that some are killed while they are being started.
    chance = random.Random(5)
    for _ in range(25):
        mark = f"{os.getpid()}-{chance.random()}"
        child = spawn([TTG, "worker", "-n", "1000000000", "-c", "1", "--slots", "8", "--", "sh",
                       "-c", "sleep 1000 & exec true"], env={**QUIET, "MARK": mark}, stdout=None)
        wait_until(lambda child=child: child.out().count("\n") > 1 + chance.randrange(20))
        child.kill(signal.SIGKILL)
        child.wait()
        wait_until(lambda mark=mark: not marked(mark), what="all are gone")


main()

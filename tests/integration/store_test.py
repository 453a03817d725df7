#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The log of a real process that is killed, also together with everything it has not synced."""
import os
import random
import signal

from harness import TTG, main, run, skip, spawn, temp_dir, test, wait_until

BUILD = os.path.dirname(os.path.realpath(TTG))
WRITER = os.path.join(BUILD, "tests", "tools", "log_writer")
SHIM = os.path.join(BUILD, "tests", "shim", "lostwrites.so")
# With a sanitizer in the writer, its library does not come first any more.
SHIMMED = {"LD_PRELOAD": SHIM, "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}


def lives(rounds, sync, signal_number, env):
    """Kills a writer again and again; the acknowledged records, and how often some were lost."""
    for path in (WRITER, SHIM):
        if not os.path.exists(path):
            skip(f"{path} is not built: make check builds it")
    where = temp_dir()
    covered, lost = 0, 0
    for _ in range(rounds):
        writer = spawn([WRITER, "write", where, sync], env=dict(env, TTG_SHIM_DIR=where))
        lines = random.randrange(1, 120)
        wait_until(lambda: writer.out().count("\n") >= lines or writer.code() is not None)
        assert writer.code() is None, writer.err()
        writer.kill(signal_number)
        assert writer.wait() == -signal.SIGKILL
        acked = int(writer.out().rsplit("\n", 2)[-2])
        done = run([WRITER, "verify", where], code=None)
        last = int(done.out) if done.code == 0 else -1
        if acked > last:
            lost += 1
            where = temp_dir()
        covered += acked
    return covered, lost


@test
def a_killed_writer_loses_nothing():
    covered, lost = lives(10, "always", signal.SIGKILL, {})
    print(f"# {covered} acknowledged records")
    assert lost == 0 and covered > 0


@test
def what_was_synced_survives_the_loss_of_all_else():
    covered, lost = lives(15, "always", signal.SIGUSR2, SHIMMED)
    print(f"# {covered} acknowledged records")
    assert lost == 0 and covered > 0


@test
def without_syncs_the_same_loses_records():
    _, pretended = lives(4, "always", signal.SIGUSR2, dict(SHIMMED, TTG_SHIM_NOSYNC="1"))
    # Whoever has just begun a segment has synced all before it, and loses nothing.
    _, never = lives(16, "never", signal.SIGUSR2, SHIMMED)
    assert pretended == 4 and never > 0, (pretended, never)


main()

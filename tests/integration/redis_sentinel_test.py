#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Redis behind Sentinels: how the master is found, masters killed and hung under load, one after the
other, and results that go to a pipe. SOAK=1: more of it."""
import os

from gaterig import Gate
from harness import TTG, main, run, spawn, temp_dir, test, wait_until
from redisfleet import CHUNKS, NAME, Sentinels, check_exact, lose_writes, read_lines, storm


@test
def masters_die_under_load():
    storm(Sentinels())


@test
def masters_hang_under_load():
    """SIGSTOP, and awake again when another one serves: it has to be left."""
    storm(Sentinels(), slowly=True)


@test
def what_was_printed_is_not_printed_again():
    """To a pipe nothing can be taken back: chunks that run again are dropped by their number."""
    fleet = Sentinels()
    path = os.path.join(temp_dir(), "pipe")
    with open(path, "wb") as file:
        fleet.gate = Gate(800, 2)
        process = spawn(fleet.run_words(CHUNKS, "--chunk", 1, "--workers", 3, *fleet.gate.words), stdout=file)
    wait_until(lambda: len(read_lines(path)) > 100, what="the first results")
    lose_writes(fleet, path)
    old = fleet.kill_master()
    old.start()
    process.wait_for(r"results\.went_back")
    assert process.wait(90) == 0, process.err()
    check_exact(path, CHUNKS)
    fleet.report()


@test
def sentinels_that_are_dead_or_wrong_and_passwords():
    fleet = Sentinels(password="s3cret", sentinel_password="0ther")
    fleet.url = fleet.address(query="?sentinel_password=0ther")
    fleet.sentinels[0][0].kill()
    fleet.sentinels[1][1].execute_command("SENTINEL", "REMOVE", NAME)
    out = os.path.join(temp_dir(), "out")
    run([TTG, "run", "--queue", fleet.url, "--job", "j", "--params", 100, "--output", out,
         "--simulate-ms", 0, "--workers", 2], deadline_s=60)
    check_exact(out, 1, 100)
    wrong = fleet.address(query="?sentinel_password=wrong", first=2)
    done = run([TTG, "status", "--queue", wrong, "j"], code=3, env={"QUEUE_RETRY_SECONDS": 1})
    assert "NOAUTH" in done.err and "wrong" not in done.err.replace("WRONGPASS", ""), done.err
    nobody = fleet.address(query="?sentinel_password=0ther", first=2)
    nobody = nobody.replace("/" + NAME, "/nobody")
    run([TTG, "status", "--queue", nobody, "j"], code=3, err="knows no master called nobody",
        env={"QUEUE_RETRY_SECONDS": 1})


main()

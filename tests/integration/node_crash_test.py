#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the node acknowledged survives: kill -9 and power cuts under load, full and failing disks.

SOAK=1 runs the full number of rounds. SEED repeats the choice of moments."""
import os
import random
import re
import signal
import subprocess
import threading
import time

from harness import have, main, shim, skip, temp_dir, test, wait_until, write_file
from noderig import Closed, Error, Node, Raw, error_of

ROUNDS = 200 if os.environ.get("SOAK") else 15
SEED = int(os.environ.get("SEED") or random.randrange(1 << 30))
WRITERS = 4


class Writer(threading.Thread):
    """Writes numbered entries, several in flight, and remembers which were acknowledged.

    Each number goes into the stream of the writer; each tenth one by a transaction into a second
    stream too, so that a transaction that was torn shows."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.next = 0          # never used again once it was sent
        self.acked = set()
        self.maybe = set()     # sent, and then the node died
        self.where = None

    def restart(self, where):
        again = Writer(self.number)
        again.next, again.acked, again.maybe, again.where = self.next, self.acked, self.maybe, where
        return again

    def run(self):
        flight = []
        try:
            c = Raw(self.where, timeout=20)
            while True:
                while len(flight) < 16:
                    n, self.next = self.next, self.next + 1
                    flight.append(n)
                    if n % 10:
                        c.command("XADD", f"w{self.number}", "*", "n", n)
                    else:
                        c.command("MULTI").command("XADD", f"w{self.number}", "*", "n", n)
                        c.command("XADD", f"pair{self.number}", "*", "n", n).command("EXEC")
                n = flight[0]
                for _ in range(1 if n % 10 else 4):
                    c.read()
                self.acked.add(n)
                flight.pop(0)
        except (Closed, OSError):
            self.maybe.update(flight)


def begin(writers):
    """They write; until some of it is acknowledged, or there is nothing to lose."""
    before = sum(len(w.acked) for w in writers)
    for w in writers:
        w.start()
    wait_until(lambda: sum(len(w.acked) for w in writers) >= before + 16, what="acknowledged writes")


def numbers(c, key):
    entries, start = [], "-"
    while True:
        part = c("XRANGE", key, start, "+", "COUNT", 5000)
        entries += [int(fields[1]) for _, fields in part]
        if len(part) < 5000:
            return entries
        start = "(" + part[-1][0].decode()


def verify(c, writers, round_number):
    for w in writers:
        found = numbers(c, f"w{w.number}")
        there = set(found)
        what = f"seed {SEED} round {round_number} writer {w.number}"
        assert len(there) == len(found), f"{what}: entries appear twice"
        lost = w.acked - there
        assert not lost, f"{what}: acknowledged and lost: {sorted(lost)[:10]}"
        strange = there - w.acked - w.maybe
        assert not strange, f"{what}: never sent: {sorted(strange)[:10]}"
        pairs = numbers(c, f"pair{w.number}")
        assert set(pairs) == {n for n in there if n % 10 == 0}, f"{what}: a torn transaction"
        assert found == sorted(found), f"{what}: out of order"
        w.maybe -= there  # what is there stays there
        w.acked |= there


def power_cuts(rounds, slow=False, **variables):
    """Kills a node and drops all that it has not synced, again and again."""
    rng = random.Random(SEED)
    data = temp_dir()
    env = shim("lostwrites", TTG_SHIM_DIR=data, **variables)
    node = Node("--snapshot-log", "1GiB", data=data, env=env)
    writers = [Writer(i) for i in range(WRITERS)]
    for i in range(rounds):
        writers = [w.restart(node.unix) for w in writers]
        begin(writers)
        time.sleep(rng.uniform(0.02, 0.2))  # the moment of the cut, not a wait
        if slow:
            assert int(node.info("log_batches_in_loop")) == 0
        node.process.kill(signal.SIGUSR2)
        assert node.process.wait() == -signal.SIGKILL
        for w in writers:
            w.join()
        node = node.again("--snapshot-log", "1GiB", env=env)
        verify(node.raw(timeout=60), writers, i)
    return sum(len(w.acked) for w in writers)


@test
def nothing_acknowledged_is_lost_by_a_power_cut():
    rounds = ROUNDS // 5 + 3
    print(f"# {power_cuts(rounds)} acknowledged writes survived {rounds} power cuts, seed {SEED}")


@test
def nothing_acknowledged_is_lost_when_the_thread_syncs():
    """A quick disk is synced by the loop, a slow one by a thread (docs/decisions/who-syncs.md)."""
    rounds = ROUNDS // 10 + 2
    acked = power_cuts(rounds, slow=True, TTG_SHIM_SYNC_US="1500")
    print(f"# {acked} acknowledged writes survived {rounds} power cuts, seed {SEED}")


@test
def without_syncs_a_power_cut_does_lose():
    try:
        power_cuts(5, TTG_SHIM_NOSYNC="1")
    except AssertionError as lost:
        assert "lost" in str(lost) or "ended" in str(lost), lost
        return
    raise AssertionError("the test would not notice a missing sync")


@test
def a_sync_that_fails_stops_the_node():
    trigger = temp_dir() + "/fail"
    node = Node(env=shim("failsync", TTG_SHIM_FAIL=trigger))
    c = node.raw()
    assert c("SET", "k", "v") == "OK"
    write_file(trigger)
    c.command("SET", "k", "w")
    assert c.closed(), "answered what is not on disk"
    assert node.process.wait() == 3
    assert re.search(r"^ttg node: .*sync", node.process.err(), re.M), node.process.err()
    again = node.again().raw()
    assert again("GET", "k") in (b"v", b"w")


@test
def nothing_acknowledged_is_lost_by_kill_9():
    rng = random.Random(SEED)
    print(f"# seed {SEED}, {ROUNDS} rounds")
    options = ["--snapshot-log", "300KiB"]
    node = Node(*options)
    writers = [Writer(i) for i in range(WRITERS)]
    snapshots = 0
    for i in range(ROUNDS):
        writers = [w.restart(node.unix) for w in writers]
        begin(writers)
        time.sleep(rng.uniform(0.01, 0.25))  # the moment of the kill, not a wait
        node.kill()
        for w in writers:
            w.join()
        node = node.again(*options)
        snapshots += bool(re.search(r"recovered .*snapshot=[1-9]", node.process.err()))
        if i % 10 == 4 or i == ROUNDS - 1:
            verify(node.raw(timeout=60), writers, i)
    acked = sum(len(w.acked) for w in writers)
    print(f"# {acked} acknowledged writes survived {ROUNDS} kills, {snapshots} starts used a snapshot")
    assert acked > ROUNDS * 10
    assert int(node.info("boot")) == ROUNDS + 1


@test
def a_second_snapshot_survives_a_kill_while_writing_it():
    node = Node("--snapshot-log", "1GiB")
    c = node.raw()
    for i in range(40):
        c("XADD", "s", "*", "f", "x" * 200000)
    digest = c("DEBUG", "DIGEST")
    for _ in range(4):
        node.raw()("BGSAVE")
        node.kill()  # the snapshot's process dies with it
        node = node.again("--snapshot-log", "1GiB")
        assert node.raw()("DEBUG", "DIGEST") == digest
    assert node.raw()("BGSAVE").startswith("Background")
    wait_until(lambda: int(node.info("snapshots")) > 0, what="a snapshot")
    node.kill()
    assert node.again().raw()("DEBUG", "DIGEST") == digest


@test
def a_full_disk_refuses_writes_and_recovers():
    if not have("mount"):
        skip("no mount(8)")
    mount = temp_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", mount],
                          capture_output=True, check=False)
    if done.returncode:
        skip("mounting a small tmpfs is not permitted: " + done.stderr.decode().strip())
    try:
        full_disk(mount)
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def full_disk(mount):
    node = Node(data=mount + "/data")
    c = node.raw()
    c("TTG.JOB", "CREATE", "j", "FIRST", 0, "LAST", 9, "CHUNK", 1)
    written = 0
    ballast = mount + "/ballast"
    with open(ballast, "wb") as file:
        try:
            while True:
                file.write(b"x" * (1 << 20))
                file.flush()
        except OSError:
            pass
    message = None
    while message is None and written < 30000:
        try:
            c("XADD", "s", "*", "f", "x" * 10000)
            written += 1
        except Error as error:
            message = str(error)
    assert message and message.startswith("MISCONF") and "disk is full" in message, message
    assert c("XLEN", "s") == written and c("PING") == "PONG"
    big = "x" * 10000  # what is small enough for the room that is left may go on
    assert "disk is full" in error_of(c, "SET", "k", big)
    c("MULTI"), c("SET", "k", big)
    assert "disk is full" in error_of(c, "EXEC")
    assert node.info("disk_full") == "1"
    for words in ((), (3,)):
        assert "disk is full" in str(c("TTG.EXPLAIN", "j", *words)), c("TTG.EXPLAIN", "j", *words)
    os.unlink(ballast)
    # It sees that by itself: while it says that it is not ready perhaps nobody is sent to write.
    wait_until(lambda: node.info("disk_full") == "0", what="room that nobody asked for")
    assert "disk" not in str(c("TTG.EXPLAIN", "j")), c("TTG.EXPLAIN", "j")

    def writable():
        try:
            return c("SET", "k", big) == "OK"
        except Error:
            return False
    wait_until(writable, what="writing again")
    c("TTG.JOB", "CANCEL", "j"), c("TTG.JOB", "FORGET", "j")  # a job knows how often its node began
    digest = c("DEBUG", "DIGEST")
    node.kill()
    again = node.again()
    assert again.raw()("DEBUG", "DIGEST") == digest and again.raw()("XLEN", "s") == written
    again.kill()


main()

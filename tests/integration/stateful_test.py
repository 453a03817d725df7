#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Worker 2 of examples/stateful dies at each step of its loop, in front of system calls, behind them
and in the middle of writes; chunks come twice and in any order. Each client's sum goes out once.

SOAK=1 kills at each single call, and more than 600 times at random. SEED repeats the choice of
moments."""
import collections
import csv
import os
import random
import re
import signal
import subprocess

from harness import alive, have, main, run, skip, spawn, temp_dir, test, wait_until, write_file
from statefulrig import CHUNKS, EXAMPLES, World, make_variables, programs, shim

SOAK = bool(os.environ.get("SOAK"))
SEED = int(os.environ.get("SEED") or random.randrange(1 << 30))
KILLS = 600 if SOAK else 20
WHEN = ("before", "after", "half")
# What the loop does to the world outside, in the order of a life: a kill at each of them is wanted.
STEPS = ("connect", "mkdir", "openat", "fallocate", "pwrite", "fsync", "renameat", "send", "read",
         "fdatasync", "unlinkat")


def shuffled(rng, first, count, window=8, copies=0.3):
    """Chunks of clients first.., out of order among neighbours, some twice."""
    for start in range(first, first + count, window):
        group = [(client, chunk) for client in range(start, min(start + window, first + count))
                 for chunk in range(1, CHUNKS + 1)]
        group += [m for m in group if rng.random() < copies]
        rng.shuffle(group)
        yield from group


def ended(worker, world):
    """Until it was killed by the shim, or has nothing more to do. True: killed."""
    wait_until(lambda: worker.code() is not None or world.left() == 0, what="the end of a life")
    if worker.code() is None:
        worker.kill()
        worker.wait()
        return False
    assert worker.code() == -signal.SIGKILL, f"exit code {worker.code()}: {worker.err()}"
    return True


def killed_at(world):
    with open(world.kills, encoding="ascii") as file:
        return collections.Counter(line.split()[1] for line in file)


def one_short_life(world, variables):
    """Dies where the shim says, and the next one goes on. False: it ended without that."""
    world.fresh()
    world.send([(1, 2), (1, 1), (2, 3), (2, 3), (1, 3), (2, 1), (2, 2)])
    killed = ended(world.worker(variables, batch=3), world)
    if killed:
        last = world.worker(batch=3)
        wait_until(lambda: world.left() == 0)
        last.kill()
        last.wait()
    world.check(2)
    return killed


@test
def a_kill_at_each_kind_of_call():
    """In front of its first one, and behind, or in the middle of, a later one."""
    print(f"# SEED={SEED}")
    rng, world = random.Random(SEED), World()
    for i, call in enumerate(STEPS):
        assert one_short_life(world, shim(1, WHEN[i % 2], world.kills, call)), f"no {call}"
        one_short_life(world, shim(rng.randrange(2, 5), WHEN[1 + i % 2], world.kills, call))
    where = killed_at(world)
    print(f"# killed at {dict(where)}")
    assert not set(STEPS) - set(where), f"no kill at {set(STEPS) - set(where)}"


@test
def a_kill_at_each_single_call():
    if not SOAK:
        skip("some hundred lives; SOAK=1")
    world = World()
    for when in WHEN:
        at = 1
        while one_short_life(world, shim(at, when, world.kills)):
            at += 1
        assert at > 40, f"only {at} calls were tried"
    print(f"# killed at {dict(killed_at(world))}")


@test
def many_kills_with_copies_in_any_order():
    print(f"# SEED={SEED}")
    rng = random.Random(SEED)
    world = World()
    kills = clients = 0
    while kills < KILLS:
        if world.left() < 20:
            world.send(shuffled(rng, clients + 1, 40))
            clients += 40
            if clients == 40:
                world.client.xgroup_create("queue-1-2", "worker-2", "0")
        env = shim(rng.randrange(1, 240), rng.choice(WHEN), world.kills)
        kills += ended(world.worker(env, batch=rng.choice((1, 2, 4, 16))), world)
    last = world.worker()
    wait_until(lambda: world.left() == 0)
    last.kill()
    again = world.check(clients)
    world.verify(clients)
    print(f"# {kills} kills, {clients} clients, {again} results sent again; "
          f"at {dict(killed_at(world))}")


@test
def the_dedupe_is_what_makes_it_once():
    """The test can fail: a worker whose files are lost between lives sums wrongly or never ends."""
    world = World()
    world.send([(1, 1)])
    first = world.worker()
    wait_until(lambda: world.files())
    wait_until(lambda: world.left() == 0)
    first.kill()
    first.wait()
    run(["rm", "-rf", world.metadata])
    world.send([(1, 2), (1, 3)])
    second = world.worker()
    wait_until(lambda: world.left() == 0)
    second.kill()
    assert not world.results()


@test
def files_are_what_the_document_says():
    world = World()
    world.send([(1, 1), (2, 3), (1, 2), (1, 2)])
    worker = world.worker()
    wait_until(lambda: world.left() == 0)
    worker.wait_for(r"^Worker 2: Skipping chunk 2 for client CLI1 \(already processed\)$")
    with open(os.path.join(world.metadata, "CLI1.csv"), encoding="ascii", newline="") as file:
        assert file.read() == "msg_id,chunk_number,value\nCLI100000001,1,10\nCLI100000002,2,20\n"
    worker.kill()
    worker.wait()
    again = world.worker()
    again.wait_for(r"^Worker 2: Rebuilt state for client CLI1 \(2 unique rows\)$")
    again.wait_for(r"^Worker 2: Rebuilt state for client CLI2 \(1 unique rows\)$")
    world.send([(1, 3)])
    again.wait_for(r"^Worker 2: Client CLI1 is ready! Aggregated sum: 60$")
    again.wait_for(r"^Worker 2: Sent result chunk for client CLI1 \(sum: 60\)$")
    wait_until(lambda: len(world.files()) == 1)


@test
def a_full_disk_stops_it_until_there_is_room():
    if not have("mount"):
        skip("no mount(8)")
    world = World()
    mount = temp_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", mount],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        skip("mounting a small tmpfs is not permitted: " + done.stderr.strip())
    try:
        full_disk(world, mount)
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def full_disk(world, mount):
    world.metadata = os.path.join(mount, "metadata")
    worker = world.worker({"EXPECTED_CHUNKS": 1000000}, batch=16)
    worker.wait_for("Rebuilding")
    world.send([(1, 1)])
    wait_until(lambda: world.files())
    write_file(os.path.join(mount, "filler"))
    with open(os.path.join(mount, "filler"), "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    # Far more rows than the log has room for.
    count = 20000
    for start in range(0, count, 500):
        pipe = world.client.pipeline(transaction=False)
        for i in range(start, start + 500):
            pipe.xadd("queue-1-2", {"client_id": "BIG", "msg_id": f"m{i}-" + "x" * 900,
                                    "chunk_number": 1, "value": 1})
        pipe.execute()
    worker.wait_for(r"^Worker 2: Taking no more chunks: .*no space left", deadline_s=60)
    waiting = world.left()
    assert waiting > 0
    assert worker.code() is None
    os.unlink(os.path.join(mount, "filler"))
    assert worker.code() is None
    wait_until(lambda: world.left() < waiting, deadline_s=60, what="going on when there is room")
    worker.kill()
    worker.wait()
    # What was acknowledged is in the files.
    taken = count + 1 - world.left()
    again = world.worker({"EXPECTED_CHUNKS": 1000000})
    again.wait_for("Rebuilt state for client CLI1")
    again.kill()
    again.wait()
    rows = 0
    for path in world.files():
        with open(path, encoding="ascii", newline="") as file:
            rows += sum(1 for _ in csv.reader(file)) - 1
    assert rows >= taken, f"{taken} were acknowledged, {rows} are there"


@test
def the_runner_ends_when_all_is_sent():
    world = World()
    run([programs() + "/runner"], out=r"^Runner: All chunks sent$",
        env={"QUEUE_ADDRESS": world.node.unix, "NUM_CHUNKS": 5, "CHUNK_DELAY_MS": 1})
    assert world.client.xlen("queue-1-2") == 10


# ---- the make targets

def read_file(path):
    with open(path, "rb") as file:
        return file.read()


class Stack:
    """`make -C examples/stateful ...` with a directory of its own."""

    def __init__(self, **settings):
        where = temp_dir()
        self.run = where + "/run"
        self.words = ["make", "-C", EXAMPLES, *make_variables(programs()), f"RUN={self.run}"]
        self.env = {"TTG": os.environ.get("TTG") or None, "CHUNK_DELAY_MS": 1, **settings}

    def __call__(self, *words, **checks):
        return run(self.words + list(words), env=self.env, **checks)

    def spawn(self, *words):
        return spawn(self.words + list(words), env=self.env)

    def pid(self, name):
        return int(read_file(f"{self.run}/{name}.pid").split()[0])


@test
def the_scenario_with_make():
    stack = Stack(NUM_CHUNKS=6, EXPECTED_CHUNKS=6, CHUNK_DELAY_MS=900)
    up, runner = stack.spawn("up"), 0
    try:
        up.wait_for(r"^worker-2 \| Worker 2: Client CLI1 not ready yet \(2/6 chunks, sum: 30\)$")
        runner = stack.pid("runner")
        os.kill(runner, signal.SIGSTOP)  # or all chunks were sent when we are slow
        wait_until(lambda: b"CLI100000002," in read_file(stack.run + "/worker-data/metadata/CLI1.csv"))
        stack("kill-worker-2", out=r"^worker-2 \(\d+\) is killed$")
        stack("check-metadata", out=r"^CLI1\.csv: \d rows$")
        stack("view-metadata", "CLIENT=CLI1", out=r"^CLI100000002,2,20$")
        stack("kill-worker-2", code=2)
        stack("restart-worker-2", out=r"^worker-2 \(\d+\) is started$")
        up.wait_for(r"^worker-2 \| Worker 2: Rebuilt state for client CLI1 \(\d unique rows\)$")
        os.kill(runner, signal.SIGCONT)
        for client in ("CLI1", "CLI2"):
            up.wait_for(rf"^worker-2 \| Worker 2: Sent result chunk for client {client} \(sum: 210\)$")
            up.wait_for(rf"^verifier \| Worker 3: SUCCESS \[{client}\] - Expected: 210, Received: 210$")
        stack("check-metadata", out="^no metadata files")
        stack("view-metadata", "CLIENT=CLI1", code=2)
        stack("view-metadata", "CLIENT=../x", code=2)
    finally:
        if runner and alive(runner):
            os.kill(runner, signal.SIGCONT)
        stack("down")
    up.wait()
    assert len(re.findall(r"SUCCESS \[", up.out())) == 2 and "FAILURE" not in up.out()


@test
def up_ends_all_when_it_is_told_to():
    stack = Stack(CHUNK_DELAY_MS=20)
    up = stack.spawn("up")
    up.wait_for(r"^verifier \| Worker 3: SUCCESS \[CLI2\]")
    os.killpg(up.pid, signal.SIGINT)
    up.wait()
    stack("kill-worker-2", code=2, err="does not run")
    stack("up-detached")
    logs = stack.spawn("logs")
    logs.wait_for(r"^verifier \| Worker 3: SUCCESS \[CLI1\] - Expected: 60, Received: 60$")
    stack("up-detached", code=2, err="runs already: make down")
    stack("down")
    stack("kill-worker-2", code=2, err="does not run")


main()

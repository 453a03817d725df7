#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Pipelines, whole: the result of the sales example equals a plain program's whatever is killed, on
a node, Redis and RabbitMQ; who lost a partition sends and writes nothing more; dead letters, ends,
back-pressure, drain. TTG_SOAK=1 makes the kills many (make soak)."""
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from harness import ROOT, TTG, alive, have, keep, main, run, skip, spawn, temp_dir, test, ttg, \
    wait_until, write_file
from noderig import Node
from rabbitrig import Rabbit
from redisrig import Redis

SOAK = os.environ.get("TTG_SOAK")
EXAMPLE = os.path.join(ROOT, "examples/pipeline")
STRICT = "import json, sys\nfor line in sys.stdin:\n    m = json.loads(line)\n"


class Pipeline:
    """A pipeline's file and state in a directory of its own."""

    def __init__(self, stages, queue=None, name="p", files=()):
        self.dir = temp_dir()
        self.state = os.path.join(self.dir, "state")
        self.file = write_file(os.path.join(self.dir, "p.json"),
                               json.dumps({"pipeline": name, "stages": stages}))
        for file, text in files:
            write_file(os.path.join(self.dir, file), text, 0o755)
        self.env = {"TTG_QUEUE": queue, "HOME": self.dir}

    def words(self, verb, *more):
        return [TTG, "pipeline", *verb.split(), self.file, *more, "--state", self.state]

    def start(self):
        return spawn(self.words("run", "--json"), env=self.env)

    def run(self, code=0, deadline_s=60):
        return json.loads(run(self.words("run", "--json"), code=code, env=self.env,
                              deadline_s=deadline_s).out)

    def ask(self, verb, *more, code=0):
        return run(self.words(verb, *more), code=code, env=self.env).out

    def status(self):
        try:
            with open(os.path.join(self.state, "status.json"), encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, json.JSONDecodeError):
            return {"stages": []}

    def stage(self, name):
        return next((s for s in self.status()["stages"] if s["stage"] == name), {})

    def pids(self, stage=None):
        return [i["pid"] for s in self.status()["stages"] for i in s["instances"]
                if i["pid"] > 0 and (not stage or s["stage"] == stage)]

    def lines(self, file="out.jsonl"):
        path = os.path.join(self.dir, file)
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as text:
            return [json.loads(line) for line in text if line.endswith("\n")]


def sales(count, queue=None, name="sales"):
    with open(os.path.join(EXAMPLE, "sales.json"), encoding="utf-8") as file:
        stages = json.load(file)["stages"]
    stages[0]["source"][2] = str(count)
    p = Pipeline(stages, queue, name)
    for script in ("sales.py", "price.py"):
        shutil.copy(os.path.join(EXAMPLE, script), p.dir)
    return p


@functools.lru_cache(None)
def sequential(count):
    made = subprocess.run([sys.executable, os.path.join(EXAMPLE, "sales.py"), str(count)],
                          stdout=subprocess.PIPE, check=True)
    return subprocess.run([sys.executable, os.path.join(EXAMPLE, "sequential.py")],
                          input=made.stdout, stdout=subprocess.PIPE, check=True).stdout


def check_sales(p, count):
    got = run([sys.executable, os.path.join(EXAMPLE, "sequential.py"), "--of",
               os.path.join(p.dir, "top.jsonl")]).out.encode()
    assert got == sequential(count), got


def kill_one(p, rng):
    pids = p.pids()
    if not pids:
        return 0
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
        return 1
    except ProcessLookupError:
        return 0


def sales_with_kills(queue, count, kills, seed, name="sales"):
    """Kills instances of all stages, and each tenth time the supervisor."""
    p, rng = sales(count, queue, name), random.Random(seed)
    running, done, end = p.start(), 0, time.monotonic() + 100
    while running.code() is None:
        assert time.monotonic() < end, f"not done: {p.status()}"
        wait_until(lambda pause=time.monotonic() + rng.random() * 0.1: time.monotonic() > pause)
        if done < kills and rng.random() < 0.1:
            running.kill()
            running.wait()
            running = p.start()
            done += 1
        elif done < kills:
            done += kill_one(p, rng)
    assert running.code() == 0, running.err()[-3000:]
    check_sales(p, count)
    print(f"# {done} kills")
    return p


@functools.lru_cache(None)
def redis():
    server = Redis()
    keep(server.process, server.dir)
    return f"redis://127.0.0.1:{server.port}"


@functools.lru_cache(None)
def rabbit():
    return Rabbit().url


# ---- the show

@test
def sales_on_a_node_with_kills_in_every_stage_and_of_the_supervisor():
    sales_with_kills(None, 500000 if SOAK else 40000, 300 if SOAK else 15, 1)


@test
def sales_on_redis_with_kills():
    sales_with_kills(redis(), 300000 if SOAK else 20000, 200 if SOAK else 8, 2)


@test
def sales_on_rabbitmq_with_kills():
    sales_with_kills(rabbit(), 100000 if SOAK else 6000, 100 if SOAK else 4, 3)


main()

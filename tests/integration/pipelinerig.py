# SPDX-License-Identifier: Apache-2.0
"""pipelinerig - pipelines for tests: a file and a state directory of their own, the sales example,
and brokers that the tests of a file share."""
import functools
import json
import os
import shutil
import subprocess
import sys

from harness import ROOT, TTG, keep, run, spawn, temp_dir, write_file
import noderig  # makes the redis module found
from rabbitrig import Rabbit
from redisrig import Redis

EXAMPLE = os.path.join(ROOT, "examples/pipeline")


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


@functools.lru_cache(None)
def redis_server():
    server = Redis()
    keep(server.process, server.dir)
    return server


def redis():
    return f"redis://127.0.0.1:{redis_server().port}"


def redis_client():
    return redis_server().client


@functools.lru_cache(None)
def rabbit():
    return Rabbit()

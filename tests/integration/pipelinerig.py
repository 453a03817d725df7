# SPDX-License-Identifier: Apache-2.0
"""pipelinerig - pipelines for tests: a file and a state directory of their own, the sales example,
and brokers that the tests of a file share."""
import collections
import functools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

from harness import ROOT, TTG, have, keep, run, skip, spawn, temp_dir, wait_until, write_file
import noderig  # makes the redis module found, too
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


def held_back(p, count, first):
    """The source gives so many of its sales first, and the rest when there is a file `go`."""
    write_file(os.path.join(p.dir, "part.py"), "import os, subprocess, sys, time\n"
               f"all = subprocess.check_output(['python3', 'sales.py', '{count}'])"
               ".decode().splitlines()\n"
               f"print('\\n'.join(all[:{first}]), flush=True)\n"
               "while not os.path.exists('go'): time.sleep(0.02)\n"
               f"print('\\n'.join(all[{first}:]), flush=True)\n")
    with open(p.file, encoding="utf-8") as file:
        spec = json.load(file)
    spec["stages"][0]["source"] = ["python3", "part.py"]
    write_file(p.file, json.dumps(spec))


def go_on(p):
    write_file(os.path.join(p.dir, "go"))


def compile_library(source, target):
    if not have("cc"):
        skip("there is no C compiler")
    run(["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-I",
         os.path.join(ROOT, "include"), "-o", target, source])


def medians(count, queue=None):
    """examples/pipeline/medians.json with so many sales."""
    with open(os.path.join(EXAMPLE, "medians.json"), encoding="utf-8") as file:
        stages = json.load(file)["stages"]
    stages[0]["source"][2] = str(count)
    for stage in stages:
        if "aggregate" in stage: # files are compacted often
            stage["compact"] = 50
    p = Pipeline(stages, queue, "medians")
    for script in ("sales.py", "price.py", "median.py"):
        shutil.copy(os.path.join(EXAMPLE, script), p.dir)
    compile_library(os.path.join(EXAMPLE, "basket.c"), os.path.join(p.dir, "basket.so"))
    return p


def check_medians(p, count):
    made = subprocess.run([sys.executable, os.path.join(EXAMPLE, "sales.py"), str(count)],
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    shops = collections.defaultdict(list)
    for line in made.splitlines():
        shop, _, quantity, cents = line.split(",")
        shops[shop].append(int(quantity) * int(cents))
    got = [(m["client"], m["value"]) for m in p.lines("medians.jsonl")]
    assert sorted(got) == sorted((s, statistics.median_low(v)) for s, v in shops.items()), got
    got = {m["client"]: m["value"] for m in p.lines("baskets.jsonl")}
    assert got == {s: {"sales": len(v), "least": min(v), "greatest": max(v)}
                   for s, v in shops.items()}, got
    assert len(p.lines("baskets.jsonl")) == len(got)


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


# ---- kills

def node_of(pid):
    """The node that a supervisor has started for itself, as a list."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if file.read().startswith(b"ttg\0node\0"):
                    return [int(child)]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return []


def kill_one(p, rng, supervisor):
    pids = p.pids() + node_of(supervisor)
    if not pids:
        return 0
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
        return 1
    except ProcessLookupError:
        return 0


def run_with_kills(p, kills, seed):
    """Kills instances of all stages and an own node, and each tenth time the supervisor, until it is
    done. Returns how many."""
    rng = random.Random(seed)
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
            done += kill_one(p, rng, running.pid)
    assert running.code() == 0, running.err()[-3000:]
    return done


def medians_with_kills(queue, count, kills, seed):
    p = medians(count, queue)
    print(f"# {run_with_kills(p, kills, seed)} kills")
    check_medians(p, count)


# ---- a stage without its supervisor

class Instance:
    """`ttg pipeline instance`, told by us instead of a supervisor."""

    def __init__(self, p, stage, **env):
        self.process = spawn([TTG, "pipeline", "instance", p.file, stage, p.state],
                             env={**p.env, **env}, stdin=subprocess.PIPE)

    def order(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def reports(self):
        whole = self.process.out().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line]

    def part(self):
        parts = [r["parts"][0] for r in self.reports() if r.get("parts")]
        return parts[-1] if parts else {"in": 0, "finished": False}

    def stop(self):
        self.order("stop")
        assert self.process.wait() == 0


class Inbox:
    """The inbox of stage `sum`, and what came to `out`, seen from outside."""

    def __init__(self, kind, name):
        self.name = name
        if kind == "rabbitmq":
            self.rabbit = rabbit()
            self.url = self.rabbit.url
        elif kind == "redis":
            import redis as client
            self.rabbit, self.url = None, redis()
            self.client = client.Redis(port=int(self.url.rpartition(":")[2]))
        else:
            node = noderig.Node()
            self.rabbit, self.url = None, f"ttg://127.0.0.1:{node.port}"
            self.client = node.redis()

    def put(self, messages):
        for m in messages:
            if self.rabbit:
                self.rabbit.publish(f"ttg.{self.name}.pipe.sum.0", m)
        if not self.rabbit:
            with self.client.pipeline(transaction=False) as pipe:
                for m in messages:
                    pipe.xadd(f"ttg:{{{self.name}}}:pipe:sum.0", {"message": json.dumps(m)})
                pipe.execute()

    def sent(self):
        if self.rabbit:
            return [m for m, _ in self.rabbit.get(f"ttg.{self.name}.pipe.out.0")]
        return [json.loads(next(iter(e[1].values())))
                for e in self.client.xrange(f"ttg:{{{self.name}}}:pipe:out.0")]

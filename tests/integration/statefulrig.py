# SPDX-License-Identifier: Apache-2.0
"""statefulrig - the programs of examples/stateful, built against the library under test, and a
world around worker 2: a queue with chunks in it, and what has to come out."""
import collections
import glob
import os
import re
import subprocess

from harness import ROOT, TTG, keep, run, skip, spawn, temp_dir, wait_until
from noderig import Node

BUILD = os.path.dirname(os.path.realpath(TTG))
EXAMPLES = os.path.join(ROOT, "examples", "stateful")
SHIM = os.path.join(BUILD, "tests", "shim", "killat.so")
SANITIZERS = {"asan": "-fsanitize=address,undefined", "tsan": "-fsanitize=thread",
              "coverage": "--coverage"}
CHUNKS = 3
WANTED = 10 * CHUNKS * (CHUNKS + 1) // 2

_programs = None


def make_variables(where):
    """For `make -C examples/stateful`, so that it builds against the library under test."""
    found = re.fullmatch(re.escape(ROOT) + r"/build/(\w+)/ttg", os.path.realpath(TTG))
    if not found:
        skip(f"{TTG} is not from this tree")
    library = os.path.join(BUILD, "libttg.a")
    if not os.path.exists(library):
        skip(f"{library} is not built")
    others = subprocess.run(["pkg-config", "--libs", "librabbitmq", "openssl", "libzstd", "libxxhash",
                             "zlib"], capture_output=True, text=True, check=True).stdout.strip()
    flags = SANITIZERS.get(found.group(1), "")
    return [f"BUILD={where}", f"CFLAGS=-O1 -g -Wall -Wextra -Wshadow -Wconversion -Werror {flags}",
            f"TTG_LIBS={library} {others} -ldl -lm -pthread"]


def programs():
    """Directory with runner, worker-2 and verifier; built once for a test program."""
    global _programs
    if not _programs:
        where = temp_dir()
        run(["make", "-C", EXAMPLES, *make_variables(where), "build"], deadline_s=120)
        keep(where)
        _programs = where
    return _programs


def shim(kill_at, when, log, call=None):
    """Variables with which a process dies at its kill_at-th system call (of one name: `call`)."""
    if not os.path.exists(SHIM):
        skip(f"{SHIM} is not built: make check builds it")
    return {"LD_PRELOAD": SHIM, "TTG_SHIM_KILL_AT": kill_at, "TTG_SHIM_KILL_WHEN": when,
            "TTG_SHIM_KILL_CALL": call, "TTG_SHIM_LOG": log}


class World:
    """A queue, and directories for the two workers."""

    def __init__(self):
        self.where = temp_dir()
        self.node = Node(listen=None)
        self.client = self.node.redis()
        self.metadata = os.path.join(self.where, "metadata")
        self.kills = os.path.join(self.where, "kills")
        self.round = 0

    def fresh(self):
        """Everything as at the beginning, but for the node."""
        self.round += 1
        self.metadata = os.path.join(self.where, f"metadata-{self.round}")
        self.client.delete("queue-1-2", "queue-2-3")

    def env(self, **more):
        return {"QUEUE_ADDRESS": self.node.unix, "METADATA_DIR": self.metadata,
                "VERIFIER_DIR": os.path.join(self.where, f"verifier-{self.round}"),
                "NUM_CHUNKS": CHUNKS, "EXPECTED_CHUNKS": CHUNKS, **more}

    def send(self, messages):
        """Pairs (client number, chunk) in this order."""
        pipe = self.client.pipeline(transaction=False)
        for client, chunk in messages:
            pipe.xadd("queue-1-2", {"client_id": f"CLI{client}", "msg_id": f"CLI{client}{chunk:08}",
                                    "chunk_number": chunk, "value": 10 * chunk})
        pipe.execute()

    def worker(self, env=None, batch=2):
        return spawn([os.path.join(programs(), "worker-2")], env=self.env(BATCH=batch, **(env or {})))

    def left(self):
        """Chunks that worker 2 has not acknowledged."""
        groups = self.client.xinfo_groups("queue-1-2") if self.client.exists("queue-1-2") else []
        if not groups:
            return 1
        return groups[0]["pending"] + (groups[0]["lag"] or 0)

    def files(self):
        return sorted(glob.glob(os.path.join(self.metadata, "*.csv")))

    def results(self):
        """For each client the results on queue-2-3: id -> (sum, how often)."""
        found = collections.defaultdict(dict)
        for _, fields in self.client.xrange("queue-2-3"):
            count = found[fields["client_id"]].get(fields["msg_id"], (0, 0))[1]
            found[fields["client_id"]][fields["msg_id"]] = (int(fields["sum"]), count + 1)
        return found

    def check(self, clients):
        """Each of so many clients has one result, right, and nothing is left of it. Returns how
        many results were sent more than once."""
        results = self.results()
        assert len(results) == clients, f"{len(results)} clients have a result, not {clients}"
        again = 0
        for client, ids in results.items():
            assert len(ids) == 1, f"{client} has different results: {ids}"
            (value, count), = ids.values()
            assert value == WANTED, f"{client}: {value}, not {WANTED}"
            again += count > 1
        assert self.files() == [], f"files are left: {self.files()[:3]}"
        return again

    def verify(self, clients):
        """The verifier says SUCCESS once for each client, and FAILURE for none."""
        verifier = spawn([os.path.join(programs(), "verifier")], env=self.env())
        wait_until(lambda: len(re.findall(r"(?:SUCCESS|FAILURE) \[", verifier.out())) >= clients)
        wait_until(lambda: self.client.xpending("queue-2-3", "worker-3")["pending"] == 0)
        said = collections.Counter(re.findall(r"^Worker 3: (\w+ \[CLI\d+\]) - ", verifier.out(), re.M))
        wrong = [line for line, count in said.items() if count > 1 or "FAILURE" in line]
        assert not wrong and len(said) == clients, f"{len(said)} of {clients}, wrong: {wrong[:5]}"
        verifier.kill()

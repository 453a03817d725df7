#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same random stream commands against redis-server 7.0.15 and our core, and against a node.

All get the commands of three clients, some of which wait; every answer must be the same, times and
the internals of the data structure left out. Now and then the core is saved and loaded, and at the
end its log is run again: the digest of the state must not change.

A failure prints the seed; `SEED=N streams_diff_test.py` runs that one alone, `ROUNDS=N` more of
them."""
import os
import random
import select
import shutil
import socket
import subprocess
import time

from harness import DEADLINE_S, ROOT, TTG, main, skip, spawn, temp_dir, test, wait_until

DRIVER = os.path.join(os.path.dirname(os.path.realpath(TTG)), "tests", "tools", "core_driver")
STEPS = 400
FIRST_SEED = int(os.environ.get("SEED", 0)) or int(os.environ.get("FROM", 1))
ROUNDS = 1 if os.environ.get("SEED") else int(os.environ.get("ROUNDS", 12))


class Error(str):
    """An error answer."""


def parse(data, at=0):
    """One RESP2 value and where it ends; IndexError when it is not complete."""
    end = data.index(b"\r\n", at)
    kind, line = data[at:at + 1], data[at + 1:end]
    end += 2
    if kind == b"+":
        return line.decode("latin-1"), end
    if kind == b"-":
        return Error(line.decode("latin-1")), end
    if kind == b":":
        return int(line), end
    size = int(line)
    if size < 0:
        return None if kind == b"$" else (), end
    if kind == b"$":
        if len(data) < end + size + 2:
            raise ValueError("incomplete")
        return data[end:end + size].decode("latin-1"), end + size + 2
    items = []
    for _ in range(size):
        item, end = parse(data, end)
        items.append(item)
    return items, end


class Server:
    """Three connections to a real server, and one to look at it."""

    def __init__(self, name, path, command):
        self.name, self.path = name, path
        spawn(command)
        self.data, self.links, self.ids = {}, {}, {}
        wait_until(self.connects, what="the socket of " + name)
        for client in (1, 2, 3):
            self.connects(client)
            self.ids[client] = self.ask("CLIENT", "ID", client=client)

    def connects(self, client=0):
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(self.path)
        except OSError:
            link.close()
            return False
        link.settimeout(DEADLINE_S)
        self.links[client], self.data[client] = link, b""
        return True

    def send(self, client, words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word.encode("latin-1")
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.links[client].sendall(b"".join(parts))

    def read(self, client):
        while True:
            try:
                value, end = parse(self.data[client])
                self.data[client] = self.data[client][end:]
                return value
            except ValueError:
                got = self.links[client].recv(65536)
                assert got, self.name + " closed the connection"
                self.data[client] += got

    def ask(self, *words, client=0):
        self.send(client, words)
        return self.read(client)

    def waiting(self):
        info = self.ask("INFO", "clients")
        return int(info.split("blocked_clients:")[1].split("\r\n")[0])


class Core:
    """Our core behind pipes."""

    def __init__(self):
        self.child = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.waiting = 0

    def command(self, line, words=()):
        """Gives {client: answer}."""
        out = self.child.stdin
        out.write(line.encode())
        for word in words:
            word = word.encode("latin-1")
            out.write(b"%d\n%s\n" % (len(word), word))
        out.flush()
        answers = {}
        while True:
            head = self.child.stdout.readline().split()
            assert head, "the driver died"
            if head[0] == b"done":
                self.waiting = int(head[1])
                return answers
            assert head[0] == b"reply", head
            answers[int(head[1])] = parse(self.child.stdout.read(int(head[2])))[0]

    def run(self, client, words):
        now_ms = int(time.time() * 1000)
        return self.command(f"run {now_ms} {client} {len(words)}\n", words)

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(10) == 0


FIELDS = [["f", "v"], ["f", "w", "g", "x"], ["other", ""], ["f", "y"], ["f", "z" * 30]]


class Maker:
    """Makes commands; few names, so that they meet."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.top = 5
        self.node_entries = self.r.choice([1, 2, 3, 5, 100])

    def key(self):
        return self.r.choice(["s", "s", "s", "t", "u"])

    def group(self):
        return self.r.choice(["g", "g", "h", "nope"])

    def consumer(self):
        return self.r.choice(["alice", "bob", "carol"])

    def id(self):
        ms = self.r.randint(0, self.top + 2)
        if self.r.random() < 0.03:
            return self.r.choice(["bad", "1-2-3", "", "-", "+", "-1", "1-", "*", "$", ">", "01-1",
                                  "18446744073709551615-18446744073709551615", "5-*",
                                  "18446744073709551616", "0-0", "99999999999999999999999"])
        return f"{ms}-{self.r.randint(0, 3)}" if self.r.random() < 0.5 else str(ms)

    def end(self):
        pick = self.r.random()
        return "-" if pick < 0.25 else "+" if pick < 0.5 else ("(" if pick < 0.6 else "") + self.id()

    def count(self):
        return self.r.choice(["1", "2", "3", "10", "0", "-1", "x", "100"])

    def maybe(self, share, *words):
        return list(words) if self.r.random() < share else []

    def trim(self, keep_ms=None):
        kind = self.r.choice(["MAXLEN", "maxlen", "MINID"])
        about = self.r.choice([[], ["="], ["~"], ["~"]])
        if kind == "MINID" and about != ["~"] and self.node_entries > 1:
            # Where the last entry of a block was deleted before, an exact MINID may leave a block
            # without entries: Redis keeps it and fills it on, ours goes. `~` tells the difference.
            kind = "MAXLEN"
        bound = [self.r.choice(["0" if keep_ms is None else "1", "1", "3", "5", "8", "-1"])]
        if kind == "MINID":
            bound = [self.id() if keep_ms is None else str(self.r.randint(0, keep_ms))]
        limit = self.maybe(0.4 if about == ["~"] else 0.1, "LIMIT",
                           self.r.choice(["0", "1", "2", "5", "-3"]))
        return [kind] + about + bound + limit

    def xadd(self):
        # Never one that trims its own entry away: Redis then wakes waiting clients with an empty
        # list, we let them wait on.
        if self.r.random() < 0.8:
            self.top += self.r.randint(0, 2)
            new = self.r.choice([f"{self.top}-*", f"{self.top}-{self.r.randint(0, 3)}",
                                 str(self.top)])
        else:
            new = self.id()
            new = "1-1" if new == "*" else new
        ms = new.split("-")[0]
        keep_ms = min(int(ms), self.top) if ms.isdigit() else 0
        return (["XADD", self.key()] + self.maybe(0.1, "NOMKSTREAM") +
                (self.trim(keep_ms) if self.r.random() < 0.2 else []) + [new] +
                self.r.choice(FIELDS) + self.maybe(0.02, "odd"))

    def xread(self):
        keys = [self.key() for _ in range(self.r.choice([1, 1, 2]))]
        return (["XREAD"] + self.maybe(0.5, "COUNT", self.count()) +
                self.maybe(0.4, "BLOCK", self.r.choice(["0", "0", "100000", "-1", "x"])) +
                ["STREAMS"] + keys + [self.r.choice(["$", self.id(), "0"]) for _ in keys])

    def xreadgroup(self):
        keys = [self.key() for _ in range(self.r.choice([1, 1, 1, 2]))]
        return (["XREADGROUP", "GROUP", self.group(), self.consumer()] +
                self.maybe(0.5, "COUNT", self.count()) +
                self.maybe(0.4, "BLOCK", "0") + self.maybe(0.1, "NOACK") +
                ["STREAMS"] + keys +
                [self.r.choice([">", ">", ">", self.id(), "0"]) for _ in keys])

    def ids(self):
        return [self.id() for _ in range(self.r.randint(1, 4))]

    def xpending(self):
        tail = [] if self.r.random() < 0.3 else (
            self.maybe(0.3, "IDLE", self.r.choice(["0", "9999999"])) +
            [self.end(), self.end(), self.count()] + self.maybe(0.4, self.consumer()))
        return ["XPENDING", self.key(), self.group()] + tail

    def xclaim(self):
        return (["XCLAIM", self.key(), self.group(), self.consumer(),
                 self.r.choice(["0", "0", "9999999", "x"])] + self.ids() +
                self.maybe(0.2, "IDLE", "1000") + self.maybe(0.2, "TIME", "1000") +
                self.maybe(0.2, "RETRYCOUNT", self.r.choice(["0", "7"])) +
                self.maybe(0.3, "FORCE") + self.maybe(0.3, "JUSTID") +
                self.maybe(0.1, "LASTID", self.id()))

    def xautoclaim(self):
        return (["XAUTOCLAIM", self.key(), self.group(), self.consumer(),
                 self.r.choice(["0", "0", "9999999"]), self.end()] +
                self.maybe(0.5, "COUNT", self.count()) + self.maybe(0.3, "JUSTID"))

    def xgroup(self):
        key, group = self.key(), self.group()
        read = self.maybe(0.2, "ENTRIESREAD", self.r.choice(["0", "3", "-1", "-2"]))
        return ["XGROUP"] + self.r.choice([
            ["CREATE", key, group, self.r.choice(["$", "0", self.id()])] +
            self.maybe(0.8, "MKSTREAM") + read,
            ["CREATE", key, "g", "0"],
            ["SETID", key, group, self.r.choice(["$", "0", self.id()])] + read,
            ["CREATECONSUMER", key, group, self.consumer()],
            ["DELCONSUMER", key, group, self.consumer()]] +
            [["DESTROY", key, group]] * (self.r.random() < 0.3) +
            [["BOGUS", key], ["CREATE", key]] * (self.r.random() < 0.05))

    def xinfo(self):
        return ["XINFO"] + self.r.choice([
            ["STREAM", self.key()], ["STREAM", self.key(), "FULL"],
            ["STREAM", self.key(), "FULL", "COUNT", self.count()],
            ["GROUPS", self.key()], ["CONSUMERS", self.key(), self.group()]])

    def xsetid(self):
        return (["XSETID", self.key(), self.id()] +
                self.maybe(0.4, "ENTRIESADDED", self.r.choice(["3", "20", "-1", "0"])) +
                self.maybe(0.4, "MAXDELETEDID", self.id()))

    def other(self):
        r = self.r
        return r.choice([
            ["DEL", self.key()], ["SET", self.key(), "x"], ["RENAME", self.key(), self.key()],
            ["RENAMENX", self.key(), "v"], ["TYPE", self.key()], ["EXISTS", self.key(), "s"],
            ["LPUSH", self.key(), "a"], ["SADD", self.key(), "a"], ["HSET", self.key(), "a", "1"],
            ["GET", self.key()], ["DBSIZE"], ["FLUSHALL"]])

    def make(self):
        kinds = [(self.xadd, 30), (self.xread, 8), (self.xreadgroup, 16), (self.xpending, 6),
                 (self.xclaim, 6), (self.xautoclaim, 5), (self.xgroup, 8), (self.xinfo, 8),
                 (lambda: ["XACK", self.key(), self.group()] + self.ids(), 6),
                 (lambda: ["XDEL", self.key()] + self.ids(), 5),
                 (lambda: ["XTRIM", self.key()] + self.trim(), 4),
                 (lambda: ["XLEN", self.key()], 2), (self.xsetid, 2), (self.other, 2),
                 (lambda: ["XRANGE", self.key(), self.end(), self.end()] +
                  self.maybe(0.3, "COUNT", self.count()), 4),
                 (lambda: ["XREVRANGE", self.key(), self.end(), self.end()] +
                  self.maybe(0.3, "COUNT", self.count()), 4)]
        return self.r.choices([k for k, _ in kinds], [w for _, w in kinds])[0]()


def without(pairs, names):
    """A flat list of names and values with the values of some names left out."""
    out = list(pairs)
    for i in range(0, len(out), 2):
        if out[i] in names:
            out[i + 1] = "?"
    return out


def normal(words, answer):
    """The answer without what must differ: times, and what Redis calls its radix tree."""
    if isinstance(answer, Error) or not isinstance(answer, list):
        return answer
    name = words[0]
    if name == "XPENDING" and len(words) > 3:
        return [[i[0], i[1], "?", i[3]] for i in answer]
    if name == "XINFO" and words[1] == "CONSUMERS":
        return [without(c, ["idle"]) for c in answer]
    if name == "XINFO" and words[1] == "STREAM":
        info = without(answer, ["radix-tree-keys", "radix-tree-nodes"])
        if len(words) == 3:
            return info
        groups = info[info.index("groups") + 1]
        for n, group in enumerate(groups):
            pending = group.index("pending") + 1
            group[pending] = [[p[0], p[1], "?", p[3]] for p in group[pending]]
            consumers = group[group.index("consumers") + 1]
            for m, consumer in enumerate(consumers):
                consumer = without(consumer, ["seen-time"])
                at = consumer.index("pending") + 1
                consumer[at] = [[p[0], "?", p[2]] for p in consumer[at]]
                consumers[m] = consumer
            groups[n] = group
        return info
    return answer


def settle(server, core, waiting):
    """Waits until as many clients wait there as with us."""
    deadline = time.monotonic() + DEADLINE_S
    while (now := server.waiting()) != core.waiting:
        for client in list(waiting) if now < core.waiting else []:
            # Redis wakes clients with an empty list when the newest entry is gone already; ours
            # wait on. These give up.
            if select.select([server.links[client]], [], [], 0)[0]:
                empty = server.read(client)
                assert isinstance(empty, list) and all(not entries for _, entries in empty), (
                    f"{server.name} answers {' '.join(waiting[client])}: {empty!r}, we wait")
                del waiting[client]
                core.command(f"timeout {client}\n")
        assert time.monotonic() < deadline, (
            f"{now} clients wait at {server.name}, {core.waiting} with our core")
        time.sleep(0.001)


def compare(server, core, waiting, answers):
    """Reads from the server what our core has answered, to whoever."""
    for client, ours in answers.items():
        words = waiting.pop(client)
        try:
            theirs = server.read(client)
        except TimeoutError:
            raise AssertionError(
                f"{server.name} lets {' '.join(words)} wait, our core says {ours!r}") from None
        ours, theirs = normal(words, ours), normal(words, theirs)
        assert type(ours) is type(theirs) and ours == theirs, (
            f"{' '.join(words)}\n   {server.name}: {theirs!r}\n   core: {ours!r}")
    settle(server, core, waiting)


def one_round(server, seed):
    maker, core, waiting, trace = Maker(seed), Core(), {}, []
    server.ask("FLUSHALL")
    server.ask("CONFIG", "SET", "stream-node-max-entries", str(maker.node_entries))
    core.run(1, ["TTG.CONFIG", "stream-node-max-entries", str(maker.node_entries)])
    try:
        for step in range(STEPS):
            free = [c for c in (1, 2, 3) if c not in waiting]
            if len(free) == 1 or (waiting and maker.r.random() < 0.03):
                client = maker.r.choice(list(waiting)) if waiting else free[0]
                if client in waiting:
                    trace.append(f"{client}: gives up")
                    number = server.ids[client]
                    server.ask("CLIENT", "UNBLOCK", str(number))
                    compare(server, core, waiting, core.command(f"timeout {client}\n"))
                continue
            client, words = maker.r.choice(free), maker.make()
            trace.append(f"{client}: {' '.join(words)}")
            waiting[client] = words
            server.send(client, words)
            compare(server, core, waiting, core.run(client, words))
            if step % 50 == 49:
                core.command("reload\n")
        for client in list(waiting):
            server.ask("CLIENT", "UNBLOCK", str(server.ids[client]))
            compare(server, core, waiting, core.command(f"timeout {client}\n"))
        core.command("replay\n")
        core.close()
    except BaseException:
        print(f"# SEED={seed}")
        for line in trace[-int(os.environ.get("TRACE", 12)):]:
            print("#   " + line)
        raise
    finally:
        core.child.kill()
        core.child.wait()
        core.child.stdin.close()
        core.child.stdout.close()


def needs_driver():
    if not os.path.exists(DRIVER):
        skip(f"{DRIVER} is not built")


@test
def random_commands_get_the_answers_of_redis():
    needs_driver()
    if not shutil.which("redis-server"):
        skip("no redis-server here")
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True,
                             check=True).stdout
    if "v=7.0." not in version:
        skip("another version of Redis: " + version.strip())
    where = temp_dir()
    path = os.path.join(where, "s")
    redis = Server("Redis", path, ["redis-server", "--port", "0", "--unixsocket", path, "--save",
                                   "", "--dir", where])
    for seed in range(FIRST_SEED, FIRST_SEED + ROUNDS):
        one_round(redis, seed)


@test
def a_node_answers_as_its_core_does():
    needs_driver()
    where = temp_dir()
    path = os.path.join(where, "s")
    node = Server("the node", path, [TTG, "node", "--data", os.path.join(where, "data"), "--unix",
                                     path, "--sync", "never"])
    for seed in range(FIRST_SEED, FIRST_SEED + max(1, ROUNDS // 3)):
        one_round(node, seed)


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Any bytes on the socket: an error or a closed connection, never a crash or memory beyond limits."""
import os
import random
import resource
import signal
import socket

from harness import main, skip, test, wait_until
from noderig import Closed, Error, Node, Raw, error_of, wait_blocked

SEED = int(os.environ.get("SEED") or 20260209)


def alive(node):
    assert node.raw()("PING") == "PONG"
    assert node.process.code() is None


@test
def garbage_is_refused():
    node = Node()
    rng = random.Random(SEED)
    heads = [b"", b"*", b"*1\r\n", b"*2\r\n$", b"$5\r\n", b"*3\r\n$4\r\nXADD\r\n", b"GET / HTTP/1.1\r\n"]
    for i in range(300):
        c = node.raw()
        data = rng.choice(heads) + bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
        try:
            c.send(data + b"\r\n" * rng.randrange(3))
            c.socket.shutdown(socket.SHUT_WR)
            assert c.closed(), (SEED, i, data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        c.close()
    for text, answer in ((b"*x\r\n", "invalid multibulk length"), (b"*1\r\n+OK\r\n", "expected '$'"),
                         (b"*1\r\n$-5\r\n", "invalid bulk length"),
                         (b"*2000000\r\n", "invalid multibulk length"),
                         (b"*1\r\n$999999999999\r\n", "invalid bulk length"),
                         (b'set "x\r\n', "unbalanced quotes"), (b"x" * 70000, "too big inline")):
        c = node.raw()
        c.send(text)
        assert answer in error_of(lambda c=c: c.read()), text
        assert c.closed()
    alive(node)


@test
def wrong_words_are_refused():
    node = Node()
    c = node.raw()
    names = [n.decode() for n in c("COMMAND", "LIST")]
    assert "xadd" in names and len(names) > 60
    rng = random.Random(SEED)
    words = ["s", "*", "-", "+", "$", ">", "0", "-1", "1", "99999999999999999999", "-9223372036854775808",
             "18446744073709551615-18446744073709551615", "COUNT", "BLOCK", "STREAMS", "MAXLEN", "~", "=",
             "GROUP", "g", "c", "ID", "", "\0\xff", "x" * 5000, "LIMIT", "MINID", "CREATE", "FORCE", "IDLE"]
    skipped = {"shutdown", "quit", "multi", "exec", "reset", "debug", "hello", "client", "auth",
               "bgsave", "config"}
    for i in range(4000):
        name = rng.choice(names)
        if name in skipped:
            continue
        line = [name] + [rng.choice(words) for _ in range(rng.randrange(9))]
        if any(w == "BLOCK" for w in line):
            line = [w if w != "BLOCK" else "NOACK" for w in line]
        try:
            c(*line)
        except Error:
            pass
        except Closed:
            raise AssertionError(f"seed {SEED}, command {i}: closed by {line!r}") from None
    assert "unknown command" in error_of(c, "NOSUCH", "x")
    assert "unknown command" in error_of(c, "x" * 100000)
    assert "wrong number" in error_of(c, "XADD")
    alive(node)
    # Whatever of it was accepted replays to the same state.
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST"), SEED


@test
def announced_lengths_cost_nothing():
    node = Node()
    before = node.rss_kb()
    held = []
    for i in range(200):
        c = node.raw()
        c.send(b"*%d\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nstart" % (3 + i))
        held.append(c)
    wait_until(lambda: int(node.info("connected_clients")) >= 201, what="200 clients")
    alive(node)
    assert node.rss_kb() - before < 32768, f"{before} kB became {node.rss_kb()} kB"
    for c in held:
        c.close()
    wait_until(lambda: int(node.info("connected_clients")) == 1, what="no clients")
    # Large counts and large values that do come.
    c = node.raw()
    value = b"x" * (20 << 20)
    assert c("SET", "k", value) == "OK" and c("GET", "k") == value
    assert c("DEL", *range(200000)) == 0


@test
def huge_counts_cost_nothing():
    node = Node()
    c = node.raw()
    for i in range(3):
        c("XADD", "s", f"1-{i + 1}", "f", "v")
    c("XGROUP", "CREATE", "s", "g", 0)
    c("RPUSH", "l", "a", "b")
    c("TTG.JOB", "CREATE", "j", "FIRST", 0, "LAST", 9, "CHUNK", 1)
    c("TTG.JOIN", "j", "w", 1, "SLOTS", 1)
    before = node.rss_kb()
    huge = (1 << 63) - 1
    for words, items in ((("XRANGE", "s", "-", "+", "COUNT", huge), 3),
                         (("XREVRANGE", "s", "+", "-", "COUNT", huge), 3),
                         (("XREAD", "COUNT", huge, "STREAMS", "s", 0), 1),
                         (("XREADGROUP", "GROUP", "g", "c", "COUNT", huge, "STREAMS", "s", ">"), 1),
                         (("XPENDING", "s", "g", "-", "+", huge), 3),
                         (("XINFO", "STREAM", "s", "FULL", "COUNT", huge), 18),
                         (("SCAN", 0, "COUNT", huge), 2),
                         (("LRANGE", "l", 0, huge), 2)):
        assert len(c(*words)) == items, words
    assert c("XTRIM", "s", "MAXLEN", "~", huge, "LIMIT", huge) == 0
    for words in (("XAUTOCLAIM", "s", "g", "c", 0, 0, "COUNT", huge),
                  ("XACKDEL", "s", "g", "IDS", huge, "1-1"),
                  ("XREAD", "BLOCK", huge, "STREAMS", "none", "$"),
                  ("TTG.TAKE", "j", "w", 1, "COUNT", huge),
                  ("XRANGE", "s", "-", "+", "COUNT", huge + 1)):
        assert error_of(c, *words), words
    assert node.rss_kb() - before < 8192
    alive(node)


@test
def a_client_that_does_not_read_is_limited():
    node = Node()
    c = node.raw()
    c("SET", "k", "x" * 1000000)
    before = node.rss_kb()
    lazy = node.raw(timeout=2)
    try:
        for _ in range(2000):
            lazy.send(Raw.encode("GET", "k") * 10)
    except (socket.timeout, ConnectionError):
        pass  # it stopped listening to us: that is the limit
    alive(node)
    assert node.rss_kb() - before < 65536, f"{before} kB became {node.rss_kb()} kB"
    # One answer larger than the limit ends the connection, not the node.
    assert c("CONFIG", "SET", "client-output-buffer-limit", "normal 3000000 0 0") == "OK"
    for i in range(5):
        c("XADD", "s", "*", "f", "x" * 900000)
    greedy = node.raw()
    greedy.command("XRANGE", "s", "-", "+")
    assert greedy.closed()
    assert c("XLEN", "s") == 5
    assert int(node.info("clients_closed_by_output_limit")) == 1


@test
def half_open_connections_do_no_harm():
    node = Node()
    held = [node.raw(unix=bool(i % 2)) for i in range(100)]
    for i, c in enumerate(held):
        c.send([b"", b"*", b"*2\r\n$4\r\nECHO\r\n", b"PIN"][i % 4])
    blocked = node.raw()
    blocked.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    wait_blocked(node, 1)
    blocked.socket.shutdown(socket.SHUT_WR)  # a half-closed client is gone
    wait_blocked(node, 0)
    # Reset instead of closed.
    for c in held:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.close()
    wait_until(lambda: int(node.info("connected_clients")) == 1, what="no clients")
    alive(node)


@test
def what_a_half_closed_client_asked_is_answered():
    node = Node()
    for unix in (True, False):
        c = node.raw(unix=unix)
        c.send(Raw.encode("SET", "k", "v") + Raw.encode("GET", "k"))
        c.socket.shutdown(socket.SHUT_WR)
        assert c.read() == "OK" and c.read() == b"v" and c.closed()
    wait_until(lambda: int(node.info("connected_clients")) == 1, what="no clients")


@test
def a_blocked_client_cannot_pile_up_commands():
    node = Node()
    before = node.rss_kb()
    c = node.raw(timeout=1)
    c.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    wait_blocked(node, 1)
    command = Raw.encode("SET", "k", "x" * 100000)
    sent = 0
    try:
        while sent < 300:
            c.send(command)
            sent += 1
    except socket.timeout:
        pass
    assert sent < 300, "everything was taken"
    assert node.rss_kb() - before < 32768
    c.socket.settimeout(20)
    node.raw()("XADD", "s", "1-1", "f", "v")
    assert c.read()[0][1][0][0] == b"1-1"
    for _ in range(sent):
        assert c.read() == "OK"


@test
def a_browser_is_turned_away():
    node = Node()
    c = node.raw(unix=False)
    c.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n")
    assert c.closed()
    assert node.raw()("GET", "k") is None


@test
def many_idle_clients_are_cheap():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10000, limit[1] - 200)
    if count < 1000:
        skip(f"only {limit[1]} open files are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    node = Node("--max-clients", "10000")
    before = node.rss_kb()
    idle = [node.raw() for _ in range(count - 10)]
    for c in idle:
        c.command("PING")
    for c in idle:
        assert c.read() == "PONG"
    each = (node.rss_kb() - before) * 1024 / len(idle)
    print(f"# {len(idle)} idle clients, {each:.0f} bytes of memory each")
    assert each < 4096, each  # with the overhead of a sanitizer
    alive(node)
    for c in idle:
        c.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@test
def the_limit_of_clients_is_explained():
    node = Node("--max-clients", "3")
    held = [node.raw() for _ in range(3)]
    for c in held:
        c("PING")
    more = node.raw()
    assert "max number of clients" in error_of(lambda: more.read())
    assert more.closed()
    held.pop().close()

    def again():
        try:
            return node.raw()("PING") == "PONG"
        except (Error, Closed):
            return False
    wait_until(again, what="room for a client")

    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    small = Node(preexec=few_files)
    assert "fewer_clients" in small.process.err() and "ulimit" in small.process.err()
    allowed = int(small.info("maxclients"))
    assert allowed < 200
    held = [small.raw() for _ in range(allowed + 100)]
    answers = []
    for c in held:
        try:
            answers.append(c("PING"))
        except (Error, Closed, ConnectionError):
            answers.append(None)
    assert answers.count("PONG") >= allowed - 1
    assert small.process.code() is None
    assert "wanted=10000" in small.process.err()


@test
def a_stopped_client_stops_nobody():
    node = Node()
    c = node.raw()
    stopped = node.raw()
    stopped.send(Raw.encode("XREAD", "BLOCK", 0, "STREAMS", "s", "$"))
    wait_blocked(node, 1)
    for _ in range(100):
        c("XADD", "s", "*", "f", "x" * 1000)
    assert c("XLEN", "s") == 100
    node.process.kill(signal.SIGTERM)
    assert node.process.wait() == 0


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard by HTTP: who may see and do what, and what limits hold."""
import json
import socket

from harness import TTG, main, run, temp_dir, test, ttg, wait_until, write_file
from webrig import POST, TOKEN, Web, ask, token_file


@test
def who_may_see_and_do_what():
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    ttg("submit", "j", "--queue", node.queue, "--params", "10", "--chunk", "1")
    status, page, headers = ask(node.http, "GET", "/")
    assert status == 200 and "<title>ttg</title>" in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, _, headers = ask(node.http, "GET", "/app.js", {"Accept-Encoding": "gzip"})
    assert status == 200 and headers["Content-Encoding"] == "gzip"
    assert ask(node.http, "GET", "/favicon.ico")[2]["Content-Type"] == "image/svg+xml"
    status, text, _ = ask(node.http, "GET", "/events")
    assert status == 200 and text.startswith("event: state\ndata: {"), text
    # A page of another site whose name was made to lead here; with the token it may be a proxy.
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        assert ask(node.http, "GET", "/events", {"Host": host})[0] == 403, host
    assert ask(node.http, "GET", "/events", {"Host": "x.example", **POST})[0] == 200
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert ask(node.http, "GET", "/events", {"Host": host})[0] == 200, host
    pause = json.dumps({"action": "pause", "job": "j"})
    assert ask(node.http, "POST", "/action", POST, pause)[:2] == (200, '{"ok":true}\n')
    for name, status in (("Authorization", 401), ("X-TTG", 403), ("Content-Type", 403)):
        less = {k: v for k, v in POST.items() if k != name}
        assert ask(node.http, "POST", "/action", less, pause)[0] == status, name
    assert ask(node.http, "POST", "/action", {**POST, "Origin": "http://evil.example"}, pause)[0] == 403
    assert ask(node.http, "POST", "/action", {**POST, "Authorization": "Bearer " + TOKEN[:-1]}, pause)[0] == 401
    assert ask(node.http, "GET", "/action", POST)[0] == 404
    for body in ("", "{}", '{"action":"drop","job":"j"}', '{"action":"pause"}', '{"action":"redrive","job":"j","chunk":-1}'):
        assert ask(node.http, "POST", "/action", POST, body)[0] == 400, body
    status, text, _ = ask(node.http, "POST", "/action", POST, '{"action":"redrive","job":"none"}')
    assert status == 409 and "no job" in text, text
    explained = json.loads(ask(node.http, "GET", "/explain?job=j&chunk=3")[1])
    assert explained["place"] == "fresh", explained
    assert json.loads(ask(node.http, "GET", "/explain?job=j")[1])["place"] == "paused"
    assert ask(node.http, "GET", "/explain?job=j&chunk=x")[0] == 400


@test
def guessing_tokens_ends_soon():
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    codes = [ask(node.http, "POST", "/action", {**POST, "Authorization": f"Bearer {i}"}, "{}")[0]
             for i in range(25)]
    assert codes[:20] == [401] * 20 and codes[20:] == [429] * 5, codes
    assert ask(node.http, "POST", "/action", POST, "{}")[0] == 429


@test
def many_jobs_can_be_looked_at_one_after_the_other():
    """What nobody looks at any more makes room at once."""
    node = Web("--http", "127.0.0.1:0")
    for i in range(20):
        wait_until(lambda name=f"/events?job=j{i}": ask(node.http, "GET", name)[0] == 200, 10, f"the stream of j{i}")


@test
def beyond_this_machine_only_with_a_token():
    run([TTG, "monitor", "--web", "0.0.0.0:0", "--queue", "ttg://127.0.0.1:1"], code=2,
        err="give --token-file")
    short = write_file(temp_dir() + "/t", "short\n", 0o600)
    run([TTG, "monitor", "--web", ":0", "--token-file", short, "--queue", "ttg://127.0.0.1:1"],
        code=2, err="at least 16")
    run([TTG, "monitor", "--web", "0.0.0.0:0", "--queue", "ttg://127.0.0.1:1"], code=2,
        env={"TTG_TOKEN": "short"}, err="TTG_TOKEN: a token has at least 16")
    node = Web("--http", "0.0.0.0:0", env={"TTG_TOKEN": TOKEN})
    assert ask(node.http, "GET", "/events")[0] == 401
    assert ask(node.http, "GET", "/events", POST)[0] == 200
    node = Web("--http", "0.0.0.0:0", "--token-file", token_file())
    assert ask(node.http, "GET", "/events")[0] == 401
    assert ask(node.http, "GET", "/events", POST)[0] == 200
    assert ask(node.http, "GET", "/healthz")[0] == 200
    node = Web("--http", "0.0.0.0:0")
    status, text, _ = ask(node.http, "GET", "/events")
    assert status == 403 and "no token" in text


@test
def bad_requests_are_refused_and_limits_hold():
    node = Web("--http", "127.0.0.1:0")

    def answer(data):
        with socket.create_connection(("127.0.0.1", node.http), 10) as s:
            s.sendall(data)
            return s.recv(4096).split(b"\r\n")[0].decode()
    assert " 400 " in answer(b"NONSENSE\r\n\r\n")
    assert " 405 " in answer(b"DELETE / HTTP/1.1\r\n\r\n")
    assert " 400 " in answer(b"POST /action HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert " 400 " in answer(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
    assert " 400 " in answer(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert " 413 " in answer(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")
    assert " 431 " in answer(b"GET / HTTP/1.1\r\nX: " + b"a" * 9000)
    assert " 404 " in answer(b"GET /../etc/passwd HTTP/1.1\r\n\r\n")
    assert " 200 " in answer(b"GET / HTTP/1.0\r\n\r\n")
    streams = []
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", node.http), 10)
        s.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        streams.append((s, s.recv(4096).split(b"\r\n")[0]))
    assert sum(b" 200 " in line for _, line in streams) == 16, [line for _, line in streams]
    assert sum(b" 503 " in line for _, line in streams) == 4
    for s, _ in streams:
        s.close()
    wait_until(lambda: ask(node.http, "GET", "/events")[0] == 200, what="room again")


main()

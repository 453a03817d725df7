#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The node as its clients see it."""
import atexit
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from harness import ROOT, TTG, free_port, have, main, run, skip, temp_dir, test, wait_until, write_file
from noderig import Closed, Node, Raw, error_of, wait_blocked


def spawn_with(command, fd, variables):
    """A process that inherits one more descriptor; killed with the test program at the latest."""
    process = subprocess.Popen(command, pass_fds=[fd], env={**os.environ, **variables},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    return process


@test
def redis_cli_works():
    if not have("redis-cli"):
        skip("no redis-cli")
    node = Node()
    cli = ["redis-cli", "-p", node.port]
    run(cli + ["ping"], out="^PONG$")
    run(cli + ["xadd", "s", "1-1", "field", "value"], out="^1-1$")
    run(cli + ["xrange", "s", "-", "+"], out="(?s)^1-1\nfield\nvalue$")
    run(cli + ["-3", "xinfo", "stream", "s"], out="(?s)length.*1")
    run(cli + ["command", "docs", "xadd"], out="summary")
    run(cli + ["command", "count"], out="^[0-9]+$")
    if "--json" in run(["redis-cli", "--help"], code=None).out:  # since 7.0
        run(cli + ["--json", "command", "docs"], out="xgroup.create")
    # What it asks at the start of a terminal session.
    run(cli, stdin="xlen s\nquit\n", out="^1$")


@test
def python_redis_works():
    node = Node()
    r = node.redis()
    assert r.ping() and r.echo("x") == "x"
    ids = [r.xadd("s", {"n": i}) for i in range(10)]
    assert [i for i, _ in r.xrange("s")] == ids
    r.xgroup_create("s", "g", "0")
    taken = r.xreadgroup("g", "me", {"s": ">"}, count=4)
    assert [i for i, _ in taken[0][1]] == ids[:4]
    assert r.xack("s", "g", *ids[:4]) == 4 and r.xpending("s", "g")["pending"] == 0
    pipe = r.pipeline(transaction=True)
    assert pipe.set("k", "v").get("k").delete("k").execute() == [True, "v", 1]
    assert r.config_get("maxclients")["maxclients"].isdigit()
    assert r.client_setname("me") and r.client_getname() == "me"
    assert any(c["name"] == "me" for c in r.client_list())
    assert r.info()["redis_version"] == "7.0.15" and r.execute_command("MODULE LIST") == []
    assert r.type("s") == "stream" and list(r.scan_iter()) == ["s"]


@test
def redis_benchmark_works():
    if not have("redis-benchmark"):
        skip("no redis-benchmark")
    node = Node()
    for connect in (["-p", node.port], ["-s", node.unix]):
        run(["redis-benchmark", *connect, "-q", "-n", "300", "-c", "10", "-P", "4", "-t",
             "ping,set,get,lpush,sadd,hset"], out="(?s)PING_MBULK: .*SET: .*GET: .*LPUSH: .*SADD: .*HSET: ",
            err=r"\A\Z")
        run(["redis-benchmark", *connect, "-q", "-n", "300", "-P", "4", "XADD", "s", "*", "f", "v"],
            out="requests per second")
    assert node.raw()("XLEN", "s") == 600


@test
def hello_chooses_the_protocol():
    node = Node()
    c = node.raw()
    assert c("HELLO")[:4] == [b"server", b"redis", b"version", b"7.0.15"]
    assert c("HELLO", 3, "SETNAME", "x")[b"proto"] == 3
    assert c("GET", "none") is None
    assert isinstance(c("CONFIG", "GET", "dir"), dict)
    assert c("CLIENT", "GETNAME") == b"x"
    assert "NOPROTO" in error_of(c, "HELLO", 4)
    assert c("RESET") == "RESET" and isinstance(c("CONFIG", "GET", "dir"), list)


@test
def a_transaction_is_one_record():
    node = Node()
    c, other = node.raw(), node.raw()
    before = int(node.info("log_position"))
    assert c("MULTI") == "OK"
    for i in range(1, 4):
        assert c("XADD", "s", f"{i}-0", "f", i) == "QUEUED"
    assert other("XLEN", "s") == 0
    assert c("EXEC") == [b"1-0", b"2-0", b"3-0"]
    assert int(node.info("log_position")) == before + 1
    # A mistake while queueing spoils it all, one while running spoils itself only.
    c("MULTI")
    assert "wrong number" in error_of(c, "XADD", "s")
    assert error_of(c, "EXEC").startswith("EXECABORT")
    assert c("XLEN", "s") == 3
    c("MULTI"), c("XADD", "s", "1-0", "f", "v"), c("XADD", "s", "9-0", "f", "v")
    c.command("EXEC")
    assert c.line() == b"*2" and c.line().startswith(b"-ERR") and c.read() == b"9-0"
    c("MULTI"), c("DEL", "s")
    assert c("DISCARD") == "OK" and c("XLEN", "s") == 4
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST")
    before = int(node.info("log_position"))
    adds = [Raw.encode("XADD", "long", f"{i}-1", "f", "v") for i in range(1, 10001)]
    c.send(b"".join([Raw.encode("MULTI"), *adds, Raw.encode("EXEC")]))
    assert c.read() == "OK" and {c.read() for i in range(10000)} == {"QUEUED"}
    assert len(c.read()) == 10000 and c("XLEN", "long") == 10000
    assert int(node.info("log_position")) == before + 1
    # A blocking command does not block inside.
    c("MULTI"), c("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    assert c("EXEC") == [None]


@test
def watched_keys_spoil_a_transaction():
    node = Node()
    c, other = node.raw(), node.raw()
    assert c("WATCH", "k") == "OK" and c("MULTI") == "OK" and c("SET", "k", 1) == "QUEUED"
    other("SET", "x", 2)
    assert c("EXEC") == ["OK"]
    c("WATCH", "k"), c("MULTI"), c("SET", "k", 1)
    other("SET", "k", 3)
    assert c("EXEC") is None and c("GET", "k") == b"3"
    c("WATCH", "k")
    other("DEL", "k")
    assert c("UNWATCH") == "OK" and c("MULTI") == "OK" and c("SET", "k", 1) == "QUEUED"
    assert c("EXEC") == ["OK"]


@test
def blocked_clients_are_served_oldest_first():
    node = Node()
    writer = node.raw()
    writer("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    waiting = []
    for i in range(3):
        c = node.raw()
        c.command("XREADGROUP", "GROUP", "g", f"c{i}", "BLOCK", 0, "COUNT", 1, "STREAMS", "s", ">")
        waiting.append(c)
        wait_blocked(node, i + 1)
    for i, c in enumerate(waiting):
        writer("XADD", "s", f"{i + 1}-0", "f", "v")
        assert c.read()[0][1][0][0] == f"{i + 1}-0".encode()
        wait_blocked(node, 2 - i)
    # What it pipelined behind the wait is answered after it, in order.
    c = waiting[0]
    c.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$").command("PING").command("XLEN", "s")
    wait_blocked(node, 1)
    writer("XADD", "s", "9-0", "f", "v")
    assert c.read()[0][1][0][0] == b"9-0" and c.read() == "PONG" and c.read() == 4


@test
def waiting_ends_in_many_ways():
    node = Node()
    c, other = node.raw(), node.raw()
    begin = time.monotonic()
    assert c("XREAD", "BLOCK", 60, "STREAMS", "s", "$") is None
    assert time.monotonic() - begin >= 0.055
    number = c("CLIENT", "ID")
    c.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    wait_blocked(node, 1)
    assert other("CLIENT", "UNBLOCK", number) == 1 and c.read() is None
    c.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    wait_blocked(node, 1)
    assert other("CLIENT", "UNBLOCK", number, "ERROR") == 1
    assert error_of(lambda: c.read()).startswith("UNBLOCKED")
    assert other("CLIENT", "UNBLOCK", number) == 0
    other("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    c.command("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "s", ">")
    wait_blocked(node, 1)
    other("DEL", "s")
    assert error_of(lambda: c.read()).startswith("UNBLOCKED")
    c.command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    wait_blocked(node, 1)
    c.close()
    wait_blocked(node, 0)
    assert other("CLIENT", "KILL", "ID", 12345) == 0


@test
def commands_about_the_server():
    node = Node()
    c = node.raw()
    for words in (["TIME"], ["LASTSAVE"], ["DBSIZE"], ["COMMAND"], ["COMMAND", "LIST"], ["ROLE"],
                  ["COMMAND", "INFO", "get", "none"], ["SLOWLOG", "GET"], ["LATENCY", "LATEST"],
                  ["MEMORY", "DOCTOR"], ["FUNCTION", "FLUSH"], ["ACL", "WHOAMI"], ["CLIENT", "INFO"],
                  ["CONFIG", "GET", "*"], ["CONFIG", "RESETSTAT"], ["WAIT", "0", "0"],
                  ["CLIENT", "NO-EVICT", "on"], ["SELECT", "0"], ["MODULE", "LIST"]):
        c(*words)
    assert "out of range" in error_of(c, "SELECT", 1)
    assert c("CONFIG", "SET", "maxclients", "50") == "OK"
    assert c("CONFIG", "GET", "maxclients") == [b"maxclients", b"50"]
    assert "Unknown option" in error_of(c, "CONFIG", "SET", "nonsense", "1")
    assert c("CONFIG", "SET", "stream-node-max-entries", "7") == "OK"
    error_of(c, "XADD", "s")
    error_of(c, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    stats = c("INFO", "commandstats", "errorstats").decode()
    assert "cmdstat_xadd:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0" in stats
    assert "errorstat_NOGROUP:count=1" in stats
    c.command("CLIENT", "REPLY", "OFF").command("SET", "k", "v").command("CLIENT", "REPLY", "ON")
    assert c.read() == "OK" and c("GET", "k") == b"v"
    assert c("QUIT") == "OK" and c.closed()
    node.stop()
    assert node.again().raw()("CONFIG", "GET", "stream-node-max-entries")[1] == b"7"


@test
def a_restart_changes_nothing():
    node = Node("--snapshot-log", "64KiB")
    c = node.raw()
    for i in range(2000):
        c.command("XADD", f"s{i % 7}", "*", "field", "x" * (i % 100))
    for i in range(2000):
        c.read()
    c("XGROUP", "CREATE", "s1", "g", "0"), c("XREADGROUP", "GROUP", "g", "a", "COUNT", 5, "STREAMS",
                                             "s1", ">")
    c("SET", "k", "v"), c("XTRIM", "s2", "MAXLEN", 3)
    digests = [c("DEBUG", "DIGEST")]
    wait_until(lambda: int(node.info("snapshots")) > 0, what="a snapshot")
    for how in ("kill", "stop", "kill"):
        getattr(node, how)()
        node = node.again("--snapshot-log", "64KiB")
        digests.append(node.raw()("DEBUG", "DIGEST"))
    assert len(set(digests)) == 1, digests
    assert re.search(r"node.recovered .*snapshot=[1-9]", node.process.err())
    assert int(node.info("boot")) == 4


@test
def a_second_node_is_kept_out():
    node = Node()
    second = Node(data=node.data, wait=False)
    assert second.process.wait() == 3
    assert str(node.process.pid) in second.process.err(), second.process.err()
    assert node.raw()("PING") == "PONG"


@test
def sigterm_answers_what_it_accepted():
    node = Node()
    c = node.raw()
    for i in range(1, 1001):
        c.command("XADD", "s", f"{i}-0", "f", "v")
    assert c.read() == b"1-0"
    node.process.kill(signal.SIGTERM)
    answered = 1
    try:
        while c.read():
            answered += 1
    except Closed:
        pass
    assert node.process.wait() == 0
    assert node.again().raw()("XLEN", "s") >= answered


@test
def sighup_opens_the_log_file_again():
    path = temp_dir() + "/log"
    node = Node("--log-file", path)
    run(["mv", path, path + ".1"])
    node.process.kill(signal.SIGHUP)

    def there():
        try:
            return "reopened_logs" in open(path, encoding="utf-8").read()
        except FileNotFoundError:
            return False
    wait_until(there, what="a new log file")


@test
def http_shows_metrics_and_health():
    port = free_port()
    node = Node("--http", f"127.0.0.1:{port}")
    node.raw()("XADD", "s", "*", "f", "v")

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.read().decode()
    assert get("/healthz") == "ok\n" and get("/readyz") == "ready\n"
    text = get("/metrics")
    for line in (r'ttg_node_commands_total\{command="XADD"\} 1', r"ttg_node_clients \d+",
                 r"ttg_node_log_syncs_total [1-9]", r'ttg_node_sync_seconds_bucket\{le="\+Inf"\}'):
        assert re.search(f"^{line}", text, re.M), line
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        assert re.match(r"^[a-z_]+(\{.*\})? [-0-9.e+]+$", line), line
        # What counts ends in _total, times are in seconds; each figure has a type.
        name = re.match("[a-z_]+", line)[0]
        kind = kinds.get(name) or kinds[re.sub("_(bucket|sum|count)$", "", name)]
        assert (kind == "counter") == name.endswith("_total"), line
        assert not re.search("(milli|micro|nano)seconds|_ms|_us", name), line
    try:
        get("/nothing")
        raise AssertionError("no 404")
    except urllib.error.HTTPError as error:
        assert error.code == 404
    raw = Raw(port)
    raw.send("GARBAGE\r\n\r\n")
    assert raw.line().startswith(b"HTTP/1.1 400")


@test
def passwords_protect():
    secret = write_file(temp_dir() + "/password", "correct horse\n", 0o600)
    node = Node("--password-file", secret)
    c = node.raw()
    assert error_of(c, "PING").startswith("NOAUTH")
    assert error_of(c, "AUTH", "wrong").startswith("WRONGPASS")
    assert error_of(c, "AUTH", "other", "correct horse").startswith("WRONGPASS")
    assert c("AUTH", "correct horse") == "OK" and c("PING") == "PONG"
    assert node.raw()("HELLO", 3, "AUTH", "default", "correct horse")[b"proto"] == 3
    # A stranger may not make us keep much.
    big = node.raw()
    big.send(b"*1\r\n$100000\r\n")
    assert "invalid bulk length" in error_of(lambda: big.read())
    assert big.closed()
    loose = write_file(temp_dir() + "/password", "x\n", 0o644)
    refused = Node("--password-file", loose, wait=False)
    assert refused.process.wait() == 2 and "chmod 600" in refused.process.err()
    refused = Node("--password-file", "/no/such/file", wait=False)
    assert refused.process.wait() == 2 and "/no/such/file: No such" in refused.process.err()


@test
def protected_mode_refuses_the_world():
    node = Node(listen="0.0.0.0:0", wait=False)
    assert node.process.wait() == 2 and "--insecure" in node.process.err()
    open_node = Node("--insecure", listen="0.0.0.0:0")
    assert open_node.raw()("PING") == "PONG"
    secret = write_file(temp_dir() + "/password", "x\n", 0o600)
    assert Node("--password-file", secret, listen="0.0.0.0:0").raw()("AUTH", "x") == "OK"


def certificate(directory, name, ca=None):
    """A key and a certificate, signed by itself or by `ca`."""
    base = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{directory}/{name}.key", "-subj", f"/CN={name}", "-days", "2", "-x509",
            "-out", f"{directory}/{name}.pem", "-addext", "subjectAltName=DNS:localhost"]
    if ca:
        base += ["-CA", f"{directory}/{ca}.pem", "-CAkey", f"{directory}/{ca}.key", "-addext",
                 "basicConstraints=critical,CA:FALSE"]
    done = subprocess.run(base, capture_output=True, check=False)
    if done.returncode != 0 and ca:
        skip("this openssl cannot sign with -CA")
    assert done.returncode == 0, done.stderr


@test
def tls_encrypts_and_asks_for_certificates():
    import ssl
    if not have("openssl"):
        skip("no openssl")
    d = temp_dir()
    for name, ca in (("ca", None), ("server", "ca"), ("client", "ca"), ("stranger", None)):
        certificate(d, name, ca)
    node = Node("--tls-listen", "127.0.0.1:0", "--tls-cert", f"{d}/server.pem", "--tls-key",
                f"{d}/server.key", "--tls-ca", f"{d}/ca.pem", "--tls-clients", listen=None)
    port = int(re.search(r"^listening on 127\.0\.0\.1:(\d+)$", node.process.out(), re.M).group(1))

    def connect(name):
        context = ssl.create_default_context(cafile=f"{d}/ca.pem")
        if name:
            context.load_cert_chain(f"{d}/{name}.pem", f"{d}/{name}.key")
        return Raw(port, context=context)
    c = connect("client")
    assert c("PING") == "PONG"
    big = b"x" * (3 << 20)
    assert c("SET", "k", big) == "OK" and c("GET", "k") == big
    for name in ("stranger", None):
        try:
            bad = connect(name)
            bad.command("PING")
            bad.read()
            raise AssertionError(f"served {name}")
        except (Closed, ssl.SSLError, ConnectionError):
            pass
    plain = Raw(port)
    plain.send("PING\r\n")
    assert plain.closed()
    assert c("PING") == "PONG"


@test
def check_and_repair_a_damaged_log():
    node = Node()
    c = node.raw()
    for i in range(1, 200):
        c("XADD", "s", f"{i}-0", "f", "v" * 100)
    node.stop()
    run([TTG, "node", "--data", node.data, "--check"], out="^good$")
    import glob
    name = sorted(glob.glob(node.data + "/log-*.seg"))[0]
    with open(name, "r+b") as file:
        file.seek(9000)
        byte = file.read(1)
        file.seek(9000)
        file.write(bytes([byte[0] ^ 0x40]))
    run([TTG, "node", "--data", node.data, "--check"], code=3, out="^damaged: ", err="--repair")
    refused = node.again(wait=False)
    assert refused.process.wait() == 3 and "--repair" in refused.process.err()
    run([TTG, "node", "--data", node.data, "--repair"], out="^repaired$")
    kept = node.again().raw()("XLEN", "s")
    assert 0 < kept < 199
    assert glob.glob(node.data + "/*.damaged-*")


@test
def the_reference_of_commands_is_current():
    path = os.path.join(ROOT, "docs/commands.md")
    with open(path, encoding="utf-8") as file:
        assert run([TTG, "node", "--commands"]).out == file.read(), \
            "run: build/ttg node --commands > docs/commands.md"


@test
def a_waiting_reader_claims_what_becomes_idle():
    node = Node()
    c, waiting = node.raw(), node.raw(timeout=20)
    c("XADD", "s", "1-0", "f", "v")
    c("XGROUP", "CREATE", "s", "g", "0")
    c("XREADGROUP", "GROUP", "g", "dead", "STREAMS", "s", ">")
    waiting.command("XREADGROUP", "GROUP", "g", "alive", "BLOCK", "15000", "CLAIM", "300", "STREAMS",
                    "s", ">")
    [[_, [[entry, fields, idle, deliveries]]]] = waiting.read()
    assert (entry, fields, deliveries) == (b"1-0", [b"f", b"v"], 1) and idle >= 300, idle
    assert waiting("XREADGROUP", "GROUP", "g", "alive", "BLOCK", "50", "CLAIM", "900000", "STREAMS",
                   "s", ">") is None
    digest = c("DEBUG", "DIGEST")
    assert c("DEBUG", "REPLAY") == digest
    node.kill()
    assert node.again().raw()("DEBUG", "DIGEST") == digest


@test
def a_message_sent_again_is_added_once():
    node = Node()
    c = node.raw()
    first = c("XADD", "s", "IDMP", "p", "1", "*", "f", "v")
    for _ in range(2):
        assert c("XADD", "s", "IDMP", "p", "1", "*", "f", "v") == first
    assert c("DEBUG", "REPLAY") == c("DEBUG", "DIGEST")
    c("BGSAVE")
    wait_until(lambda: int(node.info("snapshots")) > 0, what="a snapshot")
    second = c("XADD", "s", "IDMPAUTO", "p", "*", "f", "v")
    digest = c("DEBUG", "DIGEST")
    node.kill()
    c = node.again().raw()
    assert c("DEBUG", "DIGEST") == digest
    assert c("XADD", "s", "IDMP", "p", "1", "*", "f", "v") == first
    assert c("XADD", "s", "IDMPAUTO", "p", "*", "f", "v") == second
    assert c("XLEN", "s") == 2


@test
def systemd_hands_over_sockets_and_is_told():
    import socket
    d = temp_dir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(d + "/given")
    listening.listen()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(d + "/notify")
    notify.settimeout(10)
    script = f'import os; os.dup2({listening.fileno()}, 3); os.set_inheritable(3, True); ' \
        f'os.environ["LISTEN_PID"] = str(os.getpid()); ' \
        f'os.execv("{TTG}", ["ttg", "node", "--data", "{d}/data"])'
    os.set_inheritable(listening.fileno(), True)
    process = spawn_with([sys.executable, "-c", script], listening.fileno(),
                         {"LISTEN_FDS": "1", "NOTIFY_SOCKET": d + "/notify"})
    assert notify.recv(100).startswith(b"READY=1")
    assert Raw(d + "/given")("PING") == "PONG"
    process.send_signal(signal.SIGTERM)
    assert notify.recv(100) == b"STOPPING=1"
    assert process.wait(60) == 0


@test
def wrong_usage_is_explained():
    run([TTG, "node"], code=2, err="--data")
    run([TTG, "node", "--data", temp_dir()], code=2, err="--unix")
    # Before anything is read or written.
    data, file = temp_dir() + "/data", write_file(temp_dir() + "/file", "x")
    for words, says in ((["--listen", "nonsense"], "HOST:PORT"), (["--listen", "0.0.0.0:0"], "password"),
                        (["--unix", "x" * 200], "107 bytes"), (["--tls-listen", "[::1]:0"], "certificate"),
                        (["--unix", "s", "--http", "nonsense"], "HOST:PORT"),
                        (["--listen", "127.0.0.1:0"] * 9, "--listen can be given 8 times")):
        run([TTG, "node", "--data", data, *words], code=2, err=says)
        assert not os.path.exists(data), words
    run([TTG, "node", "--data", temp_dir(), "--unix", temp_dir() + "/s", "--sync", "x"], code=2)
    run([TTG, "node", "--data", temp_dir(), "--unix", file], code=3, err="no socket")
    taken = Node()
    run([TTG, "node", "--data", temp_dir(), "--listen", f"127.0.0.1:{taken.port}"], code=3,
        err="listen")


main()

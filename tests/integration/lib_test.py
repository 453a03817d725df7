#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The library in programs of others: the examples from what `make install` puts down, and
tests/lib/probe.c, which calls everything, on a real node, redis-server and RabbitMQ broker."""
import functools
import os
import re
import signal

from harness import (ROOT, TTG, free_port, main, run, skip, spawn, temp_dir, test, wait_until,
                     write_file)
from noderig import Node
from rabbitrig import Rabbit
from redisrig import Redis

BUILD = os.path.dirname(os.path.realpath(TTG))
INCLUDE = os.path.join(ROOT, "include")
SANITIZERS = {"asan": "-fsanitize=address,undefined", "tsan": "-fsanitize=thread",
              "coverage": "--coverage"}
WARN = "-Wall -Wextra -Werror -pedantic".split()


def profile():
    """The profile that the tested binary was built in."""
    found = re.fullmatch(re.escape(ROOT) + r"/build/(\w+)/ttg", os.path.realpath(TTG))
    if not found:
        skip(f"{TTG} is not from this tree")
    return found.group(1)


def flags():
    return SANITIZERS.get(profile(), "").split()


def install():
    """`make install` into a directory; the variables with which programs are built and run."""
    dest = temp_dir()
    run(["make", "-C", ROOT, f"PROFILE={profile()}", f"DESTDIR={dest}", "PREFIX=/opt/ttg",
         "install"], deadline_s=300)
    prefix = os.path.join(dest, "opt/ttg")
    return {"PKG_CONFIG_PATH": os.path.join(prefix, "lib/pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": dest,
            "LD_LIBRARY_PATH": os.path.join(prefix, "lib")}


class Probe:
    """tests/lib/probe.c, linked against the library of the build."""

    def __init__(self):
        where = temp_dir()
        os.symlink(os.path.join(BUILD, "libttg.so"), os.path.join(where, "libttg.so.0"))
        self.program = os.path.join(where, "probe")
        run(["cc", "-std=c11", "-D_GNU_SOURCE", "-g", *WARN, *flags(), "-pthread", "-I", INCLUDE,
             "-o", self.program, os.path.join(ROOT, "tests/lib/probe.c"),
             os.path.join(BUILD, "libttg.so")])
        self.env = {"LD_LIBRARY_PATH": where}

    def __call__(self, *words, **checks):
        return run([self.program, *words], env=self.env, **checks).out

    def spawn(self, *words):
        return spawn([self.program, *words], env=self.env)


def node_url():
    return f"ttg+unix:{Node('--log-level', 'ERROR').unix}"


def redis_url():
    return Redis().url


def squares(first, last):
    return sum(i * i for i in range(first, last + 1))


@functools.lru_cache(None)
def rabbit():
    """One for all tests: it takes seconds to start."""
    return Rabbit()


def on_each(function):
    """The same test on a node, on Redis and on RabbitMQ."""
    for name, url in (("a_node", node_url), ("redis", redis_url), ("rabbitmq", lambda: rabbit().url)):
        def on_one(url=url):
            function(Probe(), url())
        on_one.__name__ = f"{function.__name__}_on_{name}"
        test(on_one)
    return function


# ---- the examples

@test
def the_installed_examples_compute_exactly():
    env = install()
    where = temp_dir()
    run(["cp", "-r", os.path.join(ROOT, "examples/lib"), where])
    here = os.path.join(where, "lib")
    run(["make", "-B", "-C", here, "CFLAGS=" + " ".join(["-g", "-std=c11", *WARN, *flags()])], env=env)
    for url in node_url(), redis_url():
        workers = [spawn([f"{here}/worker", url, "squares"], env=env) for _ in range(2)]
        followed = spawn([f"{here}/results", url, "squares"], env=env)  # before there is a job
        assert followed.wait() == 1 and "there is no job" in followed.err(), followed.err()
        run([f"{here}/submit", url, "squares", "100000"], env=env,
            out=rf"^100 of 100 chunks, sum {squares(1, 100000)}$")
        assert [w.wait() for w in workers] == [0, 0], workers[0].err()
        done = run([f"{here}/results", url, "squares"], env=env)
        found = [re.fullmatch(r"(\d+)\.\.(\d+) (\d+)", line).groups() for line in done.out.splitlines()]
        assert sorted(int(first) for first, _, _ in found) == list(range(1, 100000, 1000))
        for first, last, total in found:
            assert int(total) == squares(int(first), int(last))
        assert "all results came" in done.err


@test
def the_python_example_computes():
    if profile() not in ("release", "debug"):
        skip("python cannot load a library with sanitizers")
    probe, url = Probe(), node_url()
    probe("submit", url, "py", "1000", "10")
    run([os.path.join(ROOT, "examples/lib/worker.py"), url, "py"], env=probe.env)
    assert f"completed 100 dead 0 params 1000 failures 0 sum {squares(0, 999)}" in probe("status", url, "py")


@test
def examples_are_short():
    for name in "submit", "worker", "results":
        with open(os.path.join(ROOT, f"examples/lib/{name}.c"), encoding="utf-8") as file:
            assert len(file.read().splitlines()) < 42, name  # with the comment at the top


# ---- everything else, called by the probe

@on_each
def a_killed_worker_loses_nothing(probe, url):
    running = os.path.join(temp_dir(), "running")
    probe("submit", url, "kill", "1000", "10")
    victim = probe.spawn("worker", url, "kill", "victim", "hang", running)
    wait_until(lambda: os.path.exists(running))
    # Or its oldest lease is not the one that it hangs in, but one whose commit is on its way.
    wait_until(lambda: " completed 3 " in probe("status", url, "kill"), what="its first commits")
    victim.kill()
    victim.wait()
    probe("worker", url, "kill", "heir", "square", out=r"^done$", deadline_s=60)
    out = probe("wait", url, "kill", "20000")
    assert f"state 2 chunks 100 completed 100 dead 0 params 1000 failures 0 sum {squares(0, 999)}" in out
    lines = probe("results", url, "kill", "0", "1000").splitlines()
    chunks = [int(line.split()[2]) for line in lines[:-1]]
    assert sorted(chunks) == list(range(100)), chunks
    (again,) = [line for line in lines if " chunk 3 " in line]
    assert "attempt 2" in again, again  # the killed attempt was charged


@on_each
def failures_are_told_and_counted(probe, url):
    probe("submit", url, "moody", "100", "10")
    out = probe("worker", url, "moody", "w", "moody", "", "2", out=r"^done$")
    assert "committed 9 failed 3 stale 0" in out, out  # chunks 1 and 6 once, 7 for good
    assert "state 2 chunks 10 completed 9 dead 1 params 90 failures 3" in probe("status", url, "moody")
    assert probe("dead", url, "moody") == "chunk 7 attempts 1 worker w reason seven is bad\ndone\n"
    assert "TTG_ENOENT" in probe("control", url, "moody", "redrive", "5", code=1)
    if not url.startswith("amqp:"):  # there a job ends when its results are collected
        assert "TTG_EDONE" in probe("submit", url, "moody", "100", "10", code=1)
    probe("control", url, "moody", "redrive", "7")
    assert probe("dead", url, "moody") == "done\n"
    probe("worker", url, "moody", "w", "square", out=r"^committed 1 ")
    # On RabbitMQ the failures of a chunk that was redriven are not known any more.
    failures = 2 if url.startswith("amqp:") else 3
    assert (f"completed 10 dead 0 params 100 failures {failures} sum {squares(0, 99)}" in
            probe("status", url, "moody"))


@on_each
def lines_go_in_and_bytes_come_out(probe, url):
    path = write_file(os.path.join(temp_dir(), "names"), "".join(f"name {i}\n" for i in range(25)))
    probe("lines", url, "upper", path, "10")
    probe("lines", url, "upper", path, "10")  # the same again is the same job
    assert "TTG_EEXIST" in probe("lines", url, "upper", path, "5", code=1)
    probe("lines", url, "upper", path, "10")
    probe("worker", url, "upper", "w", "upper", out=r"^committed 3 ")
    got = {}
    for line in probe("results", url, "upper", "0", "99").splitlines()[:-1]:
        words = line.split()
        got[int(words[2])] = bytes.fromhex(words[-1])
    expected = [b"\xff\0" + "".join(f"NAME {i}\n" for i in range(a, min(a + 10, 25))).encode()
                for a in (0, 10, 20)]
    assert [got[i] for i in range(3)] == expected, got


@on_each
def reading_goes_on_behind_any_cursor(probe, url):
    probe("submit", url, "cursor", "300", "1")
    assert "TTG_EAGAIN" in probe("results", url, "cursor", "0", "5")
    probe("worker", url, "cursor", "w", "square", "", "2")
    whole = probe("results", url, "cursor", "0", "1000").splitlines()
    assert whole[-1].startswith("TTG_EDONE") and len(whole) == 301, whole[-1]
    for at in 0, 1, 149, 299:
        cursor = whole[at].split()[0]
        assert probe("results", url, "cursor", cursor, "1000").splitlines() == whole[at + 1:], at
        part = probe("results", url, "cursor", cursor, "7").splitlines()
        assert part[:-1] == whole[at + 1:at + 8][:len(part) - 1], at
    assert probe("results", url, "cursor", whole[-2].split()[0], "10").startswith("TTG_EDONE")
    beyond = str(int(whole[-2].split()[0]) + 1)
    past_the_end = "TTG_EAGAIN" if url.startswith("amqp:") else "TTG_ERANGE"
    assert past_the_end in probe("results", url, "cursor", beyond, "10")
    assert "done" in probe("results", url, "cursor", "0", "300", "0", "forget")


@on_each
def a_stopped_worker_gives_back_what_it_has(probe, url):
    running = os.path.join(temp_dir(), "running")
    probe("submit", url, "stop", "1000", "10")
    worker = probe.spawn("worker", url, "stop", "w", "slow", running)
    wait_until(lambda: os.path.exists(running))
    worker.kill(signal.SIGTERM)
    assert worker.wait() == 1
    committed = int(re.search(r"^committed (\d+) failed 0 stale 0 ", worker.out(), re.M).group(1))
    assert committed >= 1 and "TTG_ECANCELED" in worker.out(), worker.out()
    assert f"completed {committed} dead 0" in probe("status", url, "stop")
    probe("worker", url, "stop", "w2", "square", out=rf"^committed {100 - committed} ")
    lines = probe("results", url, "stop", "0", "1000").splitlines()[:-1]
    assert len(lines) == 100 and all("attempt 1 " in line for line in lines), lines
    # A second signal does not wait for the chunk.
    os.unlink(running)
    probe("submit", url, "stop2", "1000", "10")
    worker = probe.spawn("worker", url, "stop2", "w", "hang", running)
    wait_until(lambda: os.path.exists(running))
    worker.kill(signal.SIGTERM)
    worker.kill(signal.SIGINT)
    assert worker.wait() == 1 and "TTG_ECANCELED" in worker.out(), worker.out()


@test
def a_worker_is_stopped_while_the_queue_does_not_answer():
    probe, node, running = Probe(), Node("--log-level", "ERROR"), os.path.join(temp_dir(), "running")
    url = f"ttg+unix:{node.unix}"
    probe("submit", url, "mute", "1000", "10")
    worker = probe.spawn("worker", url, "mute", "w", "hang", running)
    wait_until(lambda: os.path.exists(running))
    node.process.stop()
    worker.kill(signal.SIGTERM)
    worker.kill(signal.SIGINT)
    assert worker.wait() == 1 and "TTG_EUNREACH: stopped, and" in worker.out(), worker.out()
    node.process.cont()
    probe("worker", url, "mute", "w2", "square")
    assert "completed 100 dead 0" in probe("status", url, "mute")


@on_each
def jobs_are_paused_canceled_and_forgotten(probe, url):
    assert "TTG_ENOENT" in probe("status", url, "ctl", code=1)
    probe("submit", url, "ctl", "100", "10")
    assert "TTG_EEXIST" in probe("submit", url, "ctl", "101", "10", code=1)
    probe("control", url, "ctl", "pause")
    assert "state 1 " in probe("status", url, "ctl")
    probe("control", url, "ctl", "resume")
    assert "state 0 " in probe("status", url, "ctl")
    assert "TTG_ETIMEOUT" in probe("wait", url, "ctl", "50", code=1)
    assert "TTG_EBUSY" in probe("control", url, "ctl", "forget", code=1)
    probe("control", url, "ctl", "cancel")
    assert "state 3 " in probe("wait", url, "ctl", "5000")
    assert "TTG_EDONE" in probe("control", url, "ctl", "pause", code=1)
    probe("control", url, "ctl", "forget")
    assert "TTG_ENOENT" in probe("status", url, "ctl", code=1)
    assert "TTG_ETIMEOUT" in probe("worker", url, "ctl", "w", "square", "", "1", "300", code=1)
    assert "TTG_EINVAL" in probe("status", url, "no spaces please", code=1)


@test
def two_queues_at_once():
    probe = Probe()
    out = probe("two", node_url(), redis_url(), deadline_s=60).splitlines()
    assert out == [f"done worker done results 500 sum {squares(0, 4999)} {squares(0, 4999)}",
                   f"done worker done results 700 sum {squares(0, 6999)} {squares(0, 6999)}"], out


@test
def a_queue_that_is_not_there_is_told_in_time():
    probe = Probe()
    out = probe("status", f"ttg+unix:{temp_dir()}/nobody", "x", code=1)
    assert out.startswith("TTG_EUNREACH: no connection to ttg+unix:"), out
    out = probe("worker", f"ttg+unix:{temp_dir()}/nobody", "x", "w", "square", code=1)
    assert "TTG_EUNREACH" in out, out
    for url, code in (("http://x", "TTG_EUSAGE"), ("embedded:/tmp/x", "TTG_EUNSUPPORTED: the library has"),
                      (f"amqp://127.0.0.1:{free_port()}/", "TTG_EUNREACH"), ("", "TTG_EUSAGE")):
        assert probe("status", url, "x", code=1).startswith(code), url
    secret = Node("--log-level", "ERROR", "--password-file",
                  write_file(os.path.join(temp_dir(), "password"), "right\n", 0o600))
    url = f"ttg://:wrong@127.0.0.1:{secret.port}"
    out = probe("status", url, "x", code=1)
    assert out.startswith("TTG_EAUTH") and "wrong@" not in out, out
    assert "TTG_ENOENT" in probe("status", url.replace("wrong", "right"), "x", code=1)


@test
def a_restarted_node_is_found_again():
    probe, node = Probe(), Node("--log-level", "ERROR", listen=None)
    url = f"ttg+unix:{node.unix}"
    probe("submit", url, "again", "1000", "10")
    waiting = probe.spawn("wait", url, "again", "30000")
    worker = probe.spawn("worker", url, "again", "w", "slow", f"{temp_dir()}/running", "50")
    worker_done = lambda: re.search(r"completed [1-9]", probe("status", url, "again"))
    wait_until(worker_done)
    node.kill()
    os.unlink(node.unix)
    spawn([TTG, "node", "--data", node.data, "--unix", node.unix, "--log-level", "ERROR"])
    assert worker.wait() == 0, worker.out()
    assert waiting.wait() == 0
    assert f"completed 100 dead 0 params 1000 failures 0 sum {squares(0, 999)}" in waiting.out()


# ---- names and headers

@test
def the_library_exports_what_the_header_declares():
    declared = set()
    for header in ("ttg/ttg.h", "ttg/state.h"):
        with open(os.path.join(INCLUDE, header), encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        declared |= set(re.findall(r"TTG_API[^;]*?\b(ttg_\w+)\(", text))
    with open(os.path.join(ROOT, "src/lib/libttg.map"), encoding="utf-8") as file:
        listed = set(re.findall(r"\b(ttg_\w+);", file.read()))
    assert declared == listed, declared ^ listed
    shared = run(["nm", "-D", "--defined-only", os.path.join(BUILD, "libttg.so")]).out
    exported = set(re.findall(r" [TDBR] (\S+)", shared))
    assert exported == {f"{name}@@TTG_0.1" for name in listed} | {"TTG_0.1"} - {"TTG_0.1"}, exported


@test
def headers_stand_alone_in_c_and_cpp():
    where = temp_dir()
    for header in sorted(os.listdir(os.path.join(INCLUDE, "ttg"))):
        text = f"#include <ttg/{header}>\n#include <ttg/{header}>\n"
        for compiler, name, standard in (("cc", "x.c", "c99"), ("cc", "x.c", "c11"),
                                         ("c++", "x.cc", "c++11"), ("c++", "x.cc", "c++20")):
            path = write_file(os.path.join(where, name), text + "int main(void) { return 0; }\n")
            run([compiler, f"-std={standard}", *WARN, "-Wshadow", "-Wconversion", "-fsyntax-only",
                 "-I", INCLUDE, path])


@test
def a_cpp_program_links():
    where = temp_dir()
    os.symlink(os.path.join(BUILD, "libttg.so"), os.path.join(where, "libttg.so.0"))
    path = write_file(os.path.join(where, "x.cc"), """#include <ttg/ttg.h>
static int run(void *, struct ttg_call *call) { ttg_sum(call, call->end); return TTG_DONE; }
int main()
{
    ttg_worker_options options{};
    ttg_worker *worker = nullptr;
    options.size = sizeof options;
    options.run = run;
    return ttg_worker_open(&worker, nullptr, nullptr, &options) == TTG_EINVAL ? 0 : 1;
}
""")
    run(["c++", "-std=c++17", *WARN, *flags(), "-I", INCLUDE, "-o", f"{where}/x", path,
         os.path.join(BUILD, "libttg.so")])
    run([f"{where}/x"], env={"LD_LIBRARY_PATH": where})


@test
def nothing_is_printed_and_signals_stay_as_they_were():
    where = temp_dir()
    os.symlink(os.path.join(BUILD, "libttg.so"), os.path.join(where, "libttg.so.0"))
    path = write_file(os.path.join(where, "x.c"), """#include <signal.h>
#include <ttg/ttg.h>
static int run(void *state, struct ttg_call *call)
{
    (void)state;
    ttg_fail(call, "no");
    return TTG_PERMANENT;
}
int main(int argc, char **argv)
{
    struct ttg_worker_options o = {.size = sizeof o, .run = run};
    struct ttg_job_options j = {.size = sizeof j, .params = 10, .chunk_params = 1};
    ttg_queue *q;
    ttg_worker *w;
    struct sigaction before[32], sa;
    int changed = 0;
    for (int signo = 1; signo < 32; signo++)
        sigaction(signo, 0, &before[signo]);
    if (argc != 2 || ttg_queue_open(&q, argv[1], 0) || ttg_job_submit(q, "x", &j) ||
        ttg_worker_open(&w, q, "x", &o) || ttg_worker_run(w))
        return 1;
    for (int signo = 1; signo < 32; signo++)
        if (sigaction(signo, 0, &sa) == 0 && sa.sa_handler != before[signo].sa_handler)
            changed = signo;
    ttg_worker_close(w);
    ttg_queue_close(q);
    return changed;
}
""")
    run(["cc", "-std=gnu11", *WARN, *flags(), "-I", INCLUDE, "-o", f"{where}/x", path,
         os.path.join(BUILD, "libttg.so")])
    done = run([f"{where}/x", node_url()], env={"LD_LIBRARY_PATH": where})
    assert done.out == "" and done.err == "", done


main()

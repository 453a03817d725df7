#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ttg run: one line that computes everything once, whatever dies."""
import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import time

from harness import TTG, alive, main, nobody_silent, skip, spawn, test, wait_until, write_file
from jobrig import Jobs, bars, children, counted, kill_all


SOAK = bool(os.environ.get("SOAK"))


def resident(pid):
    """Bytes; 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def lines_of(out):
    return [json.loads(line) for line in out.splitlines()]


@test
def a_job_to_standard_output():
    j = Jobs()
    done = j.run("run", "--params", 1000, "--chunk", 30, "--simulate-ms", 0, "-w", 2,
                 err="34 of 34 chunks, verified")
    rows = lines_of(done.out)
    assert sorted(int(r["chunk_id"]) for r in rows) == list(range(34))
    assert sum(r["result_summary"]["sum"] for r in rows) == 499500
    assert j.kept() == [], "a complete job leaves its directory"


@test
@nobody_silent
def the_summary_is_one_line_of_json():
    j = Jobs()
    s = j.json("run", "--params", 100, "--chunk", 10, "--simulate-ms", 0, "-w", 2, "-o", j.output)
    assert s["chunks"] == s["completed"] == s["lines"] == s["attempts"] == 10, s
    assert s["sum"] == 4950 and s["verified"] is True and s["dead_letters"] == 0, s
    for name in ("job", "reclaimed", "stale_dropped", "workers_lost", "params", "seconds",
                 "params_per_second"):
        assert name in s, name
    assert not os.path.exists(j.output + ".cursor")


@test
def results_in_order():
    j = Jobs()
    done = j.run("run", "--params", 40, "--chunk", 1, "-w", 3, "--ordered", "--",
                 "sh", "-c", "[ $(({chunk} % 3)) != 0 ] || sleep 0.02; echo {start}")
    assert [r["output"] for r in lines_of(done.out)] == [f"{n}\n" for n in range(40)]


@test
def ranges():
    j = Jobs()
    s = j.json("run", "--range", "-5..5", "--chunk", 3, "--simulate-ms", 0, "-o", j.output)
    assert s["sum"] == 0 and s["params"] == 11 and s["chunks"] == 4, s
    os.unlink(j.output)
    top = 9223372036854775807
    s = j.json("run", "--range", f"{top - 9}..{top}", "--chunk", 5, "--simulate-ms", 0,
               "-o", j.output)
    assert s["sum"] == sum(range(top - 9, top + 1)), s
    os.unlink(j.output)
    s = json.loads(j.run("run", "--json", "--range", f"0..{top}", "--chunk", top, "-o", j.output, "--",
                         "echo", "{start}-{end}").out)
    assert s["params"] == 2**63 and s["completed"] == 2, s
    assert sorted(r["output"] for r in j.lines()) == [f"0-{top - 1}\n", f"{top}-{top}\n"], j.lines()
    j.run("run", "--range", f"-1..{top}", code=2, err=r"more than 2\^63 parameters")
    j.run("run", "--range", "5..1", code=2, err="the last parameter is below the first")
    j.run("run", "--range", "1", code=2, err=r"write it as A\.\.B")
    j.run("run", "--params", 5, "--range", "1..2", code=2, err="exclude each other")
    huge = j.spawn("run", "--range", f"0..{top - 1}", "--chunk", 10**15, "--simulate-ms", 0.001,
                   "-w", 1)
    wait_until(lambda: j.kept() and children(huge.pid, "worker"), what="a worker of a huge job")
    kill_all(huge)


@test
def an_output_that_is_too_large_is_refused_with_what_to_do():
    j = Jobs()
    done = j.run("run", "--params", 1, "--max-attempts", 1, "--", "head", "-c", "2M", "/dev/zero",
                 code=1, err=r"output over the limit of 1048576 bytes \(--output-max\)")
    assert done.err.count("ERROR chunk.dead") == 1, done.err
    j.run("run", "--params", 1, "--output-max", "100MiB", "--", "head", "-c", "65M", "/dev/zero",
          code=1, err="output of 68157440 bytes; a queue takes 64 MiB of a chunk at most: make "
                      "chunks smaller")


@test
def workers_without_run_and_node_do_not_linger():
    j = Jobs()
    p = j.spawn("run", "--params", 4, "--chunk", 1, "-w", 2, "--drain", 600, "--", "sleep", 600)
    wait_until(lambda: len(children(p.pid, "worker")) == 2 and  # a guard and a command each
               all(len(children(w)) == 2 for w in children(p.pid, "worker")), what="two commands")
    workers, (node,) = list(children(p.pid, "worker")), children(p.pid, "node")
    started = time.monotonic()
    for pid in (p.pid, node):
        os.kill(pid, signal.SIGKILL)
    p.wait()
    wait_until(lambda: not any(alive(w) for w in workers), what="the workers are gone")
    assert time.monotonic() - started > 4, "a queue may be back in a moment"


@test
def few_chunks_and_many_workers():
    j = Jobs()
    assert len(lines_of(j.run("run", "--params", 1, "-w", 4, "--simulate-ms", 0).out)) == 1
    assert len(lines_of(j.run("run", "--params", 2, "--chunk", 1, "-w", 8, "--simulate-ms", 0).out)) == 2
    j.run("run", "--params", 0, code=2)


@test
def without_workers_others_do_it():
    j = Jobs()
    place = j.path("place")
    p = j.spawn("run", "-q", f"embedded:{place}", "--params", 20, "--chunk", 2, "-w", 0,
                "--simulate-ms", 0, "-o", j.output)
    socket = os.path.join(place, "node.sock")
    wait_until(lambda: os.path.exists(socket), what="the node's socket")
    p.wait_for(f"run.no_workers .*{socket}")
    j.run("worker", "-q", f"ttg+unix:{socket}", "--simulate-ms", 0)
    assert p.wait() == 0
    assert sorted(j.chunks()) == list(range(10))


@test
def lines_of_a_file():
    j = Jobs()
    text = b"one\r\ntwo\nthree three\n\nlast"
    plain = write_file(j.path("in"), text)
    packed = write_file(j.path("in.gz"), gzip.compress(text))
    nul = write_file(j.path("nul"), b"a b\0c\nd\0e")
    command = ["--chunk", 2, "-w", 2, "--ordered", "--", "cat"]

    def outputs(*words, **more):
        return [r["output"] for r in lines_of(j.run("run", *words, *command, **more).out)]
    wanted = outputs("--input", plain)
    assert "".join(wanted).replace("\r", "") == "one\ntwo\nthree three\n\nlast\n", wanted
    assert outputs("--input", packed) == wanted
    assert outputs("--input", "-", stdin=text) == wanted
    if subprocess.run(["zstd", "-qf", plain, "-o", plain + ".zst"], check=False).returncode == 0:
        assert outputs("--input", plain + ".zst") == wanted
    assert "".join(outputs("-0", "--input", nul)) in ("a b\0c\nd\0e\0", "a b\nc\nd\ne\n"), \
        outputs("-0", "--input", nul)
    j.run("run", "--input", j.path("nope"), "--", "cat", code=2, err="nope: No such file")


@test
def a_file_of_a_gigabyte():
    """Plain and packed; whoever reads it keeps a piece of it in memory."""
    if not SOAK:
        skip("it takes 4 GB of disk and some minutes: SOAK=1")
    j, lines, block = Jobs(), 10 ** 7, 10 ** 5
    want = [hashlib.md5() for _ in range(lines // block)]
    for path, opener in ((j.path("big"), open), (j.path("big.gz"), lambda *w: gzip.open(*w, compresslevel=1))):
        with opener(path, "wb") as file:
            for i, digest in enumerate(want):
                text = b"".join(b"%0119d\n" % n for n in range(i * block, (i + 1) * block))
                file.write(text)
                if opener is open:
                    digest.update(text)
        p = j.spawn("run", "--input", path, "--chunk", block, "-w", 2, "-o", path + ".out", "--", "md5sum")
        most = 0
        while p.code() is None:
            pids = [p.pid, *children(p.pid)]
            most = max([most, *(resident(pid) for pid in pids)])
            time.sleep(0.02)  # how often to look
        assert p.wait() == 0, p.err()
        assert {int(l["chunk_id"]): l["output"].split()[0] for l in j.lines(path + ".out")} == \
            {i: digest.hexdigest() for i, digest in enumerate(want)}
        assert most < 64 << 20, f"{most} bytes resident"


@test
def parameters_as_arguments_and_output_as_it_is():
    j = Jobs()
    names = write_file(j.path("names"), "a b\0new\nline\0$(id)\0")
    job = ("run", "--input", names, "--null", "--ordered", "--raw")
    assert j.run(*job, "--chunk", 2, "--", "printf", "<%s>", "{}").out == "<a b><new\nline><$(id)>"
    assert j.run(*job, "--chunk", 1, "--", "printf", "%s,", "to/{param}.png").out == \
        "to/a b.png,to/new\nline.png,to/$(id).png,"
    j.run(*job, "--", "printf", "x{param}", code=2, err="add --chunk 1")
    j.run(*job, "--output", j.path("out"), "--", "cat", code=2, err="not with --output")


@test
def a_worker_killed_within_a_chunk():
    j = Jobs()
    parent, ended = j.path("parent"), j.path("ended")
    os.mkdir(ended)
    p = j.spawn("run", "--params", 600, "--chunk", 20, "-w", 3, "--json", "-o", j.output, "--", "sh", "-c",
                "[ {chunk} != 9 ] || [ {attempt} != 1 ] || "
                f"{{ echo $PPID >{parent}.new; mv {parent}.new {parent}; sleep 600; }}; cat; : >{ended}/{{chunk}}")
    wait_until(lambda: os.path.exists(parent), what="the middle of chunk 9")
    # Or the chunk before it is the one to blame, if its result is on its way still.
    before = [int(name) for name in os.listdir(ended)]
    wait_until(lambda: set(before) <= set(j.chunks()), what="the results before")
    with open(parent, encoding="ascii") as file:
        os.kill(int(file.read()), signal.SIGKILL)
    assert p.wait() == 0, p.err()
    s = json.loads(p.out())
    assert s["completed"] == 30 and s["verified"] is True, s
    assert s["workers_lost"] >= 1 and s["reclaimed"] >= 1 and s["attempts"] > 30, s
    assert sorted(j.chunks()) == list(range(30))
    assert j.lines()[j.chunks().index(9)]["attempt"] == 2


@test
def a_node_killed_within_a_job():
    j = Jobs()
    command, _ = counted(j, until=j.path("go"), after=60)
    p = j.spawn("run", "--params", 3000, "--chunk", 20, "-w", 3, "--json", "-o", j.output, "--", *command)
    wait_until(lambda: len(j.lines()) >= 3, what="some results")
    (node,) = children(p.pid, "node")
    os.kill(node, signal.SIGKILL)
    wait_until(lambda: set(children(p.pid, "node")) - {node}, what="another node")
    write_file(j.path("go"))
    assert p.wait() == 0, p.err()
    s = json.loads(p.out())
    assert s["completed"] == 150 and s["verified"] is True and sorted(j.chunks()) == list(range(150)), s
    assert sorted(n for r in j.lines() for n in map(int, r["output"].split())) == list(range(3000))


def killed_and_resumed(how):
    """What was committed is not computed again, and no line is missing or doubled."""
    j = Jobs()
    command, executions = counted(j, until=j.path("go"), after=30)
    words = ["run", "--params", 60, "--chunk", 1, "-w", 2, "-o", j.output, "--"]
    p = j.spawn(*words, *command)
    wait_until(lambda: len(j.lines()) >= 10, what="ten results")
    how(p)
    seen = j.lines()
    write_file(j.path("go"))
    words.insert(1, "--resume")
    words.insert(1, "--json")
    s = json.loads(j.run(*words, *command).out)
    assert s["completed"] == s["lines"] == 60 and s["verified"] is True, s
    assert sorted(j.chunks()) == list(range(60))
    assert j.lines()[:len(seen)] == seen
    runs = executions()
    known = {int(line["chunk_id"]) for line in seen}
    again = sorted(chunk for chunk in set(runs) if runs.count(chunk) > 1)
    assert set(runs) == set(range(60)) and not known & set(again), (again, sorted(known))
    assert all(runs.count(chunk) == 2 for chunk in again), sorted(runs)
    assert j.kept() == []


@test
@nobody_silent
def everything_killed_and_resumed():
    killed_and_resumed(kill_all)


@test
@nobody_silent
def run_alone_killed_and_resumed_at_once():
    def alone(p):
        p.kill()
        p.wait()
    killed_and_resumed(alone)


@test
@nobody_silent
def old_workers_end_their_chunks_beside_new_ones():
    j = Jobs()
    command, executions = counted(j, until=j.path("go"))
    words = ["--params", 6, "--chunk", 1, "-w", 2, "-o", j.output, "--", *command]
    p = j.spawn("run", *words)
    wait_until(lambda: len(executions()) >= 2, what="two chunks to start")
    p.kill()
    p.wait()
    p = j.spawn("run", "--resume", "--json", *words)
    wait_until(lambda: len(executions()) >= 4, what="two more beside them")
    write_file(j.path("go"))
    assert p.wait() == 0, p.err()
    s = json.loads(p.out())
    assert s["completed"] == 6 and s["verified"] is True and s["workers_lost"] == 0, s
    assert sorted(executions()) == list(range(6)), executions()
    assert {r["worker_id"] for r in j.lines()} >= {"worker-0", "worker-2"}, j.lines()


@test
@nobody_silent
def ctrl_c_drains_and_says_how_to_resume():
    j = Jobs()
    command, executions = counted(j, sleep="0.2")
    p = j.spawn("run", "--params", 40, "--chunk", 1, "-w", 2, "-o", j.output, "--", *command)
    wait_until(lambda: len(executions()) >= 4, what="four chunks to start")
    p.kill(signal.SIGINT)
    assert p.wait() == 130, p.err()
    assert "--resume" in p.err() and j.kept()[0] in p.err(), p.err()
    assert len(j.lines()) == len(executions()), "what ran was finished and written"
    s = json.loads(j.run("run", "--resume", "--json", "--params", 40, "--chunk", 1, "-w", 2,
                         "-o", j.output, "--", *command).out)
    assert s["attempts"] == s["completed"] == 40 and s["verified"] is True, s
    assert sorted(executions()) == list(range(40))


@test
def ctrl_c_twice_stops_at_once():
    j = Jobs()
    command, executions = counted(j, sleep="600")
    p = j.spawn("run", "--params", 4, "--chunk", 1, "-w", 2, "--", *command)
    wait_until(lambda: len(executions()) >= 2, what="two chunks to start")
    p.kill(signal.SIGINT)
    p.wait_for("once more to stop at once")
    p.kill(signal.SIGINT)
    assert p.wait() == 130, p.err()


@test
def other_output_is_not_touched():
    j = Jobs()
    mine = write_file(j.path("mine"), "my diary\n")
    words = ["--params", 10, "--simulate-ms", 0, "-o", mine]
    j.run("run", *words, code=2, err="not empty")
    j.run("run", "--resume", *words, code=2, err="no cursor")
    with open(mine, encoding="ascii") as file:
        assert file.read() == "my diary\n"
    j.run("run", "--params", 10, "--simulate-ms", 0, "-o", j.path("no/such/dir"), code=3,
          err="cannot open the output")


@test
def an_output_that_others_change_is_no_success():
    for change in (os.unlink, lambda path: os.truncate(path, 10), lambda path: os.rename(path, path + "2")):
        j = Jobs()
        go = j.path("go")
        command, executions = counted(j, until=go, after=20)
        p = j.spawn("run", "--params", 40, "--chunk", 1, "-w", 2, "-o", j.output, "--", *command)
        wait_until(lambda: len(j.lines()) == 20 and len(executions()) == 22, what="half of the job")
        change(j.output)
        write_file(go)
        assert p.wait() == 3, p.err()
        assert "while it was written" in p.err() and "verified" not in p.err(), p.err()


@test
def another_command_does_not_resume():
    j = Jobs()
    words = ["run", "--params", 4, "--chunk", 1, "-w", 1, "--max-attempts", 1, "-o", j.output, "--"]
    j.run(*words, "false", code=1)
    j.run(words[0], "--resume", *words[1:], "true", code=2, err="another command or kernel; to go on")
    assert len(j.kept()) == 1


@test
def a_worker_that_says_wrong_usage_ends_the_run_so():
    j = Jobs()
    j.run("run", "--params", 4, "--plugin", write_file(j.path("no.so"), "no\n"), "-o", j.output, code=2,
          err="cannot load plugin")


@test
def a_reader_that_goes():
    j = Jobs()
    command = f"{TTG} run --params 3000 --chunk 1 --simulate-ms 0.1 -w 2 | head -n 3"
    p = spawn(["bash", "-c", f"set -o pipefail; {command}"], env=j.env)
    assert p.wait() == 3, p.err()
    assert len(lines_of(p.out())) == 3
    assert "closed by its reader" in p.err() and "--resume" in p.err(), p.err()
    done = j.run("run", "--resume", "--params", 3000, "--chunk", 1, "--simulate-ms", 0.1, "-w", 2)
    assert sorted(int(r["chunk_id"]) for r in lines_of(done.out)) == list(range(3000))


@test
def a_limit_for_the_size_of_files_is_a_full_disk():
    j = Jobs()
    words = ["run", "--params", 20000, "--chunk", 1, "-w", 2, "--simulate-ms", 0, "-o", j.output]
    limited = ["bash", "-c", 'ulimit -f 2048; exec "$0" "$@"', TTG]
    p = spawn([*limited, *words], env=j.env)
    p.wait_for("output.full")
    p.kill(signal.SIGTERM)
    assert p.wait() == 143, p.err()
    j.run("run", "--resume", *words[1:], err="20000 of 20000 chunks, verified")
    assert len(j.chunks()) == len(set(j.chunks())) == 20000
    command = "ulimit -f 1; head -c 9999 /dev/zero >$HOME/file; echo $?"
    done = j.run("run", "--params", 1, "--raw", "--", "sh", "-c", command)
    assert done.out == f"{128 + signal.SIGXFSZ}\n", done.out # as without us


@test
@nobody_silent
def dead_letters_keep_the_job():
    j = Jobs()
    flag = j.path("flag")
    command = ["sh", "-c", f"[ $TTG_CHUNK != 3 ] || [ -e {flag} ] || {{ echo why >&2; exit 1; }}; cat"]
    words = ["--params", 8, "--chunk", 1, "-w", 2, "--max-attempts", 2, "--retry-delay", 0,
             "--joblog", j.path("log"), "-o", j.output, "--", *command]
    s = json.loads(j.run("run", "--json", *words, code=1, err="job.kept").out)
    assert s["dead_letters"] == 1 and s["completed"] == 7 and s["verified"] is True, s
    assert len(j.kept()) == 1
    letter = json.loads(j.run("dlq", "list", "--json").out)
    assert letter["chunk"] == 3 and letter["attempts"] == 2 and "why" in letter["reason"], letter
    write_file(flag)
    j.run("dlq", "redrive", "--all", out="1 chunks")
    s = json.loads(j.run("run", "--resume", "--json", *words).out)
    assert s["completed"] == s["lines"] == 8 and s["dead_letters"] == 0, s
    assert sorted(j.chunks()) == list(range(8)) and j.kept() == []
    with open(j.path("log"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert rows[0] == ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval",
                       "Signal", "Command"], rows
    assert sorted(int(r[0]) for r in rows[1:]) == [1, 2, 3, 4, 4, 5, 6, 7, 8], rows
    assert [r[6] for r in rows if r[0] == "4"] == ["1", "0"], rows


@test
def a_job_log_without_a_command():
    j = Jobs()
    j.run("run", "--params", 3, "--chunk", 1, "--simulate-ms", 0, "--joblog", j.path("log"), "-o", j.output)
    with open(j.path("log"), encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert [r[8] for r in rows[1:]] == ["simulate 0 ms"] * 3, rows


@test
def ordered_results_of_stopped_jobs():
    j = Jobs()
    flag, go = j.path("flag"), j.path("go")
    command = ["sh", "-c", f"[ $TTG_CHUNK != 3 ] || [ -e {flag} ] || exit 100; "
               f"until [ $TTG_CHUNK -lt 12 ] || [ -e {go} ]; do sleep 0.02; done; sleep 0.02; cat"]
    words = ["--ordered", "--params", 30, "--chunk", 1, "-w", 3, "-o", j.output, "--", *command]
    p = j.spawn("run", *words)
    wait_until(lambda: len(j.lines()) >= 3, what="three results")
    kill_all(p)
    write_file(go)
    j.run("run", "--resume", *words, code=1, err="29 of 30 chunks, verified")
    assert j.chunks() == [n for n in range(30) if n != 3], j.chunks()
    write_file(flag)
    j.run("dlq", "redrive", "--all")
    j.run("run", "--resume", *words, err="30 of 30 chunks, verified")
    assert j.chunks() == [n for n in range(30) if n != 3] + [3], "what came late is at the end"


@test
def a_changed_input_is_refused():
    j = Jobs()
    source = write_file(j.path("in"), "".join(f"{n}\n" for n in range(40)))
    command, executions = counted(j, until=j.path("go"), after=2)
    words = ["--input", source, "--chunk", 1, "-w", 2, "-o", j.output, "--", *command]
    p = j.spawn("run", *words)
    wait_until(lambda: len(executions()) >= 4 and j.lines(), what="four chunks")
    kill_all(p)
    write_file(source, "".join(f"{n + 1}\n" for n in range(40)))
    j.run("run", "--resume", *words, code=2, err="changed")


@test
def progress_in_lines():
    j = Jobs()
    done = j.run("run", "--progress", "--params", 20, "--chunk", 1, "-w", 1, "--simulate-ms", 80,
                 "-o", j.output)
    shown = re.findall(r"^ttg: (\d+\.\d) %  (\d+)/20 chunks", done.err, re.M)
    assert shown and shown[-1] == ("100.0", "20"), done
    assert "chunks" not in j.run("run", "--no-progress", "--params", 2, "--simulate-ms", 0).err \
        .replace("of 1 chunks", "")


@test
def the_bar_fits_the_terminal():
    """What goes over the edge stays there, line by line."""
    j = Jobs()
    for columns, least in ((20, "%  "), (60, "chunks"), (120, "[#")):
        shown = bars(columns, ["run", "--params", 30, "--chunk", 1, "-w", 1, "--simulate-ms", 20],
                     j.env)
        assert any(least in bar for bar in shown), shown
        assert max(map(len, shown)) < columns, shown


@test
def wrong_commands_say_so_at_once():
    j = Jobs()
    j.run("run", "--params", 5, "--", "no-such-command", code=2, err="no-such-command")
    j.run("run", "--params", 5, "--plugin", "/no/such.so", code=None, err="no/such.so")
    for line in ("echo {} | wc -c", "/bin/echo {} >x"):
        j.run("run", "--params", 5, "--", line, code=2, err="sh -c")
    assert j.kept() == []


@test
def a_node_that_does_not_start_says_where_to_look():
    j = Jobs()
    place = os.path.join(j.dir, "place")
    os.mkdir(place)
    write_file(os.path.join(place, "node"), "a file where the directory should be\n")
    j.run("run", "--params", 5, "--queue", f"embedded:{place}", code=3,
          err="ttg run: node ended with exit code 3 .*messages above")


@test
def a_wrong_address_is_told_once():
    """Each process has two connections."""
    j = Jobs()
    for words in (["run", "--params", 5], ["worker"]):
        done = j.run(*words, "--queue", "ttg+unix:nowhere", "--queue-retry", 4, code=3,
                     err="no connection to")
        assert done.err.count("queue.unreachable") == 1, done


@test
def what_to_compute_is_not_guessed():
    """`seq 5 | ttg run -- CMD {}`: the lines were meant, not 10,000 numbers."""
    j = Jobs()
    j.run("run", "--", "echo", "{}", code=2, err="--input -")
    j.run("submit", "--queue", "redis://127.0.0.1:1", "--", "echo", code=2, err="--input -")
    assert j.kept() == []
    j.env["TOTAL_PARAMETERS"] = "3"
    j.run("run", "--", "echo", err="3 parameters")


main()

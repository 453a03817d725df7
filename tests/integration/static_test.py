#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Static mode: `ttg worker` on its own."""
import json
import os
import re
import signal

from harness import ROOT, TTG, alive, main, run, spawn, temp_dir, test, wait_until, write_file

QUIET = {"QUEUE_MODE": "false", "SIMULATE_WORK_MS": "0", "XDG_CONFIG_HOME": "/nonexistent",
         "TTG_CONFIG": None}
MAX = 2**63 - 1


def worker(*words, code=0, err=None, **env):
    """Runs a worker to its end; its lines of output as objects, and the rest as Done."""
    done = run([TTG, "worker", *words], code=code, err=err, env={**QUIET, **env})
    return [json.loads(line) for line in done.out.splitlines()], done


def one(*words, **rest):
    lines, _ = worker(*words, **rest)
    assert len(lines) == 1, lines
    return lines[0]


@test
def three_workers_add_up():
    ranges, total = [], 0
    for i in range(3):
        result = one(WORKER_ID=i, TOTAL_WORKERS=3, TOTAL_PARAMETERS=10000)
        ranges.append((result["start_param"], result["end_param"]))
        total += result["result_summary"]["sum"]
        assert result["worker_id"] == f"worker-{i}" and result["status"] == "complete"
        assert result["chunk_id"] == f"{i:05}" and result["attempt"] == 1
        assert result["params_processed"] == result["result_summary"]["count"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["completed_at"])
        assert isinstance(result["duration_seconds"], float)
    assert ranges == [(0, 3333), (3334, 6666), (6667, 9999)]
    assert total == 49995000


@test
def the_playbooks_defaults_hold():
    result = one(SIMULATE_WORK_MS="0.001")
    assert (result["start_param"], result["end_param"]) == (0, 3333)
    assert one(JOB_COMPLETION_INDEX=2)["start_param"] == 6667
    assert one(JOB_COMPLETION_INDEX=2, WORKER_ID=1)["start_param"] == 3334


@test
def odd_sizes_are_right_or_refused():
    assert one(TOTAL_PARAMETERS=1)["result_summary"] == {"sum": 0, "count": 1}
    nothing = one(TOTAL_PARAMETERS=1, WORKER_ID=2, err="more workers than parameters")
    assert nothing["params_processed"] == 0 and "start_param" not in nothing
    everything = one(TOTAL_PARAMETERS=MAX, TOTAL_WORKERS=1, CHUNK_SIZE=MAX)
    assert everything["end_param"] == MAX - 1
    assert everything["result_summary"] == {"sum": MAX * (MAX - 1) // 2, "count": MAX}
    last = one(TOTAL_PARAMETERS=MAX, TOTAL_WORKERS=3, WORKER_ID=2, CHUNK_SIZE=10**18)
    assert last["end_param"] == MAX - 1 and last["chunks"] == 4
    worker(WORKER_ID=3, code=2, err="WORKER_ID 3 has to be below TOTAL_WORKERS 3")
    worker(TOTAL_PARAMETERS=MAX + 1, code=2, err=f"TOTAL_PARAMETERS={MAX + 1} is out of range")
    worker("--coproc", code=2, err="--coproc needs a command")
    worker("--plugin", "x.so", "--", "cat", code=2, err="exclude each other")
    worker("--simulate-ms", "1", "--", "cat", code=2, err="exclude each other")
    worker("--plugin-arg", "x", code=2, err="--plugin-arg needs --plugin")


@test
def progress_comes_each_batch():
    _, done = worker(TOTAL_WORKERS=1, TOTAL_PARAMETERS=2000, BATCH_SIZE=500, CHUNK_SIZE=50)
    assert re.findall(r"worker\.progress .*?done=(\d+)", done.err) == ["500", "1000", "1500",
                                                                       "2000"]
    assert "worker=worker-0" in done.err and "worker.done" in done.err
    _, done = worker(LOG_FORMAT="json", TOTAL_WORKERS=1)
    for line in done.err.splitlines():
        assert json.loads(line)["worker"] == "worker-0"
    assert worker(LOG_LEVEL="ERROR")[1].err == ""


@test
def commands_get_their_chunks():
    lines, _ = worker("-n", "25", "-c", "10", "--", "sh", "-c",
                      "echo {start} {end} {chunk}; awk '{s += $1} END {print s}'", TOTAL_WORKERS=1)
    *chunks, total = lines
    assert [c["output"] for c in chunks] == ["0 9 0\n45\n", "10 19 1\n145\n", "20 24 2\n110\n"]
    assert [c["chunk_id"] for c in chunks] == ["00000", "00001", "00002"]
    assert total["params_processed"] == 25 and "result_summary" not in total
    lines, _ = worker("-n", "40", "-c", "10", "--slots", "4", "--coproc", "--", "python3", "-uc",
                      "import sys, json\n"
                      "for line in sys.stdin:\n"
                      "    t = json.loads(line)\n"
                      "    print(json.dumps({'sum': sum(range(t['start_param'], t['end_param'] + 1))}))\n",
                      TOTAL_WORKERS=1)
    assert lines[-1]["result_summary"] == {"sum": 780, "count": 40}


@test
def failing_chunks_are_tried_again_then_given_up():
    path = os.path.join(temp_dir(), "runs")
    lines, done = worker("-n", "30", "-c", "10", "--retry-delay", "1ms", "--max-attempts", "3",
                         "--", "sh", "-c",
                         f"echo {{chunk}} {{attempt}} >> {path}; [ {{chunk}} != 1 ]",
                         TOTAL_WORKERS=1, code=1)
    with open(path, encoding="ascii") as file:
        assert file.read().split("\n")[:-1] == ["0 1", "1 1", "1 2", "1 3", "2 1"]
    assert lines[-1]["status"] == "failed" and lines[-1]["params_processed"] == 20
    assert lines[-1]["dead_letters"] == 1
    assert re.search(r"chunk\.failed .*chunk=1 start=10 end=19 attempts=3", done.err), done
    # "do not retry"
    lines, done = worker("-n", "1", "--", "sh", "-c", "exit 100", TOTAL_WORKERS=1, code=1)
    assert "chunk.retry" not in done.err and lines[-1]["attempt"] == 1
    # Simulated faults are failed attempts like any other.
    result = one("--fault-rate", "0.5", "--max-attempts", "100", "--retry-delay", "0",
                 TOTAL_WORKERS=1, err="simulated fault")
    assert result["result_summary"]["sum"] == 49995000 and result["attempt"] > 1


@test
def bad_commands_are_refused_before_anything_runs():
    for words, says in [(["--", "/nonexistent/x"], "/nonexistent/x"),
                        (["--", "no-such-command-anywhere"], "no-such-command-anywhere"),
                        (["--plugin", "/nonexistent.so"], "/nonexistent.so")]:
        lines, _ = worker(*words, code=2, err=re.escape(says))
        assert not lines
    path = write_file(os.path.join(temp_dir(), "plain"), "#!/bin/sh\n", mode=0o644)
    worker("--", path, code=2, err="plain")


@test
def a_job_without_a_queue_is_not_computed_alone():
    """Who forgot TTG_QUEUE does not get a part of 10,000 other parameters."""
    lines, _ = worker("--job", "sweep", "--", "cat", code=2, err="--queue URL or TTG_QUEUE")
    assert not lines


def stopped(number, code, *words, **env):
    child = spawn([TTG, "worker", *words], env={**QUIET, **env})
    child.wait_for(r"worker\.progress" if "SIMULATE_WORK_MS" in env else r"worker\.started")
    child.kill(number)
    assert child.wait() == code, child.err()
    lines = [json.loads(line) for line in child.out().splitlines()]
    return lines, child.err()


@test
def a_signal_stops_it_between_chunks():
    for number, code in [(signal.SIGTERM, 143), (signal.SIGINT, 130)]:
        (result,), err = stopped(number, code, SIMULATE_WORK_MS="1", CHUNK_SIZE=10, BATCH_SIZE=10,
                                 TOTAL_WORKERS=1, TOTAL_PARAMETERS=1000000)
        done = result["params_processed"]
        assert result["status"] == "stopped" and 0 < done < 1000000 and done % 10 == 0
        assert result["result_summary"] == {"sum": done * (done - 1) // 2, "count": done}
        assert re.search(rf"worker\.stopped .*done={done} .*not_done={1000000 - done} ", err), err
        assert '"complete"' not in json.dumps(result) and "worker.done" not in err


@test
def the_chunk_at_hand_gets_the_drain_time():
    # It ends within the time and counts.
    path = os.path.join(temp_dir(), "go")
    child = spawn([TTG, "worker", "-n", "2", "-c", "1", "--total-workers", "1", "--", "sh", "-c",
                   f"touch {path}.started; until [ -e {path} ]; do sleep 0.01; done; echo ok"],
                  env=QUIET)
    wait_until(lambda: os.path.exists(path + ".started"))
    child.kill(signal.SIGTERM)
    child.wait_for(r"worker\.stopping")
    write_file(path)
    assert child.wait() == 143
    lines = [json.loads(line) for line in child.out().splitlines()]
    assert [line.get("output") for line in lines] == ["ok\n", None]
    assert lines[-1]["params_processed"] == 1 and lines[-1]["status"] == "stopped"


@test
def a_chunk_past_the_drain_time_is_ended():
    pid = os.path.join(temp_dir(), "pid")
    for words, signals in [(["--drain", "0.1"], 1), (["--drain", "1h"], 2)]:
        child = spawn([TTG, "worker", "-n", "1", "--total-workers", "1", *words, "--", "sh", "-c",
                       f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000"], env=QUIET)
        wait_until(lambda: os.path.exists(pid))
        with open(pid, encoding="ascii") as file:
            command = int(file.read())
        child.kill(signal.SIGTERM)
        if signals == 2:
            child.wait_for(r"worker\.stopping")
            child.kill(signal.SIGTERM)
        assert child.wait() == 143
        result = json.loads(child.out())
        assert result["status"] == "stopped" and result["params_processed"] == 0
        wait_until(lambda: not alive(command))
        os.unlink(pid)


@test
def a_plugin_that_never_returns_does_not_hold_the_worker():
    top = temp_dir()
    source = write_file(os.path.join(top, "hang.c"), """
        #include <ttg/plugin.h>
        #include <unistd.h>
        static int run(void *state, struct ttg_call *call)
        {
            (void)state;
            while (call->chunk == 1)
                pause();
            ttg_sum(call, 1);
            return TTG_DONE;
        }
        TTG_PLUGIN(.name = "hang", .run = run);
    """)
    run(["cc", "-shared", "-fPIC", "-I", os.path.join(ROOT, "include"), "-o", top + "/hang.so",
         source])
    child = spawn([TTG, "worker", "-n", "30", "-c", "10", "--total-workers", "1", "--drain", "0.2",
                   "--plugin", top + "/hang.so", "--batch", "10"], env=QUIET)
    child.wait_for(r"worker\.progress")
    child.kill(signal.SIGTERM)
    assert child.wait() == 143, child.err()
    result = json.loads(child.out())
    assert result["status"] == "stopped" and result["params_processed"] == 10
    assert "plugin.wedged" in child.err()


@test
def a_signal_during_a_pause_ends_it_at_once():
    (result,), err = stopped(signal.SIGTERM, 143, "--retry-delay", "1h", "--", "false")
    assert result["status"] == "stopped" and result["params_processed"] == 0
    assert "not_done=3334" in err


def shell(line, **checks):
    return run(["bash", "-c", line], env={"TTG": TTG, **QUIET}, **checks)


@test
def broken_output_is_noticed():
    shell("$TTG worker > /dev/full", code=3, err="standard output: No space left on device")
    shell("$TTG worker >&-", code=3, err="standard output is closed")
    # With a command each line is written when it is there, so the rest of the work is not done.
    shell("set -o pipefail; $TTG worker -n 10000000 -c 1 -- echo x | head -n 2 >/dev/null", code=3,
          err="standard output was closed by its reader")


@test
def a_full_disk_under_the_log_stops_nothing():
    for broken in ("2>/dev/full", "2>&-"):
        done = shell(f"$TTG worker --total-workers 1 {broken}")
        assert json.loads(done.out)["result_summary"]["sum"] == 49995000


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The harness keeps its promises: nothing it started survives, failures and skips are counted."""
import os
import re
import signal
import sys

from harness import (ROOT, alive, free_port, is_free, main, reserve, run, spawn, temp_dir, test, wait_until,
                     write_file)

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = f"""#!/usr/bin/python3
import sys
sys.path.insert(0, {HERE!r})
from harness import *
"""


def program(body):
    return write_file(os.path.join(temp_dir(), "inner_test.py"), HEAD + body, 0o755)


@test
def counts_passed_failed_and_skipped():
    path = program("""
@test
def good(): pass
@test
def bad():
    on_failure(lambda: "seen last")
    assert 1 == 2, "one is not two"
@test
def odd(): skip("no such thing here")
main()
""")
    done = run([path], code=1)
    assert "1..3" in done.out and "ok 1 - good" in done.out, done
    assert re.search(r"^not ok 2 - bad: one is not two \(\w+\.py:\d+\)$", done.out, re.M), done
    assert "# AssertionError: one is not two" in done.out and "# seen last" in done.out, done
    assert "ok 3 - odd # SKIP no such thing here" in done.out, done
    done = run([os.path.join(ROOT, "tools/run-tests"), path], code=1)
    assert done.out.endswith("1 passed, 1 failed, 1 skipped\n"), done


@test
def run_checks_code_and_output():
    run(["sh", "-c", "echo out; echo err >&2; exit 3"], code=3, out="^out$", err="^err$")
    for wrong in ({"code": 0}, {"code": 3, "out": "err"}, {"code": 3, "err": "^out"}):
        try:
            run(["sh", "-c", "echo out; echo err >&2; exit 3"], **wrong)
        except AssertionError:
            continue
        raise AssertionError(f"accepted {wrong}")
    assert run(["cat"], stdin=b"\xff\x00x").code == 0


BACKGROUND = """
@test
def leaves_things_running():
    p = spawn(["sh", "-c", "sleep 1000 & echo $! $$; wait"])
    print("#", p.wait_for(r"[0-9]+ [0-9]+").group(0), temp_dir(), flush=True)
    {then}
main()
"""


def started(process):
    words = process.wait_for(r"^# (\d+) (\d+) (/\S+)")
    return int(words.group(1)), int(words.group(2)), words.group(3)


@test
def nothing_survives_a_test():
    process = spawn([program(BACKGROUND.format(then="pass"))])
    pids = started(process)
    assert process.wait() == 0
    assert not os.path.exists(pids[2])
    # Killed they are; a busy machine takes its time to let them go.
    wait_until(lambda: not alive(pids[0]) and not alive(pids[1]), 10, "everything is gone")


@test
def nothing_survives_a_killed_test_program():
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = spawn([program(BACKGROUND.format(then="wait_until(lambda: False, 1000)"))])
        child, parent, directory = started(process)
        assert alive(child) and alive(parent)
        process.kill(number)
        process.wait()
        wait_until(lambda: not alive(child) and not alive(parent) and
                   not os.path.exists(directory), 10, "everything is gone")


@test
def the_guard_kills_no_number_that_has_gone_to_another():
    """A process that began at another time is another one."""
    process = spawn([program("""
import harness
@test
def tells_of_a_process_that_was_there_before():
    there = temp_dir()  # the guard runs, and looks for itself
    harness.start_time = lambda pid: 1
    print("#", spawn(["sleep", "1000"]).pid, 0, there, flush=True)
    wait_until(lambda: False, 1000)
main()
""")])
    other, _, directory = started(process)
    try:
        process.kill()
        wait_until(lambda: not os.path.exists(directory), what="the guard's work")
        assert alive(other), "a process that is somebody else's was killed"
    finally:
        if alive(other):
            os.kill(other, signal.SIGKILL)


@test
def who_gets_no_terminal_skips():
    path = program("""
import jobrig
def openpty(): raise OSError(2, "none to be had")
os.openpty = openpty
@test
def draws(): jobrig.bars(80, ["version"], {})
main()
""")
    run([path], out=r"^ok 1 - draws # SKIP no terminals here: .*none to be had")


@test
def a_port_is_given_to_one_program():
    port = free_port()
    asks = program(f"""
@test
def asks(): assert not reserve({port}), "it is somebody's"
main()
""")
    run([asks])
    assert not reserve(port)
    other = program("""
@test
def takes():
    port = next(p for p in range(12000, 32000) if reserve(p))
    print(port, flush=True)
    time.sleep(1000)
main()
""")
    holder = spawn([other])
    taken = int(holder.wait_for(r"^(\d{5})$").group(1))
    assert is_free(taken) and not reserve(taken)
    holder.kill()
    wait_until(lambda: reserve(taken), what="its port to be free again")


@test
def wait_until_has_a_deadline():
    try:
        wait_until(lambda: False, 0.05, "the impossible")
    except AssertionError as error:
        assert "the impossible" in str(error)
    else:
        raise AssertionError("waited for nothing and succeeded")


@test
def a_sanitizer_report_fails_the_test():
    path = program("""
@test
def reported():
    write = "import os; p = os.environ['ASAN_OPTIONS'].split(':')[0].split('=')[1];"
    run([sys.executable, "-c", write + "open(p + '.1', 'w').write('bad access')"])
main()
""")
    assert "not ok 1" in run([path], code=1).out


@test
def a_leak_check_that_was_killed_is_no_report():
    path = program("""
@test
def killed():
    write = "import os; p = os.environ['ASAN_OPTIONS'].split(':')[0].split('=')[1];"
    line = "==24923==Unable to get registers from thread 24894." + chr(92) + "n"
    run([sys.executable, "-c", write + "open(p + '.1', 'w').write('" + line + "')"])
main()
""")
    assert "ok 1" in run([path], code=0).out


assert sys.version_info >= (3, 9)
@test
def a_number_that_has_gone_to_another_is_not_killed():
    """A process that ended long ago is still closed at the end of the test; numbers come again."""
    other, ended = spawn(["sleep", "1000"]), spawn(["true"])
    ended.wait()
    ended.pid = other.pid
    ended.close()
    other.kill(signal.SIGTERM)
    assert other.wait() == -signal.SIGTERM, "a process that is somebody else's was killed"


main()

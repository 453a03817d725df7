#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`ttg demo --monitor`: the screen is taken and given back, and the story is told all the same."""
import os
import pty
import re
import select
import time

from demorig import Demo
from harness import DEADLINE_S, TTG, main, open_pty, test


def on_terminal(demo, *words):
    """What the demo writes to a terminal of its own, and its exit code."""
    for end in open_pty():  # or the test is skipped
        os.close(end)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({**demo.env, "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        os.execv(TTG, [TTG, "demo", *words])
    said, answered, deadline = b"", 0, time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            said += data
            while answered < said.count(b"press Enter"):  # which may come in two pieces
                os.write(fd, b"\n")
                answered += 1
    os.close(fd)
    return said.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@test
def the_monitor_shows_it_on_the_terminal():
    demo = Demo()
    said, code = on_terminal(demo, "--scale", "small", "--workers", "8", "--fault-demo", "--monitor",
                             "both")
    assert code == 0, said
    assert "dashboard: http://127.0.0.1:" in said, said
    assert said.count("\033[?1049h") == 2 and said.count("\033[?1049l") == 2, said
    screen = said[said.rindex("\033[?1049h"):said.rindex("\033[?1049l")]
    assert "complete" in screen and "1 loss" in re.sub(r"\033\[[0-9;]*m", "", screen), screen
    after = said[said.rindex("\033[?1049l"):]
    assert "taken over from the killed worker" in after and "took over chunk" in after, after
    demo.check_gone()


@test
def without_a_terminal_the_story_is_told_in_lines():
    demo = Demo()
    done = demo.run("--scale", "medium", "--fault-demo", "--monitor", "both")
    assert "is no terminal" in done.out and "\033" not in done.out, done
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+/#token=[0-9a-f]{32}$", done.out, re.M), done
    assert "took over chunk" in done.out, done
    demo.check_gone()


main()

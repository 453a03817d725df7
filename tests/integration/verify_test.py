#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ttg verify notices everything that is wrong with an output, with and without the queue."""
import json
import os

from harness import main, test, wait_until, write_file
from jobrig import Jobs, counted

SPEC = ["--params", 1000, "--chunk", 10]


class Finished(Jobs):
    """A finished job whose queue is still there, and its output."""

    def __init__(self, *kernel):
        kernel = kernel or ("--simulate-ms", 0)
        super().__init__()
        self.url = "embedded:" + self.path("queue")
        self.run("run", "-q", self.url, *SPEC, "-w", 2, "-o", self.output, *kernel)
        with open(self.output, encoding="utf-8") as file:
            self.good = file.read().splitlines()

    def with_lines(self, lines):
        return write_file(self.path("other"), "".join(line + "\n" for line in lines))


def judged(j, lines, *patterns, code=4):
    """Both ways to verify say so."""
    path = j.with_lines(lines)
    for words in (["--chunks", 100], ["-q", j.url]):
        done = j.run("verify", "-o", path, *words, code=code)
        for pattern in patterns:
            assert pattern in done.out, (words, pattern, done.out)
    return json.loads(j.run("verify", "-o", path, "-q", j.url, "--json", code=code).out)


@test
def what_is_right_is_proven():
    j = Finished()
    v = judged(j, j.good, "verified: 100 of 100", code=0)
    assert v["verified"] is True and v["sum"] == 499500 and v["completed"] == 100, v
    judged(j, j.good[::-1], "verified", code=0)
    j.run("verify", "-q", j.url, out="digest as in the ledger")
    text = "".join(line + "\n" for line in j.good)
    j.run("verify", "-o", "-", "--chunks", 100, stdin=text)
    j.run("verify", "-o", "-", "--chunks", 100, stdin=text[:-1])


@test
def an_output_that_is_not_there():
    """Like an input: a wrong path is wrong usage."""
    j = Finished()
    for words in ["--chunks", 100], ["-q", j.url]:
        j.run("verify", "-o", "/no/such/file", *words, code=2, err="cannot open /no/such/file: No such file")


@test
def a_missing_result():
    j = Finished()
    number = int(json.loads(j.good[41])["chunk_id"])
    v = judged(j, j.good[:41] + j.good[42:], f"missing 1: {number}\n")
    assert v["verified"] is False and v["completed"] == 99, v
    j.run("verify", "-o", j.with_lines([]), "--chunks", 100, code=4, out="missing 100: 0 1 2")


@test
def a_doubled_result():
    j = Finished()
    number = int(json.loads(j.good[7])["chunk_id"])
    v = judged(j, j.good + [j.good[7]], f"doubled 1: {number}\n")
    assert v["doubled"] == 1, v


@test
def one_missing_and_one_doubled():
    j = Finished()
    v = judged(j, j.good[:99] + [j.good[3]], "missing 1:", "doubled 1:")
    assert v["lines"] == 100, v


@test
def lines_that_are_no_results():
    j = Finished()
    judged(j, j.good[:-1] + [j.good[-1][:30]], "no result in 1 lines: 100", "missing 1:")
    judged(j, j.good + ["hello"], "no result in 1 lines: 101")
    judged(j, j.good + [j.good[0].replace('"chunk_id":"', '"chunk_id":"77')], "past the last one")


@test
def a_value_that_was_not_committed():
    j = Finished()
    row = json.loads(j.good[5])
    wrong = j.good[5].replace(f'"sum":{row["result_summary"]["sum"]}', '"sum":1')
    assert wrong != j.good[5]
    path = j.with_lines(j.good[:5] + [wrong] + j.good[6:])
    j.run("verify", "-o", path, "-q", j.url, code=4, out="a result is not what was committed")


@test
def parameters_that_are_not_those_of_the_chunk():
    """Such a line has the right sum and digest, and says it of other parameters."""
    j = Finished()
    for before, after in (('"start_param":50', '"start_param":51'), ('"end_param":59', '"end_param":58'),
                          ('"params_processed":10', '"params_processed":9')):
        wrong = [line.replace(before, after) if '"chunk_id":"00005"' in line else line
                 for line in j.good]
        assert wrong != j.good, before
        done = j.run("verify", "-o", j.with_lines(wrong), "-q", j.url, code=4)
        assert "not the parameters of their chunk 1: 5\n" in done.out, done.out
        v = json.loads(j.run("verify", "-o", j.with_lines(wrong), "-q", j.url, "--json", code=4).out)
        assert v["misplaced"] == 1 and v["verified"] is False, v


@test
def the_first_and_the_last_parameters_there_are():
    for range_ in ("-9223372036854775808..-9223372036854775790", "9223372036854775790..9223372036854775807"):
        j = Jobs()
        j.run("run", "-q", "embedded:" + j.path("queue"), "--range", range_, "--chunk", 5,
              "--simulate-ms", 0, "-o", j.output, err="4 of 4 chunks, verified")
        j.run("verify", "-q", "embedded:" + j.path("queue"), "-o", j.output)


@test
def outputs_of_commands():
    j = Finished("--", "sh", "-c", r"cat; printf '\377\n'")
    assert any("output_base64" in line for line in j.good)
    judged(j, j.good, "verified", code=0)
    changed = j.good[0].replace('"output_base64":"M', '"output_base64":"N')
    if changed == j.good[0]:
        changed = j.good[0].replace('"output_base64":"', '"output_base64":"NTAK')
    path = j.with_lines([changed] + j.good[1:])
    j.run("verify", "-o", path, "-q", j.url, code=4, out="not what was committed")


@test
def a_run_notices_by_itself():
    """The output is changed behind its back between a stop and the resume."""
    j = Jobs()
    command, _ = counted(j, until=j.path("go"), after=15)
    words = ["--params", 400, "--chunk", 10, "-w", 1, "-o", j.output, "--", *command]
    p = j.spawn("run", *words)

    wait_until(lambda: len(j.lines()) == 15, what="fifteen results")
    p.kill(2)
    p.wait_for("once more to stop at once")
    write_file(j.path("go"))
    assert p.wait() == 130, p.err()
    with open(j.output, "r+", encoding="utf-8") as file:
        text = file.read()
        lines = text.splitlines(True)
        one, other = next((i, k) for i in range(len(lines)) for k in range(i) if len(lines[i]) == len(lines[k]))
        lines[one] = lines[other]
        file.seek(0)
        file.write("".join(lines))
    j.run("run", "--resume", *words, code=4, err="doubled 1")
    assert os.path.exists(j.output + ".cursor") and len(j.kept()) == 1, "kept for a look"


main()

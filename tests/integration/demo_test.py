#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo computes, and notices when the result is wrong."""
import os

from harness import ROOT, TTG, main, run, temp_dir, test, write_file

STATIC = os.path.join(ROOT, "examples/demo/static.sh")
EMBEDDED = os.path.join(ROOT, "examples/demo/embedded.sh")
STUB = """#!/bin/sh
{before}
echo '{{"chunk_id":"0000'$WORKER_ID'","result_summary":{{"sum":'$(({sum}))',"count":1}}}}'
"""


def stub(total, before=":"):
    """A worker of which all three answer a third of the total."""
    return write_file(os.path.join(temp_dir(), "ttg"), STUB.format(sum=f"{total} / 3", before=before),
                      0o755)


@test
def three_workers_add_up():
    done = run([STATIC], cwd=ROOT)
    assert done.out.endswith(" = 49995000\n"), done
    assert done.out.count('"chunk_id"') == 3, done


@test
def a_wrong_sum_is_a_failure():
    assert run([STATIC], env={"TTG": stub(49995000)}).out.endswith(" = 49995000\n")
    assert run([STATIC], env={"TTG": stub(49994997)}, code=1).out.endswith("must be 49995000\n")


@test
def a_failed_worker_is_a_failure():
    run([STATIC], env={"TTG": stub(49995000, "[ $WORKER_ID != 1 ] || exit 1")}, code=1)
    run([STATIC], env={"TTG": stub(49995000, "[ $WORKER_ID != 1 ] || kill -9 $$")}, code=1)
    run([STATIC], env={"TTG": "/nonexistent/ttg"}, code=1, err="nonexistent")


@test
def a_killed_worker_costs_nothing():
    done = run([EMBEDDED], cwd=ROOT, env={"TTG": TTG}, err="chunk.reclaimed .*from=worker-1")
    assert "100 of 100 chunks" in done.out, done
    assert "sum 499500 = 1000 * 999 / 2" in done.out, done
    assert "verified: 100 of 100" in done.out, done


main()

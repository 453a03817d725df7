#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the documents tell people to type is typed, and what they promise to appear appears.

A block that starts with ```sh is run by bash, page by page and in order, in one directory that has
build/ttg, examples/ and deploy/ as a clone has after `make`. A block ```output behind it lists lines
that must appear in this order; `...` in a line stands for anything. ```sh no-run is not run, ```sh
system is for operations_test. Links between pages must lead somewhere."""
import glob
import os
import re

from docrig import FENCE, blocks, check_output
from harness import ROOT, TTG, main, run, temp_dir, test

PAGES = [p for p in [os.path.join(ROOT, name) for name in
                     ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] +
         sorted(glob.glob(os.path.join(ROOT, "docs/**/*.md"), recursive=True)) if os.path.exists(p)]


# A reader types all of it into one shell: a setting that stays changes what follows, on the next
# page, too, and `set -e` closes the terminal at the next command that fails.
LEFT_BEHIND = 'test -z "${TTG_QUEUE-}" || { echo "TTG_QUEUE stays set"; exit 99; }'


def run_page(path):
    root = temp_dir()
    os.mkdir(os.path.join(root, "build"))
    os.symlink(TTG, os.path.join(root, "build/ttg"))
    for name in ("examples", "deploy", "include"):
        os.symlink(os.path.join(ROOT, name), os.path.join(root, name))
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for line, script, expected in blocks(text):
        where = f"{os.path.relpath(path, ROOT)}:{line}"
        assert not re.search(r"^\s*set [-+]", script, re.M), f"{where}: sets the reader's shell"
        done = run(["bash", "-eu", "-o", "pipefail", "-c",
                    f"exec 2>&1\n{script}\n{LEFT_BEHIND}"], cwd=root, code=None,
                   env={"HOME": root, "TTG": TTG})
        assert done.code == 0, f"{where}:\n{script}{done}"
        if expected is not None:
            check_output(expected, done.out, where)


def page_test(path):
    def page():
        run_page(path)
    page.__name__ = "commands of " + os.path.relpath(path, ROOT)
    test(page)


for page_path in PAGES:
    with open(page_path, encoding="utf-8") as page_file:
        if blocks(page_file.read()):
            page_test(page_path)


def anchors(text):
    """Names that a heading can be linked by."""
    text = FENCE.sub("", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ +(.*)$", text, re.M)}


@test
def links_lead_somewhere():
    assert PAGES
    for path in PAGES:
        with open(path, encoding="utf-8") as file:
            text = FENCE.sub("", file.read())
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            where = f"{os.path.relpath(path, ROOT)}: {target}"
            assert os.path.exists(there), where
            if anchor:
                with open(there, encoding="utf-8") as file:
                    assert anchor in anchors(file.read()), where


@test
def pages_do_not_use_the_same_job_twice():
    """They share the directory `data` of a node when somebody reads one after the other."""
    seen = {}
    for path in PAGES:
        with open(path, encoding="utf-8") as file:
            for line, script, _ in blocks(file.read()):
                if "--data data " in script:
                    for job in re.findall(r"ttg submit (?:--job )?([\w-]+)", script):
                        where = f"{os.path.relpath(path, ROOT)}:{line}"
                        assert job not in seen, f"{job}: {seen[job]} and {where}"
                        seen[job] = where
    assert len(seen) > 2, seen


@test
def tests_that_the_guarantees_name_are_there():
    """`X_test`: some_test, another_one; a file of tests/, and tests in it."""
    with open(os.path.join(ROOT, "docs", "guarantees.md"), encoding="utf-8") as file:
        text = file.read()
    named = 0
    for name, cases in re.findall(r"`(\w+_test)`(?:: (\w+_\w+(?:, \w+_\w+)*))?", text):
        paths = [path for path in (os.path.join(ROOT, "tests", "integration", name + ".py"),
                                   os.path.join(ROOT, "tests", "unit", name + ".c"))
                 if os.path.exists(path)]
        assert paths, f"docs/guarantees.md: there is no {name}"
        for case in cases.split(", ") if cases else ():
            named += 1
            found = any(re.search(rf"\b{case}\(", open(path, encoding="utf-8").read())
                        for path in paths)
            assert found, f"docs/guarantees.md: there is no {case} in {name}"
    assert named > 10, named


@test
def the_test_itself_can_fail():
    found = blocks("a\n```sh\ntrue\n```\n```output\nx ... z\n```\n```sh no-run\nfalse\n```\n")
    assert found == [[2, "true\n", ["x ... z"]]], found
    check_output(["x ... z", "b"], "a\nx y z\nb\n", "here")
    for expected, output in ((["a"], "b\n"), (["b", "a"], "a\nb\n"), (["a ...b"], "a c\n")):
        try:
            check_output(expected, output, "here")
        except AssertionError:
            continue
        raise AssertionError(f"found {expected} in {output!r}")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A check that has never failed is itself untested: breaks what each tool guards, in a copy."""
import os
import shutil

from harness import ROOT, have, main, run, skip, temp_dir, test, write_file

CLEAN = """/* SPDX-License-Identifier: Apache-2.0 */
#include "core/thing.h"

#include "base/err.h"

int thing_do(int n)
{
    return n > 0 ? 0 : TTG_EINVAL;
}
"""
HEADER = """/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTG_CORE_THING_H
#define TTG_CORE_THING_H

int thing_do(int n);

#endif
"""


def tree():
    """A small tree with the real tools and the real base layer, in which all checks pass."""
    root = temp_dir()
    for name in ("tools", "include", "src/base"):
        shutil.copytree(os.path.join(ROOT, name), os.path.join(root, name))
    for name in ("Makefile", ".clang-format", ".clang-tidy"):
        shutil.copy(os.path.join(ROOT, name), root)
    os.mkdir(os.path.join(root, "src/core"))
    write_file(os.path.join(root, "src/core/thing.c"), CLEAN)
    write_file(os.path.join(root, "src/core/thing.h"), HEADER)
    return root


def rules_after(path, old, new):
    """What tools/rules says after one replacement in the tree."""
    root = tree()
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    assert old in text
    write_file(os.path.join(root, path), text.replace(old, new, 1))
    return run([os.path.join(root, "tools/rules"), root], code=1).out


@test
def rules_hold_here():
    assert run([os.path.join(ROOT, "tools/rules")]).out == ""
    root = tree()
    assert run([os.path.join(root, "tools/rules"), root]).out == ""


@test
def an_include_may_not_cross_a_layer():
    path, line = "src/core/thing.c", '#include "base/err.h"'
    for wrong, words in (('#include "io/loop.h"', "core may not use io"),
                         ('#  include "cmd/options.h"', "core may not use cmd"),
                         ('#include "thing.h"', "write"),
                         ("#include <openssl/ssl.h>", "belongs to src/io"),
                         ("#include <jansson.h>", "belongs to src/wire")):
        said = rules_after(path, line, line + "\n" + wrong)
        assert said.startswith(path + ":5: ") and words in said, said


@test
def neighbours_do_not_see_each_other():
    root = tree()
    os.mkdir(os.path.join(root, "src/queue"))
    write_file(os.path.join(root, "src/queue/a.c"),
               '/* SPDX-License-Identifier: Apache-2.0 */\n#include "node/b.h"\n#include <amqp.h>\n')
    write_file(os.path.join(root, "src/queue/b.c"),
               '/* SPDX-License-Identifier: Apache-2.0 */\n#include <amqp_ssl_socket.h>\n')
    said = run([os.path.join(root, "tools/rules"), root], code=1).out
    assert "queue and node are neighbours" in said, said
    assert "more than one file: src/queue/a.c src/queue/b.c" in said, said


@test
def some_calls_have_one_place():
    path, line = "src/core/thing.c", "    return n > 0"
    for wrong, words in (("free(0);", "mem_"), ("time(0);", "src/io"), ("printf(\"x\");", "print"),
                         ("fputs(\"x\", stderr);", "print"), ("strcpy(a, b);", "limit"),
                         ("assert(n);", "ensure"), ("/* TODO */", "finish")):
        said = rules_after(path, line, f"    {wrong}\n{line}")
        assert words in said, said
    root = tree()  # and what only looks like them is fine
    text = CLEAN.replace(line, '    /* free(x) */ const char *s = "free(x) time(0)"; (void)s;\n' + line)
    write_file(os.path.join(root, path), text)
    run([os.path.join(root, "tools/rules"), root])


@test
def every_file_names_its_licence_and_layer():
    assert "no SPDX line" in rules_after("src/core/thing.h", "SPDX", "spdx")
    root = tree()
    os.rename(os.path.join(root, "src/core"), os.path.join(root, "src/heart"))
    said = run([os.path.join(root, "tools/rules"), root], code=1).out
    assert "src/heart is not a layer" in said, said


@test
def make_tidy_fails_on_what_its_tools_find():
    if not have("clang-tidy") or not have("cppcheck") or not have("shellcheck"):
        skip("clang-tidy, cppcheck or shellcheck is missing")
    root = tree()
    for name in os.listdir(os.path.join(root, "src/base")):
        if not name.endswith("err.h"):
            os.unlink(os.path.join(root, "src/base", name))  # for speed
    run(["make", "-C", root, "tidy"], out="nothing to complain about")
    thing = os.path.join(root, "src/core/thing.c")
    write_file(thing, CLEAN.replace("base/err.h", "store/store.h"))
    run(["make", "-C", root, "tidy"], code=2, out="core may not use store")
    write_file(thing, CLEAN.replace("    return n", "    int *p = 0;\n    *p = n;\n    return n"))
    run(["make", "-C", root, "tidy"], code=2, out=r"thing.c:\d+:\d+: error: .*clang-analyzer")
    write_file(thing, CLEAN)
    script = write_file(os.path.join(root, "tools/bad"), "#!/bin/sh\ncd $1\n", 0o755)
    run(["make", "-C", root, "tidy"], code=2, out="tools/bad")
    os.unlink(script)
    run(["make", "-C", root, "tidy"])


@test
def make_format_check_fails_on_a_misformatted_file():
    if not have("clang-format"):
        skip("clang-format is missing")
    root = tree()
    run(["make", "-C", root, "format-check"])
    thing = os.path.join(root, "src/core/thing.c")
    write_file(thing, CLEAN.replace("    return", "  return"))
    run(["make", "-C", root, "format-check"], code=2, err="thing.c:7")
    run(["make", "-C", root, "format"])
    with open(thing, encoding="utf-8") as file:
        assert file.read() == CLEAN


@test
def run_tests_counts_what_went_wrong():
    def program(body):
        return write_file(os.path.join(temp_dir(), "x_test"), "#!/bin/sh\n" + body, 0o755)

    for body, closing in (("echo ok 1 - a; echo 'ok 2 - b # SKIP why'", "1 passed, 0 failed, 1 skipped"),
                          ("echo ok 1; echo not ok 2 - b", "1 passed, 1 failed, 0 skipped"),
                          ("echo ok 1; exit 3", "1 passed, 1 failed, 0 skipped"),
                          ("echo ok 1; kill -9 $$", "1 passed, 1 failed, 0 skipped"),
                          ("echo 1..3; echo ok 1", "1 passed, 1 failed, 0 skipped"),
                          ("exit 0", "0 passed, 1 failed, 0 skipped"),
                          ("echo ok 1; exec sleep 100", "1 passed, 1 failed, 0 skipped")):
        limit = "5" if "sleep" in body else "60"
        done = run([os.path.join(ROOT, "tools/run-tests"), "--timeout", limit, program(body)], code=None)
        assert done.out.endswith(closing + "\n"), (body, done.out)
        assert done.code == (0 if " 0 failed" in closing else 1), (body, done)


@test
def deps_is_quiet_when_nothing_is_missing():
    if not have("dpkg-query"):
        skip("not a Debian system")
    done = run([os.path.join(ROOT, "tools/deps"), "build"], env={"PATH": os.environ["PATH"]})
    assert done.out == "" and done.err == "", done
    run([os.path.join(ROOT, "tools/deps"), "nonsense"], code=2, err="unknown group 'nonsense'")


@test
def a_demo_installs_no_browser():
    done = run(["make", "-n", "demo"], cwd=ROOT)
    assert "tools/deps build\n" in done.out and "tools/playwright" not in done.out, done


@test
def deps_says_what_to_do():
    words = temp_dir()  # a PATH on which little exists
    for name in ("sh", "id", "echo"):
        os.symlink(shutil.which(name), os.path.join(words, name))
    done = run([os.path.join(ROOT, "tools/deps")], env={"PATH": words})
    assert "neither Debian nor Ubuntu" in done.err and "libcmocka-dev" in done.err, done
    write_file(os.path.join(words, "dpkg-query"), "#!/bin/sh\nexit 1\n", 0o755)
    write_file(os.path.join(words, "apt-get"), "#!/bin/sh\nexit 1\n", 0o755)
    write_file(os.path.join(words, "id2"), "#!/bin/sh\necho 1000\n", 0o755)
    os.replace(os.path.join(words, "id2"), os.path.join(words, "id"))
    done = run([os.path.join(ROOT, "tools/deps")], code=1, env={"PATH": words})
    assert "neither root nor is there a sudo" in done.err, done
    assert "apt-get install" in done.err and "libssl-dev" in done.err, done


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts down works from there: the command, both libraries, header, pkg-config."""
import os
import re
import subprocess

from harness import ROOT, TTG, main, run, skip, temp_dir, test, write_file

SANITIZERS = {"asan": "-fsanitize=address,undefined", "tsan": "-fsanitize=thread",
              "coverage": "--coverage"}
PROGRAM = """
#include <stdio.h>
#include <ttg/ttg.h>
int buf_add(void);
int buf_add(void) { return 7; } /* a name that the library uses for itself */
int main(void)
{
    printf("%s %s %s %d %d\\n", ttg_version(), ttg_error_name(TTG_ESTALE), ttg_error_text(0),
           ttg_error_retry_helps(TTG_EFULL), buf_add());
    return 0;
}
"""


def profile():
    """The profile that the tested binary was built in."""
    found = re.fullmatch(re.escape(ROOT) + r"/build/(\w+)/ttg", os.path.realpath(TTG))
    if not found:
        skip(f"{TTG} is not from this tree")
    return found.group(1)


def make(target, dest):
    return run(["make", "-C", ROOT, f"PROFILE={profile()}", f"DESTDIR={dest}", "PREFIX=/opt/ttg",
                target])


def files_below(top):
    return sorted(os.path.relpath(os.path.join(where, name), top)
                  for where, _, names in os.walk(top) for name in names)


@test
def installed_files_work_and_go_away_again():
    dest = temp_dir()
    make("install", dest)
    prefix = os.path.join(dest, "opt/ttg")
    for name in ("bin/ttg", "lib/libttg.a", "lib/libttg.so", "lib/libttg.so.0",
                 "lib/pkgconfig/ttg.pc", "include/ttg/ttg.h", "share/man/man1/ttg.1",
                 "share/bash-completion/completions/ttg", "share/zsh/site-functions/_ttg",
                 "share/fish/vendor_completions.d/ttg.fish", "lib/sysusers.d/ttg.conf",
                 "lib/systemd/system/ttg-worker@.service", "share/doc/ttg/operations.md",
                 "share/doc/ttg/examples/systemd/node.env"):
        assert os.path.getsize(os.path.join(prefix, name)) > 0, name
    with open(os.path.join(prefix, "lib/systemd/system/ttg-node.service"), encoding="ascii") as unit:
        assert "ExecStart=/opt/ttg/bin/ttg node" in unit.read()
    version = run([os.path.join(prefix, "bin/ttg"), "version"]).out.split()[1]
    run(["bash", "-n", os.path.join(prefix, "share/bash-completion/completions/ttg")])

    source = write_file(os.path.join(dest, "program.c"), PROGRAM)
    env = {"PKG_CONFIG_PATH": os.path.join(prefix, "lib/pkgconfig"),
           "PKG_CONFIG_SYSROOT_DIR": dest}
    flags = SANITIZERS.get(profile(), "").split()
    assert run(["pkg-config", "--modversion", "ttg"], env=env).out.strip() == version
    for kind, words in (("shared", ["--cflags", "--libs"]),
                        ("static", ["--static", "--cflags", "--libs"])):
        program = os.path.join(dest, kind)
        given = run(["pkg-config", *words, "ttg"], env=env).out.split()
        if kind == "static":
            given = [w if w != "-lttg" else os.path.join(prefix, "lib/libttg.a") for w in given]
        run(["cc", "-o", program, source, *flags, *given])
        said = run([program], env={"LD_LIBRARY_PATH": os.path.join(prefix, "lib")}).out
        assert said == f"{version} TTG_ESTALE no error 1 7\n", said
        needed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True).stdout
        assert (b"libttg.so.0" in needed) == (kind == "shared"), needed

    make("uninstall", dest)
    assert files_below(prefix) == [], files_below(prefix)


@test
def only_public_names_can_be_linked_against():
    where = os.path.dirname(os.path.realpath(TTG))
    profile()
    shared = run(["nm", "-D", "--defined-only", os.path.join(where, "libttg.so")]).out.split("\n")
    names = {line.split()[-1] for line in shared if line} - {"TTG_0.1"}
    assert "ttg_version@@TTG_0.1" in names, names
    static = run(["nm", "-g", "--defined-only", os.path.join(where, "libttg.a")]).out.split("\n")
    names |= {line.split()[-1] for line in static if len(line.split()) == 3}
    wrong = [name for name in names if not name.startswith("ttg_")]
    assert not wrong, wrong


@test
def the_header_can_be_used_from_cpp():
    source = write_file(os.path.join(temp_dir(), "x.cc"), "#include <ttg/ttg.h>\n"
                        "int main() { return ttg_version() == nullptr; }\n")
    run(["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
         os.path.join(ROOT, "include"), source])


main()

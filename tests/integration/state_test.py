#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The state manager's files on a real file system: hostile client ids, a hundred thousand clients,
what Python's csv module reads, who may open a directory, and what happens to files of others."""
import csv
import glob
import os
import signal
import subprocess

from harness import TTG, main, run, skip, spawn, temp_dir, test, wait_until, write_file

DRIVER = os.path.join(os.path.dirname(os.path.realpath(TTG)), "tests", "tools", "state_driver")

HOSTILE = [
    "", ".", "..", "...", "/", "//", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "a/../b",
    "CLI1", "cli1", "Cli1", "CLI1.csv", "CLI1.CSV", ".csv", ".ttg", ".new-1", "x.id", "lock", "LOCK",
    "-", "--", "-rf", "~", "~root", "*", "?", "[a]", "{a,b}", "$HOME", "`id`", "$(id)", "a;b", "a|b",
    "a&b", "a>b", "a b", " a", "a ", "a\tb", "a\nb", "a\r\nb", "a\0b", "\0", "'", '"', "a\"b", "a'b",
    "%", "%%", "%41", "A", "%4", "%2E", "%2e", "%h0123", "%0", "a%", "A%", "=1+1", "+1", "@x", "#x",
    "NUL", "CON", "aux", "COM1", "a:b", "C:", "a,b", "a=b", "\x01", "\x1b[2J", "\x7f", "é", "e\u0301",
    "\u202e", "日本語", "😀", "\ufeff", "ﬁ", "ß", "İ", "ı", "K", "x" * 200, "x" * 201, "x" * 251,
    "x" * 255, "x" * 256, "X" * 256, "x" * 4096, "/" * 100, "\0" * 100, "é" * 60 + "1", "é" * 60 + "2",
    "a" * 300 + "1", "a" * 300 + "2", "0", "00", "1e9", "nan", "null", "None", "true", "msg_id,value",
    b"\xff", b"\xfe\xff", b"\xc3", b"a\x80", b"\xed\xa0\x80",
]
VALUES = ["plain", "", "a,b", 'say "hi"', "two\nlines", "cr\rlf\r\n", "nul\0in", b"\xff\xfe", '"', ",", "~x"]


def raw(word):
    return word if isinstance(word, bytes) else word.encode()


def word(value):
    return raw(value).hex() or "-"


def needed():
    if not os.path.exists(DRIVER):
        skip(f"{DRIVER} is not built: make check builds it")


def drive(where, lines, *options):
    needed()
    done = run([DRIVER, where, *options], stdin="\n".join(lines) + "\n", deadline_s=120)
    return done.out.splitlines()


def clients_of(lines):
    """client -> (rows, bytes), from what `list` says."""
    found = {}
    for line in lines:
        _, name, rows, size = line.split()
        assert name not in found, f"{name} is listed twice"
        found[bytes.fromhex(name.rstrip("-"))] = (int(rows), int(size))
    return found


@test
def hostile_ids_stay_in_the_directory_and_apart():
    ids = list(dict.fromkeys(raw(name) for name in HOSTILE))
    assert len(ids) > 100
    where = temp_dir()
    state = os.path.join(where, "state")
    lines = [f"row {word(name)} {word(f'm{k}')} {word(b'v' * (i + 1))}"
             for i, name in enumerate(ids) for k in range(2)]
    said = drive(state, lines + ["commit"])
    assert said == ["new"] * len(lines), set(said)
    assert os.listdir(where) == ["state"]
    assert all(os.path.isfile(os.path.join(state, name)) or name == ".ttg" for name in os.listdir(state))
    files = glob.glob(os.path.join(state, "*.csv"))
    assert len(files) == len(ids), f"{len(files)} files for {len(ids)} clients"
    again = drive(state, ["list"] + lines)
    assert again[len(ids):] == ["duplicate"] * len(lines)
    found = clients_of(again[:len(ids)])
    assert found == {name: (2, 2 * (i + 1)) for i, name in enumerate(ids)}
    # Nor does ending them reach further than their own file.
    half = ids[::2]
    drive(state, [f"finish {word(name)}" for name in half])
    left = drive(state, ["list"] + [f"row {word(name)} {word('m0')} {word('v')}" for name in ids])
    assert set(clients_of(left[:len(ids) - len(half)])) == set(ids) - set(half)
    assert sorted(left[len(ids) - len(half):]) == ["duplicate"] * (len(ids) - len(half)) + ["finished"] * len(half)
    drive(state, [f"forget {word(name)}" for name in ids])
    assert [name for name in os.listdir(state) if name != ".ttg"] == []


@test
def python_reads_the_files():
    where = temp_dir()
    ids = [raw(f"m{i}-") + raw(value) for i, value in enumerate(VALUES)] + [raw(v) for v in VALUES if v]
    rows = [(name, raw(VALUES[i % len(VALUES)])) for i, name in enumerate(ids)]
    said = drive(where, [f"row {word('C')} {word(name)} {word(value)}" for name, value in rows])
    assert said == ["new"] * len(rows)
    with open(os.path.join(where, "C.csv"), encoding="utf-8", errors="surrogateescape", newline="") as file:
        read = [[field.encode("utf-8", "surrogateescape") for field in row] for row in csv.reader(file)]
    expected = [[b"~" + name if name.startswith(b"~") else name, value] for name, value in rows]
    assert read == [[b"msg_id", b"value"]] + expected
    assert clients_of(drive(where, ["list"])) == {b"C": (len(rows), sum(len(v) for _, v in rows))}


@test
def takes_up_what_python_writes():
    where = temp_dir()
    rows = [[f"m{i}", value] for i, value in enumerate(VALUES) if isinstance(value, str)]
    for dialect in ("excel", "unix"):
        with open(os.path.join(where, f"{dialect}.csv"), "w", encoding="utf-8", newline="") as file:
            csv.writer(file, dialect=dialect).writerows([["msg_id", "value"]] + rows)
    size = sum(len(value) for _, value in rows)
    assert clients_of(drive(where, ["list"])) == {b"excel": (len(rows), size), b"unix": (len(rows), size)}


@test
def a_hundred_thousand_clients():
    where = temp_dir()
    count = 100000
    assert drive(where, [f"many {count}"]) == ["done"]
    assert len(glob.glob(os.path.join(where, "*.csv"))) == count
    said = drive(where, ["list", "stats", f"row {word('client-77777')} {word('client-77777')} -",
                         f"row {word('client-100000')} {word('x')} -"], "1000")
    assert len(clients_of(said[:count])) == count
    in_memory, memory, evictions = map(int, said[count].split())
    assert in_memory <= 1000 and memory < 2_000_000 and evictions >= count - 1000
    assert said[count + 1:] == ["duplicate", "new"]


@test
def one_process_at_a_time():
    needed()
    where = temp_dir()
    holder = spawn([DRIVER, where], stdin=subprocess.PIPE)
    wait_until(lambda: os.path.exists(os.path.join(where, ".ttg", "lock")))
    wait_until(lambda: glob.glob(os.path.join(where, ".ttg", "log-*")))
    done = run([DRIVER, where], stdin="", code=1)
    assert "TTG_EBUSY" in done.out and str(holder.pid) in done.out, done
    holder.kill()
    holder.wait()
    assert drive(where, [f"row {word('a')} {word('b')} {word('c')}"]) == ["new"]


def killed_with_rows(where):
    """A directory whose log holds rows, of a process that was killed."""
    needed()
    worker = spawn([DRIVER, where], stdin=subprocess.PIPE)
    worker.stdin.write(f"row {word('A')} {word('m1')} {word('v')}\ncommit\ncheckpoint\n"
                       f"row {word('A')} {word('m2')} {word('v')}\ncommit\n".encode())
    worker.stdin.flush()
    path = os.path.join(where, "A.csv")
    wait_until(lambda: os.path.exists(path) and b"m2" in open(path, "rb").read())
    worker.kill(signal.SIGKILL)
    worker.wait()
    return path


@test
def damage_is_refused_and_says_what_to_do():
    where = temp_dir()
    path = killed_with_rows(where)
    content = open(path, "rb").read()
    # Whatever is behind the last sync is written again from the log.
    for tail in (b"", b"m2,v", b"m2,v\n\0\0\0\0", b"garbage"):
        write_file(path, content[:content.index(b"m2")] + tail)
        assert clients_of(drive(where, ["list"])) == {b"A": (2, 2)}
        assert open(path, "rb").read() == content
        os.unlink(path)
        for name in os.listdir(where + "/.ttg"):
            os.unlink(os.path.join(where, ".ttg", name))
        path = killed_with_rows(where)
    # What was synced is not.
    write_file(path, content[:content.index(b"m1")])
    done = run([DRIVER, where], stdin="", code=1)
    assert "TTG_ECORRUPT" in done.out and "A.csv" in done.out and "put the file back" in done.out, done
    write_file(path, content)
    assert clients_of(drive(where, ["list"])) == {b"A": (2, 2)}
    write_file(path, content + b"m3\n")
    done = run([DRIVER, where], stdin="list\n", code=1)
    assert "TTG_ECORRUPT" in done.out and "A.csv, line 4" in done.out, done
    write_file(path, b"id,value\n")
    done = run([DRIVER, where], stdin="list\n", code=1)
    assert "TTG_EVERSION" in done.out and "other columns" in done.out, done


main()

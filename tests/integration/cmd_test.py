#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command itself: help, options, configuration, exit codes, broken output."""
import json
import os
import re
import subprocess

from harness import ROOT, TTG, have, main, open_pty, run, skip, temp_dir, test, ttg, write_file

COMMANDS = re.findall(r"^  (\w+)$", subprocess.run(
    [TTG, "help"], capture_output=True, text=True, check=False).stdout, re.M)
NO_FILE = {"XDG_CONFIG_HOME": "/nonexistent", "TTG_CONFIG": None}


@test
def version_is_one_line():
    assert ttg("version").out.count("\n") == 1
    ttg("--version", out=r"^ttg \d+\.\d+\.\d+$")
    assert json.loads(ttg("version", "--json").out)["version"]


@test
def every_command_explains_itself():
    assert "help" in COMMANDS and "worker" in COMMANDS
    for name in COMMANDS:
        text = ttg(name, "--help", out=rf"^usage: ttg {name}").out
        assert ttg("help", name).out == text, name
        assert ttg(name, "-h", "--nonsense").out == text, name
        assert "\x1b" not in text
    ttg("--help", out="^Commands")


@test
def wrong_words_get_a_suggestion():
    ttg(code=2, err="a command is missing")
    ttg("confgi", code=2, err="did you mean 'config'")
    ttg("zzzzzz", code=2, err="unknown command 'zzzzzz'$")
    ttg("--chunk", code=2, err="options stand behind the command")
    ttg("help", "wrker", code=2, err="did you mean 'worker'")
    ttg("worker", "--chnk", "1", code=2, err="did you mean --chunk")
    ttg("run", "-j", "4", code=2, err="unknown option -j") # elsewhere a number of workers
    ttg("worker", "word", code=2, err="unexpected argument 'word'")
    ttg("config", "worker", "more", code=2, err="unexpected argument 'more'")
    ttg("config", "wrker", code=2, err="unknown command 'wrker'; did you mean 'worker'")
    done = ttg("wor\x1bker", code=2)
    assert "\x1b" not in done.err


@test
def wrong_variables_are_refused_by_name():
    for name, values in {
            "CHUNK_SIZE": ["abc", "-1", "0", "99999999999999999999", "", "1.5", "NaN", " 1"],
            "TOTAL_PARAMETERS": ["0", "9223372036854775808"],
            "SIMULATE_FAULT_RATE": ["nan", "1.1", "-0.1", ""],
            "SIMULATE_WORK_MS": ["-1", "inf"],
            "TOTAL_WORKERS": ["0"],
            "WORKER_ID": ["-1", "one"],
            "REDIS_PORT": ["0", "65536"],
            "LOG_LEVEL": ["LOUD"],
            "LOG_FORMAT": ["xml"],
            "QUEUE_MODE": ["maybe"],
            "QUEUE_BACKEND": ["kafka"],
            "DRAIN_SECONDS": ["-5", "1y"]}.items():
        for value in values:
            done = ttg("worker", env={**NO_FILE, name: value}, code=2, out=r"\A\Z")
            assert f"{name}={value} is" in done.err and "expected is" in done.err, done
    ttg("version", env={"CHUNK_SIZE": "abc"})  # which does not look at it


@test
def config_says_where_values_come_from():
    path = write_file(os.path.join(temp_dir(), "config"), "# mine\nchunk = 7\nbatch=8\n")
    env = {"TTG_CONFIG": path, "BATCH_SIZE": "9"}
    done = ttg("config", "--params", "5", "--json", env=env)
    settings = {s["name"]: s for s in json.loads(done.out)["settings"]}
    assert settings["chunk"]["value"] == "7" and settings["chunk"]["origin"] == f"file {path}:2"
    assert settings["batch"]["value"] == "9" and settings["batch"]["source"] == "variable"
    assert settings["params"]["source"] == "flag"
    assert settings["redis-host"] == {
        "name": "redis-host", "value": "ttg-redis", "source": "default", "origin": "default",
        "variable": "REDIS_HOST", "key": "redis-host"}
    ttg("config", "worker", env=env, out=rf"^chunk = 7 +# file {re.escape(path)}:2$")
    ttg("config", "node", "--listen", "a:1", "--listen=b:2", env=env, out=r"^listen = a:1,b:2 ")
    ttg("config", "--queue", "amqp://user:secret@host/v", env=env,
        out=r"^queue = amqp://user:\*\*\*@host/v ")
    ttg("config", "--config", "/nonexistent", env=env, code=2, err="cannot open /nonexistent: No")
    home = temp_dir()
    os.makedirs(os.path.join(home, ".config/ttg"))
    write_file(os.path.join(home, ".config/ttg/config"), "chunk = 11\n")
    ttg("config", env={"TTG_CONFIG": None, "XDG_CONFIG_HOME": None, "HOME": home},
        out=r"^chunk = 11 ")
    # What is written can be read again.
    again = write_file(os.path.join(home, "again"), ttg("config", env=env).out)
    ttg("config", "--config", again, env={"BATCH_SIZE": None}, out=r"^batch = 9 +# file")


@test
def a_wrong_file_is_named_with_its_line():
    top = temp_dir()
    path = os.path.join(top, "config")
    for text, says in [("chunk = 5\n\nchnk = 1\n", r":3: unknown setting 'chnk'; did you mean"),
                       ("chunk\n", r":1: expected is a line 'key = value'"),
                       ("batch = x\n", r":1: batch = x is not valid; expected is"),
                       ("a\0b", r":1: a NUL byte")]:
        write_file(path, text)
        ttg("worker", "--config", path, code=2, err=re.escape(path) + says)
    ttg("worker", "--config", top, code=2, err="Is a directory")
    if os.geteuid() != 0:
        write_file(path, "", mode=0)
        ttg("worker", "--config", path, code=2, err="Permission denied")


def shell(line, **checks):
    return run(["bash", "-c", line], env={"TTG": TTG}, **checks)


@test
def broken_standard_output_is_noticed():
    for words in ["help", "version", "config", "help --markdown"]:
        shell(f"$TTG {words} > /dev/full", code=3, err="standard output: No space left on device")
        shell(f"$TTG {words} >&-", code=3, err="standard output is closed")
    # The reader is gone for certain before the first byte is written.
    shell("mkfifo $0.f; { sleep 0; } < $0.f & exec 3> $0.f; wait; $TTG help >&3; "
          "code=$?; rm $0.f; exit $code".replace("$0", os.path.join(temp_dir(), "x")),
          code=3, err="standard output was closed by its reader")


@test
def broken_standard_error_stops_nothing():
    shell("$TTG version 2>/dev/full", out="^ttg ")
    shell("$TTG nonsense 2>/dev/full", code=2)
    shell("$TTG nonsense 2>&-", code=2)
    shell("$TTG version <&- 2>&-", out="^ttg ")


@test
def colour_only_where_it_is_wanted():
    assert "\x1b" not in ttg("help").out
    assert "\x1b[1m" in ttg("help", "--color").out
    assert "\x1b[1m" in ttg("help", "--color", env={"NO_COLOR": "1"}).out
    assert "\x1b" not in ttg("help", "--no-color").out
    if not have("script"):
        skip("no script(1) to make a terminal")
    for end in open_pty():
        os.close(end)
    terminal = ["script", "-qec", f"{TTG} help", "/dev/null"]
    term = {"TERM": "xterm"}
    assert "\x1b[1m" in run(terminal, env={**term, "NO_COLOR": None}).out
    assert "\x1b[1m" in run(terminal, env={**term, "NO_COLOR": ""}).out
    assert "\x1b" not in run(terminal, env={**term, "NO_COLOR": "1"}).out
    assert "\x1b" not in run(terminal, env={"TERM": "dumb", "NO_COLOR": None}).out


@test
def the_reference_is_current():
    with open(os.path.join(ROOT, "docs/reference.md"), encoding="utf-8") as file:
        assert file.read() == ttg("help", "--markdown").out, \
            "run: build/ttg help --markdown > docs/reference.md"


@test
def completions_are_valid():
    for name in ("bash", "zsh", "fish"):
        path = write_file(os.path.join(temp_dir(), name), ttg("help", "--completion", name).out)
        if have(name):
            run([name, "-n", path])
    bash = write_file(os.path.join(temp_dir(), "c"), ttg("help", "--completion", "bash").out)

    def complete(line):
        words = line.split(" ")
        array = " ".join(f"'{word}'" for word in words)
        return run(["bash", "-c", f"complete() {{ :; }}; . {bash}; COMP_WORDS=({array}); "
                    f"COMP_CWORD={len(words) - 1}; _ttg; echo ${{COMPREPLY[@]}}"]).out.split()
    assert complete("ttg wor") == ["worker"]
    assert complete("ttg worker --chu") == ["--chunk"]
    assert complete("ttg worker --log-format ") == ["text", "json"]
    assert "config" in complete("ttg help c")


@test
def the_man_page_is_valid():
    page = ttg("help", "--man").out
    assert page.startswith(".TH TTG 1")
    if not have("groff"):
        skip("no groff")
    done = run(["groff", "-man", "-Tutf8", "-ww", "-z"], stdin=page)
    assert not done.err, done


main()

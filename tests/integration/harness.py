# SPDX-License-Identifier: Apache-2.0
"""harness - what the integration tests share: the real binary, real processes, conditions.

A test file is a program that speaks TAP:

    #!/usr/bin/python3
    from harness import TTG, main, run, test

    @test
    def version_is_one_line():
        done = run([TTG, "version"], out=r"^ttg \\d")

    main()

Everything a test starts or creates (`spawn`, `run`, `temp_dir`) is gone when the test ends: each
process leads a group of its own, and the group is killed. That holds too when the test program
itself is killed -9, because a guard process, which outlives it, then does the killing. The guard
knows groups by what the test told it over a pipe, so it never touches a process we did not start.

A test fails by an exception; use plain `assert`, or the checks that `run` makes. Its processes'
last lines of output are then shown. A report of a sanitizer from any process fails the test.
`TEST_FILE.py NAME…` runs the tests whose name contains one of the words."""
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TTG = os.path.abspath(os.environ.get("TTG") or os.path.join(ROOT, "build", "ttg"))
DEADLINE_S = 60  # of a condition; generous, because it is only ever waited out by a failure

# Variables of the caller, or of a make above us, that would change what ttg does in a test.
FOREIGN = re.compile(r"(TTG|QUEUE|REDIS|RABBITMQ|SIMULATE|LOG|WORKER|TOTAL|BATCH|CHUNK|JOB|MAKE)_|"
                     r"(MAKEFLAGS|MFLAGS|MAKELEVEL|MAKEOVERRIDES|PROFILE|WERROR|NO_COLOR)$")

_tests = []
_processes = []  # of the running test
_dirs = []
_ports = []      # sockets that stand for them
_shows = []      # what to call when it fails
_top = None      # holds every temporary directory of this program
_guard = None    # write end of the pipe to the guard
_guard_pid = 0


class Skip(Exception):
    """Raised by skip()."""


def test(function):
    """Registers a test; its name, with spaces for underscores, is what TAP shows."""
    _tests.append(function)
    return function


def again_when(excused):
    """For a test that a busy machine alone may fail. `excused` is told how long it took and what it has started, and
    says why its failure means nothing, or nothing; then it is done once more, twice at most."""
    def wrapped(function):
        @functools.wraps(function)
        def case():
            for left in (2, 1, 0):
                before, begin = len(_processes), time.monotonic()
                try:
                    return function()
                except Skip:
                    raise
                except Exception as error:
                    why = left > 0 and excused(time.monotonic() - begin, _processes[before:])
                    if not why:
                        raise
                    _comment(f"again, {why}: {error}")
        return case
    return wrapped


def nobody_silent(function):
    """For a test that counts what is lost or charged: a worker that the machine alone has kept silent for 2.5 s is
    lost rightly."""
    return again_when(lambda _, started: any("reason=silent" in p.err() for p in started) and
                      "a worker was silent")(function)


def skip(reason):
    """Ends the running test as skipped: for what this machine cannot do, never for a failure."""
    raise Skip(reason)


# ---- processes

def start_time(pid):
    """When a process began, in ticks since the machine did; with the number it names a process for ever.
    None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _guard_loop(pipe):
    """Runs in the guard: remembers groups until the pipe closes, then kills what is left. A number that
    another process has by now is none of ours; one that nobody has may still be that of a group."""
    groups, rest = {}, b""
    while True:
        data = os.read(pipe, 4096)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            group, *started = map(int, line[1:].split())
            if line[:1] == b"+":
                groups[group] = started[0]
            else:
                groups.pop(group, None)
    for group, started in groups.items():
        if start_time(group) in (started, None):
            _kill_group(group)
    if _top:
        shutil.rmtree(_top, ignore_errors=True)


def guard_pid():
    """The process of the harness itself that runs beside all others; 0: none yet."""
    return _guard_pid


def _start_guard():
    global _guard, _guard_pid, _top
    if _guard is not None:
        return
    _top = tempfile.mkdtemp(prefix="ttg-test-")
    reader, writer = os.pipe()
    _guard_pid = os.fork()
    if _guard_pid == 0:
        os.setsid()
        os.close(writer)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # or whoever reads our output would wait for the guard
            os.dup2(null, fd)
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        try:
            _guard_loop(reader)
        finally:
            os._exit(0)
    os.close(reader)
    os.set_inheritable(writer, False)
    _guard = writer


def _kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


class Process:
    """A running command. stdout and stderr go to files, so that nothing blocks on a full pipe."""

    def __init__(self, command, env=None, cwd=None, stdin=None, stdout=None, preexec=None):
        _start_guard()
        self.command = [str(word) for word in command]
        self.name = os.path.basename(self.command[0])
        self.dir = tempfile.mkdtemp(prefix=self.name + "-", dir=_top)
        self.stdout_path = os.path.join(self.dir, "stdout")
        self.stderr_path = os.path.join(self.dir, "stderr")
        reports = os.path.join(_top, "sanitizer")
        whole = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        whole.update({
            "ASAN_OPTIONS": f"log_path={reports}:exitcode=99:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": f"log_path={reports}:print_stacktrace=1",
            "TSAN_OPTIONS": f"log_path={reports}:exitcode=99:halt_on_error=1",
        })
        for name, value in (env or {}).items():
            if value is None:
                whole.pop(name, None)
            else:
                whole[name] = str(value)
        if "LD_PRELOAD" in whole:  # or AddressSanitizer ends the process at once
            whole["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.popen = subprocess.Popen(
                self.command, env=whole, cwd=cwd, stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or out, stderr=err, start_new_session=True, preexec_fn=preexec)
        self.pid = self.popen.pid
        self.stdin = self.popen.stdin
        os.write(_guard, b"+%d %d\n" % (self.pid, start_time(self.pid) or 0))
        _processes.append(self)

    def out(self):
        """What it has written to stdout so far, as text."""
        with open(self.stdout_path, "rb") as file:
            return file.read().decode(errors="replace")

    def err(self):
        """What it has written to stderr so far, as text."""
        with open(self.stderr_path, "rb") as file:
            return file.read().decode(errors="replace")

    def code(self):
        """Exit code, negative for a signal, None while it runs."""
        return self.popen.poll()

    def kill(self, number=signal.SIGKILL):
        """Sends a signal to the process (not its group); a process that is gone is no error."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def stop(self):
        self.kill(signal.SIGSTOP)

    def cont(self):
        self.kill(signal.SIGCONT)

    def wait(self, deadline_s=DEADLINE_S):
        """Waits for the end and returns the exit code (negative: died by that signal)."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s} s: {self.command}") from None

    def wait_for(self, pattern, deadline_s=DEADLINE_S):
        """Waits until stdout or stderr matches; returns the match. The process may not end before."""
        found = None

        def seen():
            nonlocal found
            ended = self.popen.poll() is not None
            found = re.search(pattern, self.out(), re.M) or re.search(pattern, self.err(), re.M)
            assert found or not ended, f"{self.name} ended ({self.code()}) without {pattern!r}"
            return found
        wait_until(seen, deadline_s, f"{pattern!r} from {self.name}")
        return found

    def close(self):
        """Kills the whole group, also what a dead leader left behind, and reaps. Its number comes again as
        soon as the leader is reaped and nobody of the group is left: then it is somebody else's."""
        if self.popen.returncode is None or not os.path.exists(f"/proc/{self.pid}"):
            _kill_group(self.pid)
        self.popen.wait()
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except OSError:
                pass
        os.write(_guard, b"-%d\n" % self.pid)


def spawn(command, env=None, cwd=None, stdin=None, stdout=None, preexec=None):
    """Starts a command that runs beside the test. `env` adds variables, None removes one."""
    return Process(command, env, cwd, stdin, stdout, preexec)


class Done:
    """What a finished command left: code, out, err (text)."""

    def __init__(self, process):
        self.code, self.out, self.err = process.code(), process.out(), process.err()

    def __str__(self):
        return f"exit code {self.code}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-4000:]}"


def run(command, code=0, out=None, err=None, stdin=None, env=None, cwd=None, deadline_s=60):
    """Runs a command to its end and checks it. `code` None: any; `out` and `err` are patterns
    that must be found (re.search, multi-line). `stdin` is text or bytes. Returns a Done."""
    process = Process(command, env, cwd, subprocess.PIPE if stdin is not None else None)
    if stdin is not None:
        try:
            process.popen.stdin.write(stdin.encode() if isinstance(stdin, str) else stdin)
            process.popen.stdin.close()
        except BrokenPipeError:
            pass
    process.wait(deadline_s)
    done = Done(process)
    words = " ".join(process.command)
    assert code is None or done.code == code, f"{words}: expected exit code {code}\n{done}"
    assert out is None or re.search(out, done.out, re.M), f"{words}: no {out!r} on stdout\n{done}"
    assert err is None or re.search(err, done.err, re.M), f"{words}: no {err!r} on stderr\n{done}"
    return done


def ttg(*words, **checks):
    """run([TTG, words…], checks…)"""
    return run([TTG, *words], **checks)


# ---- conditions and resources

def wait_until(condition, deadline_s=DEADLINE_S, what=None):
    """Polls until condition() is true and returns its value; fails after the deadline."""
    end = time.monotonic() + deadline_s
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            name = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"not within {deadline_s} s: {name}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def keep(*things):
    """Processes and directories that the tests of a file share: they last until its end."""
    for thing in things:
        (_dirs if isinstance(thing, str) else _processes).remove(thing)


def temp_dir():
    """A new empty directory, removed after the test. Short enough for a Unix socket's path."""
    _start_guard()
    path = tempfile.mkdtemp(dir=_top)
    _dirs.append(path)
    return path


def write_file(path, content="", mode=None):
    """Writes text or bytes and returns the path."""
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    if mode is not None:
        os.chmod(path, mode)
    return path


def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def reserve(port):
    """Whether no other test program has this port, nor anybody else. If so nobody else is given it until our
    end, also while its server is not up: it belongs to who has the abstract Unix socket of its name."""
    mine = socket.socket(socket.AF_UNIX)
    try:
        mine.bind(f"\0ttg-test-port-{port}")
    except OSError:
        mine.close()
        return False
    if is_free(port):
        _ports.append(mine)
        return True
    mine.close()
    return False


def free_port():
    """A TCP port of 127.0.0.1 that is ours until our end. Prefer port 0 where the program tells it.

    Below those that the system gives to connections: a server that starts again on its port, or a
    little later, would otherwise find one there now and then."""
    while True:
        port = random.randrange(12000, 32000)
        if reserve(port):
            return port


def shim(name, **variables):
    """The environment for a process under a library that stands for a bad disk or clock."""
    path = os.path.join(os.path.dirname(os.path.realpath(TTG)), "tests", "shim", name + ".so")
    if not os.path.exists(path):
        skip(f"{path} is not built: make check builds it")
    # With a sanitizer in the process, its library does not come first any more.
    return dict(variables, LD_PRELOAD=path,
                ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0:exitcode=99")


def open_pty():
    """Both ends of a pseudo terminal, for a test that needs one."""
    try:
        return os.openpty()
    except OSError as error:
        skip(f"no terminals here: {error}")


def alive(pid):
    """Whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def have(program):
    """Path of a program, or None."""
    return shutil.which(program)


# ---- TAP

def _comment(text):
    for line in text.rstrip().splitlines():
        print("#", line)


def _show_processes():
    for process in _processes[-8:]:
        _comment(f"$ {' '.join(process.command)}  (exit code {process.code()})")
        for name, text in (("stdout", process.out()), ("stderr", process.err())):
            for line in text.splitlines()[-30:]:
                _comment(f"  {name}: {line[:500]}")


def _clean():
    while _processes:
        process = _processes.pop()
        process.close()
        shutil.rmtree(process.dir, ignore_errors=True)
    while _dirs:
        shutil.rmtree(_dirs.pop(), ignore_errors=True)


# Said by a process that is killed while it looks for leaks at its end: no fault of its.
NO_REPORT = re.compile(r"==\d+==Unable to get registers from thread \d+\.\n")


def _sanitizer_reports():
    text = ""
    for name in os.listdir(_top) if _top else ():
        if name.startswith("sanitizer"):
            path = os.path.join(_top, name)
            with open(path, errors="replace") as file:
                text += NO_REPORT.sub("", file.read())
            os.unlink(path)
    return text


def _end_gently():
    """Whoever is killed tells neither its leaks nor which lines it has run."""
    running = [p for p in _processes if p.code() is None]
    for process in running:
        process.kill(signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(p.code() is None for p in running) and time.monotonic() < deadline:
        time.sleep(0.01)


def on_failure(function):
    """What to call when the running test has failed: it returns a text that tells more of what was going on."""
    _shows.append(function)


def _why(error):
    """In a line, for who sees only the names of failed tests."""
    frames = traceback.extract_tb(error.__traceback__)
    at = ([each for each in frames if each.filename != __file__] or frames)[-1]
    text = str(error).strip() or at.line or type(error).__name__
    return f": {' '.join(text.split())[:200]} ({os.path.basename(at.filename)}:{at.lineno})".replace("#", "")


def _show_more():
    while _shows:
        try:
            _comment(_shows.pop()())
        except Exception as error:  # pylint: disable=broad-except
            _comment(f"no more to show: {error}")


def _run_one(number, function):
    name = function.__name__.replace("_", " ")
    verdict, tail = "ok", ""
    try:
        function()
    except Skip as reason:
        tail = f" # SKIP {reason}"
    except Exception as error:  # pylint: disable=broad-except
        verdict, tail = "not ok", _why(error)
        _comment(traceback.format_exc())
    if os.environ.get("TTG_TEST_GENTLY"):
        _end_gently()
    reports = _sanitizer_reports()
    if reports:
        verdict, tail = "not ok", ": a sanitizer's report"
        _comment(reports)
    if verdict != "ok":
        _show_more()
        _show_processes()
    _shows.clear()
    _clean()
    print(f"{verdict} {number} - {name}{tail}", flush=True)
    return verdict == "ok"


def main():
    """Runs the registered tests, prints TAP and ends the program."""
    def stopped(number, _frame):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stopped)
    words = sys.argv[1:]
    chosen = [t for t in _tests if not words or any(w in t.__name__ for w in words)]
    failed = 0
    try:
        print(f"1..{len(chosen)}", flush=True)
        for number, function in enumerate(chosen, 1):
            failed += not _run_one(number, function)
    finally:
        _clean()
    sys.exit(1 if failed else 0)

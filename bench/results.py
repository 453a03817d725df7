# SPDX-License-Identifier: Apache-2.0
"""results - the figures on disk: bench/results/WORK.json.

    {"format": 1, "work": "noop", "entries": [
      {"system": "ttg", "title": "ttg run", "class": "fsync", "settings": "--sync always",
       "version": "ttg 0.1", "parameters": {"tasks": 300000, "workers": 3},
       "rounds": [{"seconds": 1.2, "cpu_s": 1.0, …}, …],
       "context": {"when": …, "commit": …, "machine": …, "kernel": …, …}}, …]}

An entry that could not be measured has "unavailable" instead of rounds. A new run replaces the
entries of the same system, class and parameters, or adds its rounds to them (--keep), so that a
long table can be measured in pieces; rounds of another state of ttg are never kept."""
import datetime
import json
import os
import platform
import statistics
import subprocess

from peers.base import BENCH, ROOT

FORMAT = 1
TEXTS = ("system", "title", "class", "settings", "version")


def path_of(directory, work):
    return os.path.join(directory or os.path.join(BENCH, "results"), work + ".json")


def output_of(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False, cwd=ROOT)
    return done.stdout.strip()


def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def context(directory):
    """Where and when: the machine, what is on it, which state of the tree."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory_kb = int(file.readline().split()[1])
    measured = "src", "include"  # the commit that changed them last: figures of two are of one ttg
    dirty = output_of("git", "status", "--porcelain", "--untracked-files=no", *measured)
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "commit": output_of("git", "log", "-1", "--format=%h", "--abbrev=10", "--", *measured)
                  + ("+" if dirty else ""),
        "machine": f"{os.cpu_count()} x {processor()}, {memory_kb / 2**20:.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "filesystem": output_of("findmnt", "-no", "FSTYPE", "-T", directory),
        "load": os.getloadavg()[0],
    }


def key(entry):
    return entry["system"], entry["class"], json.dumps(entry["parameters"], sort_keys=True)


def load(path, work):
    if not os.path.exists(path):
        return {"format": FORMAT, "work": work, "entries": []}
    with open(path, encoding="utf-8") as file:
        return check(json.load(file))


def merge(path, work, entries, keep):
    """Writes the new ones among the old; what could not be measured now leaves old figures be."""
    whole = load(path, work)
    old = {key(e): e for e in whole["entries"]}
    for entry in entries:
        before = old.get(key(entry))
        if before and "unavailable" in entry:
            continue
        if before and keep and "rounds" in before and same_state(before, entry):
            entry = {**entry, "rounds": before["rounds"] + entry["rounds"]}
        old[key(entry)] = entry
    whole["entries"] = list(old.values())
    check(whole)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    os.replace(path + ".new", path)


def same_state(before, now):
    """The others do not change with our commits."""
    return (not now["system"].startswith("ttg")
            or before["context"]["commit"] == now["context"]["commit"])


def check(whole):
    """Raises ValueError where the file is not as said above; returns it."""
    def expect(condition, what):
        if not condition:
            raise ValueError(f"results of {whole.get('work')!r}: {what}")
    expect(whole.get("format") == FORMAT, f"format {whole.get('format')}, not {FORMAT}")
    expect(isinstance(whole.get("work"), str), "no work")
    keys = [key(e) for e in whole["entries"]]
    expect(len(set(keys)) == len(keys), "an entry is there twice")
    for entry in whole["entries"]:
        expect(all(isinstance(entry.get(t), str) for t in TEXTS), f"texts are missing: {entry}")
        expect(isinstance(entry.get("parameters"), dict), f"no parameters: {entry}")
        expect("unavailable" in entry or entry.get("rounds"), f"no rounds: {entry}")
        for one in entry.get("rounds", ()):
            expect(all(isinstance(v, (int, float)) or v is None for v in one.values()),
                   f"not a number: {one}")
        expect("unavailable" in entry or {"when", "commit", "machine", "kernel"} <=
               set(entry.get("context", ())), f"no context: {entry}")
    return whole


def values(entry, name):
    return [r[name] for r in entry.get("rounds", ()) if r.get(name) is not None]


def median(entry, name):
    found = values(entry, name)
    return statistics.median(found) if found else None

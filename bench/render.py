# SPDX-License-Identifier: Apache-2.0
"""render - from bench/results/*.json to the tables of docs/performance.md and docs/plots/*.svg.

A table stands between `<!-- bench:NAME -->` and `<!-- /bench -->`; what is there is replaced. The
same figures always give the same text, so a test can see whether somebody edited it by hand."""
import os
import re
import sys

import results
import summary
import svg
import work_growth
from peers.base import ROOT

OWN_LOAD = 8      # a run alone gets so far; more comes from others
OWN_OTHERS = 0.5  # processors that the system itself and what watches the machine may take
PAGE, PLOTS = "docs/performance.md", "docs/plots"
CLASSES = {"fsync": "synced before it is answered", "everysec": "synced about once a second",
           "none": "not synced"}


def ours(entry):
    return entry["system"].startswith("ttg")


def count(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(row) + " |" for row in rows)])


def name_of(entry):
    return f"**{entry['title']}**" if ours(entry) else entry["title"]


def measured(entries):
    return [e for e in entries if e.get("rounds")]


def missing(entries):
    """Rows of what could not be measured; an empty list when all could."""
    return sorted({f"{e['title']}: not measured, {e['unavailable']}."
                   for e in entries if "unavailable" in e})


def disturbed(entry):
    """By others. Rounds tell that; older ones only have the machine's load after the last. Counted
    instructions do not change with it."""
    if results.values(entry, "instructions"):
        return False
    others = results.median(entry, "others")
    return entry["context"]["load"] > OWN_LOAD if others is None else others > OWN_OTHERS


def notes(entries):
    """Below a table: versions, machine, day, state of the tree."""
    seen = measured(entries)
    if not seen:
        return "No figures yet."
    contexts = [e["context"] for e in seen]
    versions = sorted({part.strip() for e in seen for part in e["version"].split(",") if part})
    places = sorted({f"{c['machine']}, Linux {c['kernel']}, {c['filesystem']}" for c in contexts})
    days = sorted({c["when"][:10] for c in contexts})
    commits = sorted({c["commit"] for c in contexts})
    rounds = sorted({len(e["rounds"]) for e in seen})
    busy = sorted({e["title"] + (", SIGSTOP" if e["parameters"].get("fault") == "stop" else "")
                   for e in seen if disturbed(e)})
    text = (f"{'; '.join(places)}; {' to '.join(days[:1] + days[1:][-1:])}; commit "
            f"{', '.join(commits)}; {' to '.join(map(str, rounds[:1] + rounds[1:][-1:]))} rounds. "
            f"{'; '.join(versions)}.")
    syncs = sorted(us for e in seen for us in results.values(e, "sync_us"))
    if syncs:
        text += (f" Just before a round this disk synced 4 KiB in {syncs[0]} to {syncs[-1]} µs "
                 f"(median {middle(syncs):.0f}), and meanwhile others used up to "
                 f"{max(us for e in seen for us in results.values(e, 'others')):.2f} of its "
                 "processors.")
    if busy:
        text += f" Beside other work: {', '.join(busy)}."
    return "\n".join([text, *missing(entries)])


def rate_rows(entries):
    """(entry, rates of its rounds in order, tasks), fastest first."""
    found = []
    for entry in measured(entries):
        tasks = entry["parameters"]["tasks"]
        found.append((entry, sorted(tasks / s for s in results.values(entry, "seconds")), tasks))
    return sorted(found, key=lambda f: -middle(f[1]))


def middle(values):
    half = len(values) // 2
    ordered = sorted(values)
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def per_task(entry, name, tasks, scale=1.0):
    value = results.median(entry, name)
    return "" if value is None else count(value / tasks * scale)


def rates(work, title, entries, with_syncs):
    parts, plots = [], {}
    for durability, meaning in CLASSES.items():
        rows = rate_rows([e for e in entries if e["class"] == durability])
        if not rows:
            continue
        head = ["", "settings", "tasks/s", "least … greatest", "tasks", "CPU µs a task"]
        body = [[name_of(e), e["settings"], f"{count(middle(r))}",
                 f"{count(r[0])} … {count(r[-1])}", f"{n:,}", per_task(e, "cpu_s", n, 1e6)]
                + ([per_task(e, "syncs", n, 1000)] if with_syncs else []) for e, r, n in rows]
        plot = f"{work}-{durability}.svg"
        plots[plot] = svg.bars(f"{title}, {meaning}", "tasks a second",
                               [(e["title"], middle(r), r[0], r[-1], ours(e)) for e, r, _ in rows])
        parts += [f"**{meaning[0].upper() + meaning[1:]}** (class `{durability}`)",
                  f"![{title}, {meaning}](plots/{plot})",
                  table(head + (["syncs a 1000 tasks"] if with_syncs else []), body)]
    return "\n\n".join([*parts, notes(entries)]), plots


def noop(entries):
    return rates("noop", "No-op tasks", entries, True)


def exec_(entries):
    return rates("exec", "A command for each task", entries, False)


def straggler(entries):
    rows = sorted(measured(entries), key=lambda e: results.median(e, "over_ideal"))
    body = [[name_of(e), e["class"], e["settings"], f"{results.median(e, 'over_ideal'):.2f}",
             f"{min(results.values(e, 'over_ideal')):.2f} … "
             f"{max(results.values(e, 'over_ideal')):.2f}",
             f"{results.median(e, 'seconds'):.2f} s"] for e in rows]
    bars = [(f"{e['title']} ({e['class']})", results.median(e, "over_ideal"),
             min(results.values(e, "over_ideal")), max(results.values(e, "over_ideal")), ours(e))
            for e in rows]
    plots = {"straggler.svg": svg.bars("One of 8 workers is 10 times slower: time over what is "
                                       "possible", "times", bars)} if bars else {}
    head = ["", "class", "settings", "over ideal", "least … greatest", "finish"]
    return "\n\n".join((["![straggler](plots/straggler.svg)", table(head, body)] if body else [])
                       + [notes(entries)]), plots


def seconds_text(value):
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def reclaim(entries):
    def middle_ms(entry):
        values = results.values(entry, "ms")
        return middle(values) if values else float("inf")
    seen = sorted(measured(entries), key=middle_ms)
    body, bars = [], []
    for e in seen:
        ms = results.values(e, "ms")
        lost = len(e["rounds"]) - len(ms)
        never = f"not within {max(results.values(e, 'patience_s') or [25]):.0f} s"
        fault = "" if e["parameters"]["fault"] == "kill" else ", SIGSTOP"
        load = e["parameters"]["load"]
        fault += f", beside {load} busy processes" if load else ""
        body.append([name_of(e) + fault, e["settings"], str(len(e["rounds"])),
                     *([seconds_text(middle(ms) / 1e3), seconds_text(percentile(ms, .99) / 1e3)]
                       if ms else [never, ""]),
                     f"the last one {never}" if lost and ms else ""])
        if ms:
            bars.append((e["title"] + fault, middle(ms), min(ms), max(ms), ours(e)))
    plots = {"reclaim.svg": svg.bars("From the kill of a worker to the start of its task elsewhere",
                                     "ms", bars)} if bars else {}
    head = ["", "settings", "kills", "p50", "p99", ""]
    return "\n\n".join((["![reclaim](plots/reclaim.svg)", table(head, body)] if body else [])
                       + [notes(entries)]), plots


def cold(entries):
    rows = sorted(measured(entries), key=lambda e: results.median(e, "seconds"))
    body = [[name_of(e), e["class"], e["settings"], seconds_text(results.median(e, "seconds")),
             f"{seconds_text(min(results.values(e, 'seconds')))} … "
             f"{seconds_text(max(results.values(e, 'seconds')))}"] for e in rows]
    bars = [(e["title"], results.median(e, "seconds"), min(results.values(e, "seconds")),
             max(results.values(e, "seconds")), ours(e)) for e in rows]
    plots = {"cold.svg": svg.bars("From nothing to the result of one task", "seconds", bars)} \
        if bars else {}
    head = ["", "class", "settings", "median", "least … greatest"]
    return "\n\n".join((["![cold start](plots/cold.svg)", table(head, body)] if body else [])
                       + [notes(entries)]), plots


def start(entries):
    rows = measured(entries)
    body = [[name_of(e), *(f"{v * 1e3:.2f} ms" for v in (
        results.median(e, "seconds"), percentile(results.values(e, "seconds"), .99)))]
            for e in rows]
    return table(["", "p50", "p99"], body) + "\n\n" + notes(entries), {}


AXES = {"tasks": ("tasks", "More tasks"), "workers": ("workers", "More workers"),
        "payload": ("bytes of a result", "Larger results")}


def series(entries, axis, value):
    """[(title, [(x, y)])] in the order of the systems as they were measured."""
    found = {}
    for entry in sorted(entries, key=lambda e: (not ours(e), e["title"], e["parameters"][axis])):
        y = value(entry)
        if y:
            title = entry["title"] + ("" if entry["class"] == "fsync" else " (in memory)")
            found.setdefault(title, []).append((entry["parameters"][axis], y))
    return list(found.items())


def best(entry):
    """Of growth, which is about the shape, the quickest round alone."""
    return {**entry, "rounds": [min(entry["rounds"], key=lambda r: r["seconds"])]}


def rate(entry):
    return entry["parameters"]["tasks"] / results.median(entry, "seconds")


GROWTH_PLOTS = {
    "tasks": [("growth-time.svg", "Time over tasks", "seconds",
               lambda e: results.median(e, "seconds")),
              ("growth-memory.svg", "Memory of all processes over tasks", "MB",
               lambda e: (results.median(e, "memory_bytes") or 0) / 1e6)],
    "workers": [("growth-workers.svg", "Tasks a second over workers", "tasks/s", rate)],
    "payload": [("growth-payload.svg", "Results in MB a second over their size", "MB/s",
                 lambda e: rate(e) * e["parameters"]["payload"] / 1e6)]}


def memory(entry):
    """Nothing where the work was over before the first look."""
    found = results.median(entry, "memory_bytes")
    return f"{found / 1e6:.0f}" if found else ""


def left_out(entry):
    return work_growth.TOO_LONG in entry.get("unavailable", "")


def too_long(entries, axis):
    """Where rows end: the first size of each system that was left out."""
    first = {}
    for e in sorted(entries, key=lambda e: -e["parameters"][axis]):
        if left_out(e) and e["parameters"]["axis"] == axis:
            first[e["title"]] = e["unavailable"]
    return ["Left out, by the time of the size before: "
            + "; ".join(f"{title}, {why}" for title, why in sorted(first.items())) + "."] \
        if first else []


def growth(entries):
    parts, plots = [], {}
    head = ["seconds", "tasks/s", "CPU µs a task", "memory MB", "written, bytes a task",
            "kept on disk, MB", "syncs"]
    for axis, (unit, title) in AXES.items():
        rows = [best(e) for e in measured(entries) if e["parameters"]["axis"] == axis]
        if not rows:
            continue
        parts.append(f"**{title}**")
        for plot, heading, y_name, value in GROWTH_PLOTS[axis]:
            plots[plot] = svg.lines(heading, unit, y_name, series(rows, axis, value))
            parts.append(f"![{heading}](plots/{plot})")
        rows.sort(key=lambda e: (not ours(e), e["title"], e["parameters"][axis]))
        body = []
        for e in rows:
            tasks = e["parameters"]["tasks"]
            body.append([name_of(e), e["class"], f"{e['parameters'][axis]:,}",
                         f"{results.median(e, 'seconds'):.3g}", count(rate(e)),
                         per_task(e, "cpu_s", tasks, 1e6),
                         memory(e),
                         per_task(e, "written_bytes", tasks),
                         f"{results.median(e, 'disk_bytes') / 1e6:.1f}",
                         f"{results.median(e, 'syncs'):,.0f}"])
        parts.append(table(["", "class", unit, *head], body))
        parts += too_long(entries, axis)
    return "\n\n".join([*parts, notes([e for e in entries if not left_out(e)])]), plots


def node(entries):
    found = {}
    for e in measured(entries):
        key = (e["parameters"]["what"], e["parameters"]["socket"])
        found.setdefault(key, {})[e["system"]] = e
    body = []
    for (what, socket), pair in found.items():
        if len(pair) < 2:
            continue
        mine, other = pair["ttg-node"], pair["redis"]
        ours_ops, their_ops = results.median(mine, "ops_per_s"), results.median(other, "ops_per_s")
        body.append([what, socket, f"{ours_ops:,.0f}/s", f"{their_ops:,.0f}/s",
                     f"{ours_ops / their_ops:.2f} ×",
                     *(f"{results.median(e, 'p99_us') / 1000:.1f} ms" for e in (mine, other))])
    head = ["what", "socket", "node", "Redis", "", "p99 node", "p99 Redis"]
    return "\n\n".join(([table(head, body)] if body else []) + [notes(entries)]), {}


def instructions(entries):
    body = [[e["title"], f"{results.median(e, 'instructions'):,.0f}"] for e in measured(entries)]
    return table(["path", "instructions"], body) + "\n\n" + notes(entries), {}


SECTIONS = {"noop": noop, "exec": exec_, "straggler": straggler, "reclaim": reclaim,
            "growth": growth, "node": node, "cold": cold, "start": start,
            "instructions": instructions}


def put(page, place, text):
    page, found = re.subn(rf"(<!-- bench:{place} -->\n).*?(<!-- /bench -->)",
                          lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S)
    if found != 1:
        raise ValueError(f"{PAGE} has {found} places for {place}, not one")
    return page


def render(directory, page):
    """(text of the page with its tables, {plot: text})"""
    def load(work):
        return results.load(results.path_of(directory, work), work)["entries"]
    plots = {}
    page = put(page, "summary", table(["", "ttg run", "best other", "which", "ttg is ahead by"],
                                      summary.rows(load)))
    for work, section in SECTIONS.items():
        text, more = section(load(work))
        plots.update(more)
        page = put(page, work, text)
    return page, plots


def main(options):
    path, plots_dir = os.path.join(ROOT, PAGE), os.path.join(ROOT, PLOTS)
    with open(path, encoding="utf-8") as file:
        before = file.read()
    page, plots = render(options.results, before)
    files = {path: page, **{os.path.join(plots_dir, n): t for n, t in plots.items()}}
    changed = []
    for name, text in files.items():
        old = ""
        if os.path.exists(name):
            with open(name, encoding="utf-8") as file:
                old = file.read()
        if old != text:
            changed.append(os.path.relpath(name, ROOT))
            if not options.check:
                os.makedirs(os.path.dirname(name), exist_ok=True)
                with open(name, "w", encoding="utf-8") as file:
                    file.write(text)
    for name in changed:
        print(("differs from the results: " if options.check else "wrote ") + name, file=sys.stderr)
    return 1 if changed and options.check else 0

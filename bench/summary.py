# SPDX-License-Identifier: Apache-2.0
"""summary - the table at the top of the page: `ttg run` beside the quickest other system of the same
durability, whatever that is, also where ttg is behind."""
import statistics

import results


def tasks_a_second(entry):
    """The median of the rates of its rounds, as in the tables below."""
    return statistics.median(entry["parameters"]["tasks"] / seconds
                             for seconds in results.values(entry, "seconds"))


def rate(value):
    return f"{value:,.0f}/s"


def milliseconds(value):
    return f"{value:.3g} ms"


def cold_ms(entry):
    return results.median(entry, "seconds") * 1e3


def over_ideal(entry):
    return results.median(entry, "over_ideal")


def kill_ms(entry):
    """None where the task never came back."""
    return results.median(entry, "ms") if entry["parameters"]["fault"] == "kill" else None


SYNCED, SECOND, NOT = "fsync", "everysec", "none"
# what, work, class, value of an entry (None: not to be compared), text of a value, is more better?
ROWS = [("No-op tasks, synced", "noop", SYNCED, tasks_a_second, rate, True),
        ("No-op tasks, synced once a second", "noop", SECOND, tasks_a_second, rate, True),
        ("No-op tasks, not synced", "noop", NOT, tasks_a_second, rate, True),
        ("A command for each task, synced", "exec", SYNCED, tasks_a_second, rate, True),
        ("A command for each task, synced once a second", "exec", SECOND, tasks_a_second, rate,
         True),
        ("A command for each task, not synced", "exec", NOT, tasks_a_second, rate, True),
        ("One slow worker of eight, synced: time over ideal", "straggler", SYNCED, over_ideal,
         "{:.2f}".format, False),
        ("The same, not synced", "straggler", NOT, over_ideal, "{:.2f}".format, False),
        ("Kill of a worker to its task's start elsewhere, synced", "reclaim", SYNCED, kill_ms,
         milliseconds, False),
        ("From nothing to one result, synced", "cold", SYNCED, cold_ms, milliseconds, False)]


def row(what, entries, value, text, more):
    """Cells, or None where one of the two has no figure."""
    mine, others = [], []
    for entry in entries:
        figure = value(entry) if entry.get("rounds") else None
        if figure is not None and entry["system"] == "ttg":
            mine.append(figure)
        elif figure is not None and not entry["system"].startswith("ttg"):
            others.append((figure, entry["title"]))
    if not mine or not others:
        return None
    best, title = (max if more else min)(others)
    times = mine[0] / best if more else best / mine[0]
    return [what, text(mine[0]), text(best), title, f"{times:.3g} ×"]


def rows(load):
    """Of all that there are figures for; load(work) gives its entries."""
    found = (row(what, [e for e in load(work) if e["class"] == durability], *rest)
             for what, work, durability, *rest in ROWS)
    return [cells for cells in found if cells]

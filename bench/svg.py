# SPDX-License-Identifier: Apache-2.0
"""svg - two kinds of plots, written by hand: bars and lines, both for logarithmic scales, readable
on white and on black (the colours follow the reader's setting)."""
import math
from xml.sax.saxutils import escape

STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f } .small { font-size: 11px; fill: #57606a }
.title { font-weight: 600; font-size: 13px } .grid { stroke: #d0d7de } .error { stroke: #24292f }
.mine { fill: #0969da } .other { fill: #afb8c1 } path, circle { fill: none; stroke-width: 2 }
.s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #1a7f37 } .s3 { stroke: #8250df }
.s4 { stroke: #6e7781 } .s5 { stroke: #bf3989 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .error { stroke: #e6edf3 }
.mine { fill: #4493f8 } .other { fill: #656c76 } .s0 { stroke: #4493f8 } .s1 { stroke: #f0883e }
.s2 { stroke: #3fb950 } .s3 { stroke: #ab7df8 } .s4 { stroke: #9198a1 } .s5 { stroke: #f778ba } }
</style>"""
WIDTH, LABEL, ROW, TOP = 760, 320, 21, 46


def number(value):
    """Short, three digits that matter."""
    if value == 0:
        return "0"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{value / scale:.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def decades(low, high):
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0 ** e for e in range(first, max(last, first + 1) + 1)]


def text(x, y, what, kind="", anchor="start"):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind} text-anchor="{anchor}">{escape(what)}</text>'


def line(x1, y1, x2, y2, kind, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"{more}/>'


def document(height, parts, title):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{escape(title)}">\n'
            + STYLE + "\n" + "\n".join(parts) + "\n</svg>\n")


def bars(title, unit, rows):
    """rows: (label, median, least, greatest, ours?). The greatest is at the top as it is given."""
    ticks = decades(min(r[2] for r in rows), max(r[3] for r in rows))
    left, right = LABEL, WIDTH - 70
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def x(value):
        return left + (math.log10(value) - low) / (high - low) * (right - left)
    bottom = TOP + ROW * len(rows)
    parts = [text(8, 18, title, "title"), text(right, 18, unit + ", logarithmic", "small", "end")]
    for tick in ticks:
        parts += [line(x(tick), TOP - 6, x(tick), bottom, "grid"),
                  text(x(tick), TOP - 10, number(tick), "small", "middle")]
    for i, (label, value, least, greatest, mine) in enumerate(rows):
        y = TOP + ROW * i
        parts += [
            text(left - 8, y + 14, label, "", "end"),
            f'<rect x="{left}" y="{y + 3}" width="{max(x(value) - left, 1):.1f}" '
            f'height="{ROW - 7}" class="{"mine" if mine else "other"}"/>',
            line(x(least), y + ROW / 2, x(greatest), y + ROW / 2, "error"),
            text(max(x(value), x(greatest)) + 6, y + 14, number(value), "small")]
    return document(bottom + 10, parts, title)


def dashes(i):
    """Of the seventh line and later ones, as the colours come again."""
    return ' stroke-dasharray="5 3"' if i >= 6 else ""


def lines(title, x_name, y_name, series):
    """series: (name, [(x, y), …]), both axes logarithmic."""
    points = [p for _, ps in series for p in ps]
    xs, ys = decades(*bounds([p[0] for p in points])), decades(*bounds([p[1] for p in points]))
    left, right, top, bottom = 70, WIDTH - 280, TOP, TOP + 260

    def place(ticks, value, start, end):
        low, high = math.log10(ticks[0]), math.log10(ticks[-1])
        return start + (math.log10(value) - low) / (high - low) * (end - start)
    parts = [text(8, 18, title, "title"), text(left, 36, y_name, "small"),
             text(right, bottom + 32, x_name, "small", "end")]
    for tick in xs:
        at = place(xs, tick, left, right)
        parts += [line(at, top, at, bottom, "grid"),
                  text(at, bottom + 16, number(tick), "small", "middle")]
    for tick in ys:
        at = place(ys, tick, bottom, top)
        parts += [line(left, at, right, at, "grid"),
                  text(left - 6, at + 4, number(tick), "small", "end")]
    labels = []
    for i, (name, ps) in enumerate(series):
        spots = [(place(xs, px, left, right), place(ys, py, bottom, top)) for px, py in ps]
        parts.append(f'<path class="s{i % 6}"{dashes(i)} d="M'
                     + " L".join(f"{sx:.1f} {sy:.1f}" for sx, sy in spots) + '"/>')
        parts += [f'<circle class="s{i % 6}" cx="{sx:.1f}" cy="{sy:.1f}" r="2.5"/>'
                  for sx, sy in spots]
        labels.append([spots[-1][1], name, i, spots[-1]])
    at = -1e9
    for wanted, name, i, _ in sorted(labels):
        at = max(wanted, at + 16)
        parts += [line(right + 8, at, right + 22, at, f"s{i % 6}", dashes(i)), text(right + 27, at + 4, name)]
    return document(bottom + 44, parts, title)


def bounds(values):
    return min(values), max(values)

# SPDX-License-Identifier: Apache-2.0
"""docrig - the blocks of a page that a test runs, and what they have to print."""
import re

FENCE = re.compile(r"^```(.*?)\n(.*?)^```[ \t]*$", re.M | re.S)


def blocks(text, run="sh"):
    """(line, script, expected lines or None) for each block of that kind, and each comment
    `<!-- run` or `<!-- run system`: what has to be so before a block of its kind and is not the
    reader's to do."""
    found, last = [], None
    text = re.sub(r"^<!-- run( \w+)?\n(.*?)^-->$", r"```sh\1\n\2```", text, flags=re.M | re.S)
    for block in FENCE.finditer(text):
        kind, body = block.group(1).strip(), block.group(2)
        line = text.count("\n", 0, block.start()) + 1
        if kind == "output":
            assert last is not None, f"line {line}: output of what?"
            last[2], last = body.splitlines(), None
        else:
            last = [line, body, None] if kind.split(" ")[0] == "sh" else None
            if kind == run:
                found.append(last)
    return found


def check_output(expected, output, where):
    """Each expected line is found behind the one before."""
    lines, at = output.splitlines(), 0
    for line in expected:
        pattern = ".*".join(re.escape(part) for part in line.strip().split("..."))
        while at < len(lines) and not re.fullmatch(pattern, lines[at].strip()):
            at += 1
        assert at < len(lines), f"{where}: no line {line!r} (in this place) in:\n{output}"
        at += 1

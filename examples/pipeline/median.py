#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The aggregate of medians.json: the median of each client's values.

One client a line in, when it has ended: {"client": "fox", "rows": [{"key": "", "value": 5}, ...]};
what is to go on comes out: {"result": [messages]} or {"error": "why"}.

With "merge": true in the question (asked where the stage has "merge": true, for a client with many
rows) the answer is fewer rows that stand for those. Here equal values become one row, whose value is
[value, how many]."""
import collections
import json
import sys


def median(counts):
    """The lower one of two in the middle."""
    before, middle = 0, (sum(counts.values()) - 1) // 2
    for value in sorted(counts):
        before += counts[value]
        if before > middle:
            return value
    raise ValueError("no values")


for line in sys.stdin:
    asked = json.loads(line)
    counts = collections.Counter()
    for row in asked["rows"]:
        value, count = row["value"] if isinstance(row["value"], list) else (row["value"], 1)
        counts[value] += count
    if asked.get("merge"):
        made = [{"value": [value, count]} for value, count in counts.items()]
    else:
        made = [{"value": median(counts)}]
    print(json.dumps({"result": made}), flush=True)

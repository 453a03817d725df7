# SPDX-License-Identifier: Apache-2.0
"""A coprocess of `ttg run --coproc` that does in Python what the Python peers' tasks do."""
import json
import sys

for line in sys.stdin:
    sys.stdout.write('{"sum":%d}\n' % json.loads(line)["start_param"])
    sys.stdout.flush()

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Three workers, one job, no coordination: each sums its own third of the parameters 0..9999.
set -eu

ttg=${TTG:-build/ttg}
workers=3
params=10000
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

i=0
while [ $i -lt $workers ]; do
    QUEUE_MODE=false WORKER_ID=$i TOTAL_WORKERS=$workers TOTAL_PARAMETERS=$params \
        SIMULATE_WORK_MS=0 "$ttg" worker >"$dir/$i" 2>"$dir/$i.log" &
    pids="${pids-} $!"
    i=$((i + 1))
done
failed=
for pid in $pids; do
    wait "$pid" || failed=1
done

cat "$dir"/[0-9]
python3 - $((params * (params - 1) / 2)) "$dir"/[0-9] <<'PYTHON' || failed=1
import json
import sys
sums = [json.loads(open(path).read())["result_summary"]["sum"] for path in sys.argv[2:]]
expected = int(sys.argv[1])
wrong = "" if sum(sums) == expected else f", but it must be {expected}"
print(" + ".join(map(str, sums)), "=", f"{sum(sums)}{wrong}")
sys.exit(sum(sums) != expected)
PYTHON
if [ -n "$failed" ]; then
    cat "$dir"/*.log >&2
    exit 1
fi

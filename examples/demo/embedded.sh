#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 1,000 parameters on 3 workers, one of which is killed (-9) in the middle of a chunk. Another worker
# takes the chunk over, a new worker takes its place, and the result is whole.
set -eu

ttg=${TTG:-build/ttg}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
results=$dir/results.ndjson
export XDG_STATE_HOME="$dir"

echo "\$ ttg run --params 1000 --chunk 10 --workers 3 --simulate-ms 10 --output results.ndjson"
"$ttg" run --params 1000 --chunk 10 --workers 3 --simulate-ms 10 --output "$results" --json \
    >"$dir/summary" &
run=$!
trap 'kill $run 2>/dev/null || :; rm -rf "$dir"' EXIT

# The process of a worker, from its command line.
worker() {
    children=$(cat /proc/$run/task/*/children 2>/dev/null) || :
    for child in $children; do
        tr '\0' ' ' <"/proc/$child/cmdline" 2>/dev/null | grep -q -- "--name $1 " && echo "$child"
    done
    :
}

i=0
until [ -f "$results" ] && [ "$(wc -l <"$results")" -ge 20 ]; do
    i=$((i + 1))
    [ $i -lt 200 ] || { echo "the job does not get on" >&2; exit 1; }
    kill -0 $run 2>/dev/null || { echo "the run ended too early" >&2; exit 1; }
    sleep 0.05
done
victim=$(worker worker-1)
echo "\$ kill -9 $victim   # worker-1, in the middle of a chunk"
kill -9 "$victim"

code=0
wait $run || code=$?
cat "$dir/summary"
echo "\$ ttg verify --output results.ndjson --chunks 100"
"$ttg" verify --output "$results" --chunks 100
python3 - "$dir/summary" <<'PYTHON' || code=1
import json
import sys
s = json.load(open(sys.argv[1]))
wrong = [f"{name} is {s[name]}, not {want}" for name, want in
         (("completed", 100), ("sum", 499500), ("verified", True), ("workers_lost", 1)) if s[name] != want]
wrong += [] if s["reclaimed"] >= 1 else ["no chunk was taken over"]
print("; ".join(wrong) or f"100 of 100 chunks, {s['reclaimed']} taken over from the killed worker, "
      f"sum {s['sum']} = 1000 * 999 / 2")
sys.exit(bool(wrong))
PYTHON
exit $code

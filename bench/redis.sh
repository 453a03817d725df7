#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures `ttg run --queue redis://` beside a bare pipelined client on the same redis-server, in
# turn, with both ways of syncing. Prints a Markdown table of medians.
# usage: bench/redis.sh [ROUNDS [CHUNKS]]; needs `make all build/release/bench/redis_bare`.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5} chunks=${2:-200000}
dir=$(mktemp -d)
pid=
trap 'rm -rf "$dir"' EXIT
port=$((20000 + $$ % 20000))

server_cpu() { # user + system seconds of the server so far
    redis-cli -p $port info cpu | awk -F: '/^used_cpu_(user|sys):/ { s += $2 } END { print s }'
}

measure() { # SYNC WHAT COMMAND...: one line "SYNC|WHAT|chunks/s|with adding|µs of the server"
    local sync=$1 what=$2 before after text
    shift 2
    redis-cli -p $port flushall >/dev/null
    before=$(server_cpu)
    text=$("$@")
    after=$(server_cpu)
    python3 - "$sync" "$what" "$text" "$before" "$after" "$chunks" <<'PY'
import json, re, sys
sync, what, text, before, after, chunks = sys.argv[1:]
if text.startswith("{"):
    rate = int(chunks) / json.loads(text)["seconds"]
    whole = rate
else:
    rate, whole = [float(n) for n in re.findall(r"\d+", text)[:2]]
print(sync, what, rate, whole, (float(after) - float(before)) * 1e6 / int(chunks), sep="|")
PY
}

run_ttg() {
    rm -f "$dir/out"
    build/ttg run --queue redis://127.0.0.1:$port --params "$chunks" --chunk 1 --simulate-ms 0 \
        --workers 3 --output "$dir/out" --json 2>/dev/null
}

measure_all() { # in a subshell, which ends the server whatever happens
    trap '[ -z "$pid" ] || { kill $pid; wait $pid || :; } 2>/dev/null' EXIT
    for sync in everysec always; do
        mkdir "$dir/$sync"
        redis-server --port $port --bind 127.0.0.1 --dir "$dir/$sync" --appendonly yes \
            --appendfsync $sync --save "" >"$dir/$sync.out" 2>&1 &
        pid=$!
        until redis-cli -p $port ping >/dev/null 2>&1; do sleep 0.05; done
        for _ in $(seq "$rounds"); do
            measure $sync "bare, 3 processes" build/release/bench/redis_bare --port $port \
                --chunks "$chunks" --processes 3
            measure $sync "ttg run, 3 workers" run_ttg
            measure $sync "bare, 1 process" build/release/bench/redis_bare --port $port \
                --chunks "$chunks" --processes 1
        done
        kill $pid
        wait $pid || :
        pid=
    done
}

measure_all | python3 -c '
import collections, statistics, sys
rows = collections.defaultdict(list)
for line in sys.stdin:
    sync, what, *figures = line.rstrip("\n").split("|")
    rows[sync, what].append([float(f) for f in figures])
print("| appendfsync | who | chunks/s | with adding the tasks | least | greatest | µs of the server |")
print("|---|---|---|---|---|---|---|")
for (sync, what), runs in rows.items():
    rate, whole, cpu = (statistics.median(r[i] for r in runs) for i in range(3))
    print("|", sync, "|", what, "|", round(rate), "|", round(whole), "|",
          round(min(r[1] for r in runs)), "|", round(max(r[1] for r in runs)), "|", round(cpu, 1), "|")
'
echo
echo "$(nproc) processors, $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg), $rounds rounds of $chunks chunks," \
    "$(redis-server --version | cut -d' ' -f1-3)"

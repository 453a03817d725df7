#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures a node beside redis-server with `appendfsync always`: same client, same machine, in turn.
# usage: bench/node_vs_redis.sh [ROUNDS]; needs `make all build/release/bench/node_bench`.
# RT=1 gives servers and client real-time priority, so that a busy machine disturbs less (root).
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5}
bench=build/release/bench/node_bench
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$dir"' EXIT
command -v redis-server >/dev/null || { echo "needs redis-server"; exit 1; }

build/ttg node --data "$dir/node" --listen 127.0.0.1:0 --unix "$dir/n.sock" \
    >"$dir/node.out" 2>"$dir/node.err" &
pids+=($!)
mkdir "$dir/redis"
redis_port=$((20000 + $$ % 20000))
redis-server --port $redis_port --bind 127.0.0.1 --unixsocket "$dir/r.sock" --dir "$dir/redis" \
    --appendonly yes --appendfsync always --save "" >"$dir/redis.out" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    grep -q '^ready' "$dir/node.out" && redis-cli -p $redis_port ping >/dev/null 2>&1 && break
    sleep 0.1
done
node_port=$(sed -n 's/^listening on 127.0.0.1://p' "$dir/node.out")

if [ -n "${RT:-}" ]; then
    for pid in "${pids[@]}"; do
        for task in /proc/"$pid"/task/*; do
            chrt -R -r -p 1 "$(basename "$task")"
        done
    done
    bench="chrt -r 1 $bench"
fi

measure() { # NAME ARGUMENTS...
    local name=$1
    shift
    for _ in $(seq "$rounds"); do
        echo "$name|node, TCP|$($bench --port "$node_port" "$@")"
        echo "$name|Redis, TCP|$($bench --port $redis_port "$@")"
        echo "$name|node, Unix|$($bench --unix "$dir/n.sock" "$@")"
        echo "$name|Redis, Unix|$($bench --unix "$dir/r.sock" "$@")"
    done
}

{
    measure "XADD, no pipeline" --ops 60000 xadd
    measure "XADD, pipeline 16" --ops 300000 --pipeline 16 xadd
    measure "XREADGROUP + XACK" --ops 30000 group
} | python3 -c '
import collections, re, statistics, sys
rows = collections.defaultdict(list)
for line in sys.stdin:
    what, who, figures = line.rstrip("\n").split("|")
    rows[what, who].append([int(n) for n in re.findall(r"(\d+) (?:ops|us)|p\S+ (\d+)", figures) for n in n if n])
print("| what | who | median ops/s | least | greatest | p50 us | p99 us |")
print("|---|---|---|---|---|---|---|")
for (what, who), runs in rows.items():
    ops = [r[0] for r in runs]
    print("|", what, "|", who, "|", round(statistics.median(ops)), "|", min(ops), "|", max(ops), "|",
          round(statistics.median(r[1] for r in runs)), "|", round(statistics.median(r[2] for r in runs)), "|")
'
echo
echo "$(nproc) processors, $(uname -sr), load $(cut -d' ' -f1 /proc/loadavg), $(redis-server --version | cut -d' ' -f1-3), $rounds rounds"

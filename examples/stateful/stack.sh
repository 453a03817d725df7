#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stack - the scenario's processes; called by the Makefile.
# Each has a file $RUN/NAME.pid with its process id and the time it was started at, so that no
# process of somebody else is ever taken for it, and a log $RUN/NAME.log.
# shellcheck disable=SC2086 # SERVICES is a list
set -eu
SERVICES="queue worker-2 verifier runner"
METADATA_DIR=${METADATA_DIR:-$RUN/worker-data/metadata}
export METADATA_DIR VERIFIER_DIR="$RUN/verifier-data"
export QUEUE_ADDRESS="${QUEUE_ADDRESS:-$RUN/queue.sock}"

started_at() { # PID: in clock ticks since the machine's start; empty when there is none
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

pid_of() { # NAME: its process id, if it runs
    [ -f "$RUN/$1.pid" ] || return 1
    read -r pid since <"$RUN/$1.pid" || return 1
    [ -n "$since" ] && [ "$(started_at "$pid")" = "$since" ] || return 1
    # A process that has ended and was not waited for is not running.
    [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -c1)" != Z ] || return 1
    echo "$pid"
}

note() { # NAME PID
    echo "$2 $(started_at "$2")" >"$RUN/$1.pid"
}

launch() { # NAME COMMAND...
    name=$1
    shift
    setsid "$@" >>"$RUN/$name.log" 2>&1 </dev/null &
    note "$name" $!
}

start() { # NAME
    case $1 in
    queue) launch queue "$TTG" node --data "$RUN/queue-data" --unix "$RUN/queue.sock" ;;
    *) launch "$1" "$BUILD/$1" ;;
    esac
}

end() { # NAME SIGNAL
    pid=$(pid_of "$1") || return 0
    kill "-$2" "$pid" 2>/dev/null || :
    while pid_of "$1" >/dev/null; do sleep 0.02; done
}

forget() { # what an earlier scenario left; the directory may be anybody's, so only that
    mkdir -p "$RUN"
    (cd "$RUN" && rm -rf queue-data queue.sock verifier-data worker-data ./*.log ./*.pid)
}

start_all() {
    for name in up $SERVICES; do
        if pid_of $name >/dev/null; then
            echo "$name runs already: make down" >&2
            exit 1
        fi
    done
    forget
    mkdir -p "$METADATA_DIR"
    for name in $SERVICES; do : >"$RUN/$name.log"; done
    for name in $SERVICES; do start $name; done
}

end_all() {
    for name in runner worker-2 verifier queue; do end $name TERM; done
}

follow() { # NAME...: until this script ends
    for name; do
        tail -n +1 -F --pid=$$ "$RUN/$name.log" 2>/dev/null | sed -u "s/^/$(printf %-8s "$name") | /" &
    done
}

case $1 in
up)
    start_all
    note up $$
    trap 'trap "" INT TERM HUP; end_all; rm -f "$RUN/up.pid"; exit 0' INT TERM HUP
    follow $SERVICES
    wait
    ;;
up-detached)
    start_all
    ;;
down)
    end up TERM
    end_all
    forget
    rmdir "$RUN" 2>/dev/null || :
    ;;
logs)
    follow $SERVICES
    wait
    ;;
logs-worker-2)
    exec tail -n +1 -F "$RUN/worker-2.log"
    ;;
kill-worker-2)
    pid=$(pid_of worker-2) || { echo "worker-2 does not run" >&2; exit 1; }
    end worker-2 KILL
    echo "worker-2 ($pid) is killed"
    ;;
restart-worker-2)
    end worker-2 TERM
    start worker-2
    echo "worker-2 ($(pid_of worker-2)) is started"
    ;;
check-metadata)
    found=
    for file in "$METADATA_DIR"/*.csv; do
        [ -f "$file" ] || continue
        found=yes
        echo "$(basename "$file"): $(($(wc -l <"$file") - 1)) rows"
    done
    [ -n "$found" ] || echo "no metadata files: no client is under way"
    ;;
view-metadata)
    [ -n "${2:-}" ] || { echo "usage: make view-metadata CLIENT=CLI1" >&2; exit 2; }
    case $2 in */* | .*) echo "no such client: $2" >&2; exit 2 ;; esac
    if [ -f "$METADATA_DIR/$2.csv" ]; then
        cat "$METADATA_DIR/$2.csv"
    else
        echo "$2 has no metadata file: it is finished, or did not begin" >&2
        exit 1
    fi
    ;;
esac

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A command for each chunk. Its parameters come on stdin, one a line; what it prints is the result.
#
#     ttg run --range 1..1000 --chunk 100 -- examples/squares.sh {start} {end}
#
# Exit 0: the result counts. 100: do not try again. Anything else: a failed attempt. What goes to
# stderr is in the worker's log, under the chunk's number.
set -eu

[ $# -eq 2 ] || { echo "usage: squares.sh START END" >&2; exit 100; }
echo "squares of $1 to $2, attempt ${TTG_ATTEMPT:-1}" >&2

awk '{ sum += $1 * $1 } END { printf "%d numbers, sum of squares %.0f\n", NR, sum }'

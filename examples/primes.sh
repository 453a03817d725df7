#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Counts the primes among its parameters, which come on stdin, one a line.
#
#     ttg run --params 1000000 --chunk 1000 --output primes.ndjson -- examples/primes.sh
#
# The counts of all chunks together: 78498. Any program that reads numbers and prints a result does.
set -eu

awk '
function prime(n,   d) {
    if (n < 4 || n % 2 == 0)
        return n == 2 || n == 3
    for (d = 3; d * d <= n; d += 2)
        if (n % d == 0)
            return 0
    return 1
}
prime($1) { count++ }
END { print count + 0 }'

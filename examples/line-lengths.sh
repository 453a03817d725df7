#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Works on the lines of a file: each line is a parameter, here the name of a file to look into.
#
#     find /usr/share/doc -name copyright >list
#     ttg run --input list --chunk 50 --output result.jsonl -- examples/line-lengths.sh
#
# Prints the longest line of each file. A file that is gone is no reason to fail the others.
set -eu

while IFS= read -r file; do
    if [ -r "$file" ]; then
        awk -v name="$file" 'length > most { most = length } END { print most + 0, name }' "$file"
    else
        echo "$file: cannot be read" >&2
        echo "- $file"
    fi
done

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same as sales.json in one plain program: reads sales on standard input, prints each shop's
five best products, sorted by shop. What the pipeline writes must be equal to this.

usage: sales.py 20000 | sequential.py
       sequential.py --of OUTPUT      the pipeline's output in the same form"""
import json
import sys
from collections import defaultdict


def show(tops):
    for shop in sorted(tops):
        print(shop, json.dumps(tops[shop]))


def main():
    if len(sys.argv) > 2:
        with open(sys.argv[2], encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        tops = {r["client"]: [[i["key"], i["value"]] for i in r["value"]] for r in records}
        if len(tops) != len(records):
            sys.exit("a shop is there twice")
        show(tops)
        return
    sums = defaultdict(lambda: defaultdict(int))
    for line in sys.stdin:
        shop, product, quantity, cents = line.split(",")
        sums[shop][product] += int(quantity) * int(cents)
    show({shop: sorted(([p, n] for p, n in products.items()), key=lambda i: (-i[1], i[0]))[:5]
          for shop, products in sums.items()})


if __name__ == "__main__":
    main()

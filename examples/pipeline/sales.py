#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the sales of some shops, a line of text each: the same ones for the same arguments.

usage: sales.py SALES [SHOPS]     shop,product,quantity,cents"""
import sys

PRODUCTS = ["apple", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey", "ice", "jam",
            "kale", "lemon", "milk", "nuts", "olives", "pears", "quince", "rice", "salt", "tea"]


def numbers(seed):
    """A small generator of our own: Python's random may change between versions."""
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 33


def main():
    sales = int(sys.argv[1])
    shops = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    random = numbers(1)
    for _ in range(sales):
        shop, product = next(random) % shops, PRODUCTS[next(random) % len(PRODUCTS)]
        print(f"shop-{shop},{product},{next(random) % 9 + 1},{next(random) % 900 + 100}")


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.stderr.close()

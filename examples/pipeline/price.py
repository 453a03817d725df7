#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stage `price`: a line of a sale becomes the money that it brought, by shop and product.

One message a line in, one answer a line out: {"result": [messages]} or {"error": "why"}."""
import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    try:
        shop, product, quantity, cents = message["value"].split(",")
        made = [{"client": shop, "key": product, "value": int(quantity) * int(cents)}]
        answer = {"result": made}
    except ValueError as why:
        answer = {"error": f"not a sale: {why}", "permanent": True}
    print(json.dumps(answer), flush=True)

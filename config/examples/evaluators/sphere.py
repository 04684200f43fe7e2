#!/usr/bin/env python3
"""A complete evaluator for paretod: the distance of (x, y) from (0.3, 0.7).

The daemon starts this program, reads the first line it prints, and then sends one request per
line.  Diagnostics belong on stderr; stdout is for the protocol alone.
"""
import json
import sys


def send(message):
    print(json.dumps(message), flush=True)


# The hello: what can be varied, and what is measured.  A job need not repeat either.
send({
    "paretod": 1, "type": "hello", "evaluator": "sphere", "slots": 16,
    "space": [{"name": "x", "type": "real", "low": 0, "high": 1},
              {"name": "y", "type": "real", "low": 0, "high": 1}],
    "objectives": [{"name": "distance", "goal": "minimize"}],
})

for line in sys.stdin:
    request = json.loads(line)
    if request["type"] != "evaluate":
        continue  # "cancel": this evaluator is done before it could stop
    x, y = request["candidate"]["x"], request["candidate"]["y"]
    distance = (x - 0.3) ** 2 + (y - 0.7) ** 2
    send({"type": "result", "id": request["id"], "objectives": {"distance": distance}})

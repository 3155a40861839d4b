#!/usr/bin/env python3
"""Judge: the payload of an envelope is what the PyPI package `rfc8785` makes of it, and the predicate is what it
makes of the caller's file, byte by byte.

    rfc8785_predicate.py ENVELOPE.json PREDICATE.json

Prints one line; exit code 0: equal, 1: not.
"""

import base64
import json
import sys

import rfc8785


def main(envelope: str, predicate: str) -> int:
    with open(envelope, encoding="utf-8") as file:
        payload = base64.b64decode(json.load(file)["payload"], validate=True)
    with open(predicate, encoding="utf-8") as file:
        canonical = rfc8785.dumps(json.load(file))
    if payload != rfc8785.dumps(json.loads(payload)):
        print("NOT EQUAL by rfc8785: the payload is not canonical")
        return 1
    # Members of a canonical object are sorted, so the predicate stands between its neighbours.
    start = b'{"_type":"https://in-toto.io/Statement/v1","predicate":' + canonical + b',"predicateType":'
    if not payload.startswith(start):
        print("NOT EQUAL by rfc8785: the predicate differs from the file")
        return 1
    print(f"EQUAL by rfc8785: {len(payload)} bytes of payload, {len(canonical)} of predicate")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

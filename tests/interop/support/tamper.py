#!/usr/bin/env python3
"""Copies an envelope or a Sigstore bundle with one character of the signed payload changed; the JSON stays valid.

    tamper.py DOCUMENT.json COPY.json
"""

import base64
import json
import sys


def main(document: str, copy: str) -> None:
    with open(document, encoding="utf-8") as file:
        tree = json.load(file)
    envelope = tree.get("dsseEnvelope", tree)
    payload = base64.b64decode(envelope["payload"], validate=True)
    # A member of the predicate, so that no judge refuses for the subject's or the type's sake.
    changed = payload.replace(b'"bomFormat":"CycloneDX"', b'"bomFormat":"CycloneDY"', 1)
    if changed == payload:
        sys.exit(f"{document}: the predicate holds no bomFormat to change")
    envelope["payload"] = base64.b64encode(changed).decode()
    with open(copy, "w", encoding="utf-8") as file:
        json.dump(tree, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

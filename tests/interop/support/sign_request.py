#!/usr/bin/env python3
"""Makes the body of a signing request, and takes the answer apart for the judges.

    sign_request.py make CREDENTIALS.json PREDICATE.json REQUEST.json
    sign_request.py take RESPONSE.json KEYS.json ENVELOPE.json PUBLIC_KEY.pem

The proof of entitlement and the scanner's digest are those of `signer dev`; KEYS.json is what `GET /trust/keys` said.
"""

import json
import sys


def read(path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def make(credentials: str, predicate: str, request: str) -> None:
    known = read(credentials)
    body = {
        "subject": [{"name": "registry.example/app", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://cyclonedx.org/bom",
        "predicate": read(predicate),
        "scannerImageDigest": known["scannerImageDigest"],
        "poe": {"format": "jwt", "value": known["poe"]},
        "options": {"signingMode": "kms"},
    }
    with open(request, "w", encoding="utf-8") as file:
        json.dump(body, file)


def take(response: str, keys: str, envelope: str, public_key: str) -> None:
    bundle = read(response)["bundle"]
    [key] = [key for key in read(keys)["keys"] if key["id"] == bundle["signingIdentity"]["keyId"]]
    with open(envelope, "w", encoding="utf-8") as file:
        json.dump(bundle["dsse"], file)
    with open(public_key, "w", encoding="utf-8") as file:
        file.write(key["publicKey"])


if __name__ == "__main__":
    {"make": make, "take": take}[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
"""A stand-in for the Export Center: promotes what was signed and logged, and passes the bundles on unchanged.

    export_center.py request CREDENTIALS.json REQUEST.json BUNDLE.json…
    export_center.py check ENVELOPE.json BUNDLE.json…

`request` makes a signing request for a promotion manifest: its subjects are the bundles, its materials say where each is
logged. `check` compares the manifest that came back with the files: every bundle is in it by the digest of its bytes.
"""

import base64
import hashlib
import json
import sys

PREDICATE_TYPE = "https://stella.ops/promotion@v1"


def read(path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def name(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def request(credentials: str, target: str, *bundles: str) -> int:
    known = read(credentials)
    materials = []
    for bundle in bundles:
        [entry] = read(bundle)["verificationMaterial"]["tlogEntries"]
        materials.append({
            "uri": name(bundle),
            "digest": {"sha256": digest(bundle)},
            "annotations": {"logIndex": str(entry.get("logIndex", "0")), "logId": entry["logId"]["keyId"]},
        })
    body = {
        "subject": [{"name": name(bundle), "digest": {"sha256": digest(bundle)}} for bundle in bundles],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "promotion": {"from": "staging", "to": "production", "promotedAt": "2026-11-01T00:00:00Z"},
            "materials": materials,
        },
        "scannerImageDigest": known["scannerImageDigest"],
        "poe": {"format": "jwt", "value": known["poe"]},
        "options": {"signingMode": "kms"},
    }
    with open(target, "w", encoding="utf-8") as file:
        json.dump(body, file)
    return 0


def check(envelope: str, *bundles: str) -> int:
    statement = json.loads(base64.b64decode(read(envelope)["payload"], validate=True))
    wanted = {(name(bundle), digest(bundle)) for bundle in bundles}
    subjects = {(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]}
    materials = {(item["uri"], item["digest"]["sha256"]) for item in statement["predicate"]["materials"]}
    if statement["predicateType"] != PREDICATE_TYPE or not wanted == subjects == materials:
        print(f"NOT PROMOTED: {sorted(wanted)} are not {sorted(subjects)} and {sorted(materials)}")
        return 1
    print(f"PROMOTED: {len(wanted)} bundles, unchanged")
    return 0


if __name__ == "__main__":
    sys.exit({"request": request, "check": check}[sys.argv[1]](*sys.argv[2:]))

#!/usr/bin/env python3
"""Exports public keys of a token as PEM, and writes the tables of backends for them.

    softhsm.py PKCS11_TOOL FOLDER PIN MODULE          FOLDER gets <label>.pub, backends.toml, check-<label>.toml
    softhsm.py PKCS11_TOOL FOLDER PIN MODULE LABEL    the same of one more P-256 key, added to backends.toml

OpenSC's `--read-object` writes some kinds of keys and not others, so it is asked for attributes alone.
"""

import pathlib
import re
import subprocess
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

GOOD = {
    "p256": "ecdsa-p256-sha256", "p384": "ecdsa-p384-sha384", "ed25519": "ed25519",
    "pss": "rsa-pss-sha256", "pkcs1": "rsa-pkcs1-sha256",
}
P256 = "ecdsa-p256-sha256"


def read(tool: str, pin: str, label: str) -> bytes:
    """PEM of a public key."""
    token = [tool, "--token-label", "signer interop", "--login", "--pin", pin]
    listed = subprocess.run(
        [*token, "--list-objects", "--type", "pubkey"], check=True, capture_output=True, text=True
    ).stdout
    found = [one for one in listed.split("Public Key Object;") if re.search(rf"label:\s+{label}\n", one)]
    assert len(found) == 1, listed
    point = re.search(r"EC_POINT:\s+([0-9a-f]+)", found[0])
    if point is None:
        der = subprocess.run(
            [*token, "--read-object", "--type", "pubkey", "--label", label], check=True, capture_output=True
        ).stdout
        key = serialization.load_der_public_key(der)
        assert isinstance(key, rsa.RSAPublicKey)
    else:
        # An OCTET STRING around the point (PKCS #11 3.0 §2.3.3).
        raw = bytes.fromhex(point.group(1))
        assert raw[0] == 4 and raw[1] == len(raw) - 2, raw.hex()
        raw = raw[2:]
        if len(raw) == 32:
            key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        else:
            curve = {65: ec.SECP256R1(), 97: ec.SECP384R1()}[len(raw)]
            key = ec.EllipticCurvePublicKey.from_encoded_point(curve, raw)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def table(folder: pathlib.Path, module: str, name: str, algorithm: str, token: str, label: str, public: str) -> str:
    return f"""
[[signing.backends]]
kind = "pkcs11"
id = "hsm-{name}"
module = "{module}"
token = "{token}"
pin = "file:{folder}/pin"
key_label = "{label}"
public_key = "{folder}/{public}.pub"
algorithm = "{algorithm}"
concurrency = 4
"""


def main(tool: str, folder: str, pin: str, module: str, added: str | None = None) -> None:
    place = pathlib.Path(folder)
    if added:
        (place / f"{added}.pub").write_bytes(read(tool, pin, added))
        with open(place / "backends.toml", "a", encoding="utf-8") as file:
            file.write(table(place, module, added, P256, "signer interop", added, added))
        return
    for label in [*GOOD, "extractable"]:
        (place / f"{label}.pub").write_bytes(read(tool, pin, label))
    here = "signer interop"
    tables = {name: table(place, module, name, algorithm, here, name, name) for name, algorithm in GOOD.items()}
    (place / "backends.toml").write_text("".join(tables.values()))
    checks = {
        "p256": tables["p256"],
        "twice": table(place, module, "twice", P256, here, "twice", "p256"),
        "extractable": table(place, module, "extractable", P256, here, "extractable", "extractable"),
        "wrong-curve": table(place, module, "wrong-curve", P256, here, "wrong-curve", "p256"),
        "another": table(place, module, "another", P256, here, "another", "p256"),
        "absent": table(place, module, "absent", P256, here, "absent", "p256"),
        "no-token": table(place, module, "no-token", P256, "elsewhere", "p256", "p256"),
    }
    for name, text in checks.items():
        (place / f"check-{name}.toml").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])

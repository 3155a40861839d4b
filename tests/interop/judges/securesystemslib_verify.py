#!/usr/bin/env python3
"""Judge: verifies a DSSE envelope with securesystemslib, which shares no code with the signer.

    securesystemslib_verify.py ENVELOPE.json PUBLIC_KEY.pem [SCHEME]

SCHEME is securesystemslib's, for RSA keys: rsassa-pss-sha256 (default) or rsa-pkcs1v15-sha256.
Prints one line; exit code 0: verified, 1: not.
"""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(arguments[0], encoding="utf-8") as file:
            document = json.load(file)
        with open(arguments[1], "rb") as file:
            scheme = arguments[2] if len(arguments) == 3 else None
            key = SSlibKey.from_crypto(load_pem_public_key(file.read()), scheme=scheme)
        # securesystemslib wants a key id on both sides, DSSE does not (protocol.md: keyid is optional and
        # unauthenticated), and the signer writes none: give the signature the key's.
        for signature in document["signatures"]:
            signature.setdefault("keyid", key.keyid)
        envelope = Envelope.from_dict(document)
        envelope.verify([key], 1)
        statement = json.loads(envelope.payload)
        kind, predicate = statement.get("_type", "no statement"), statement.get("predicateType", "no predicate")
    except Exception as error:  # a judge answers, whatever it meets
        print(f"NOT VERIFIED by securesystemslib: {type(error).__name__}: {error}")
        return 1
    print(f"VERIFIED by securesystemslib: {envelope.payload_type}, {kind}, {predicate}, {key.scheme}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

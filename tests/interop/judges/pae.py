#!/usr/bin/env python3
"""Takes an envelope apart for the OpenSSL command line: the bytes that were signed, and the signature.

    pae.py ENVELOPE.json PAE.bin SIGNATURE.der

The pre-authentication encoding is written here from the DSSE specification (protocol.md), not taken from the signer.
"""

import base64
import json
import sys


def main(envelope: str, pae: str, signature: str) -> None:
    with open(envelope, encoding="utf-8") as file:
        document = json.load(file)
    kind = document["payloadType"].encode()
    payload = base64.b64decode(document["payload"], validate=True)
    [only] = document["signatures"]
    with open(pae, "wb") as file:
        file.write(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    with open(signature, "wb") as file:
        file.write(base64.b64decode(only["sig"], validate=True))


if __name__ == "__main__":
    main(*sys.argv[1:])

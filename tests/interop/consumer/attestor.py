#!/usr/bin/env python3
"""A stand-in for the Attestor: logs a bundle of the signer in Rekor v2, and changes nothing of it.

    attestor.py log REKOR-URL RESPONSE.json BUNDLE.json LOGGED.json

RESPONSE.json is the signer's answer: the digest that is logged is made from its envelope, the verifier from its
`signingIdentity` (the key) or its leaf certificate. LOGGED.json is a copy of BUNDLE.json with the entry in it, as an Attestor
would hand it on; `cosign` judges it. Prints one line; exit code 0: Rekor took it, and its entry is about this signature.

Standard library only: the pre-authentication encoding is written from the DSSE specification, the request from Rekor's
`rekor_service.proto` (HashedRekordRequestV002).
"""

import base64
import hashlib
import json
import sys
import urllib.error
import urllib.request

# PublicKeyDetails of sigstore_common.proto; those that Rekor v2 logs.
KEY_DETAILS = {
    "ecdsa-p256-sha256": "PKIX_ECDSA_P256_SHA_256",
    "ecdsa-p384-sha384": "PKIX_ECDSA_P384_SHA_384",
    "rsa-pkcs1-sha256": "PKIX_RSA_PKCS1V15_2048_SHA256",
}


def read(path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def der_of(pem: str) -> bytes:
    return base64.b64decode("".join(line for line in pem.splitlines() if line and "-----" not in line))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def request_of(bundle: dict) -> dict:
    envelope, identity = bundle["dsse"], bundle["signingIdentity"]
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    algorithm = identity["algorithm"]
    digest = hashlib.sha384(pae) if algorithm.endswith("384") else hashlib.sha256(pae)
    chain = bundle.get("certificateChain")
    if chain:
        verifier = {"x509Certificate": {"rawBytes": b64(der_of(chain[0]))}}
    else:
        verifier = {"publicKey": {"rawBytes": b64(der_of(identity["publicKey"]))}}
    [signature] = envelope["signatures"]
    return {
        "hashedRekordRequestV002": {
            "digest": b64(digest.digest()),
            "signature": {
                "content": signature["sig"],
                "verifier": {**verifier, "keyDetails": KEY_DETAILS[algorithm]},
            },
        }
    }


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def log(rekor: str, response: str, bundle: str, logged: str) -> int:
    before = hashlib.sha256(open(bundle, "rb").read()).hexdigest()
    request = request_of(read(response)["bundle"])
    try:
        entry = post(f"{rekor}/api/v2/log/entries", request)
    except urllib.error.HTTPError as error:
        print(f"NOT LOGGED: {error.code} {error.read(400).decode(errors='replace')}")
        return 1
    body = json.loads(base64.b64decode(entry["canonicalizedBody"]))
    taken = body["spec"]["hashedRekordV002"]
    asked = request["hashedRekordRequestV002"]
    if taken["data"]["digest"] != asked["digest"] or taken["signature"]["content"] != asked["signature"]["content"]:
        print("NOT LOGGED: the entry is about something else")
        return 1
    document = read(bundle)
    document["verificationMaterial"]["tlogEntries"] = [entry]
    with open(logged, "w", encoding="utf-8") as file:
        json.dump(document, file)
    if hashlib.sha256(open(bundle, "rb").read()).hexdigest() != before:
        print("NOT LOGGED: the bundle was changed")
        return 1
    print(f"LOGGED at index {entry.get('logIndex', '0')}, bundle {before} unchanged")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 6 or sys.argv[1] != "log":
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(log(*sys.argv[2:]))

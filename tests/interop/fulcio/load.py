"""Callers of one service that do not stop, each request with a DPoP proof of its own, and what they were answered."""

import base64
import hashlib
import http.client
import json
import subprocess
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SIGN = "/api/v1/signer/sign/dsse"
# Tokens of `signer dev` live for 8 minutes; `signer proof --token` fetches another ahead of that.
TOKEN_EVERY = 30.0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def whole(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="))


class Answer(NamedTuple):
    begun: float
    took: float
    status: int
    code: str
    retry_after: str
    certificate: str  # fingerprint of the leaf; empty: none
    not_before: float
    not_after: float

    @property
    def ended(self) -> float:
        return self.begun + self.took


class Client:
    """What a credentials file allows: a token, and proofs by its key (RFC 9449 §4.2)."""

    def __init__(self, signer: str, credentials: Path) -> None:
        self.command = [signer, "proof", "--credentials", str(credentials), "--token"]
        known = json.loads(credentials.read_text(encoding="utf-8"))
        jwk = known["dpopPrivateJwk"]
        self.key = ec.derive_private_key(whole(jwk["d"]), ec.SECP256R1())
        self.jwk = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
        self.url = known["baseUrl"] + SIGN
        self.body = json.dumps({
            "subject": [{"name": "app", "digest": {"sha256": "ab" * 32}}],
            "predicateType": "https://stella.ops/report/v1", "predicate": {"finding": "none"},
            "scannerImageDigest": known["scannerImageDigest"], "poe": {"format": "jwt", "value": known["poe"]},
            "options": {"signingMode": "keyless"},
        })
        self.renew()

    def renew(self) -> None:
        said = subprocess.run(self.command, capture_output=True, check=True, text=True, timeout=30)
        self.token = said.stdout.strip()

    def proof(self) -> str:
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": self.jwk}
        claims = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": self.url, "iat": int(time.time()),
                  "ath": b64(hashlib.sha256(self.token.encode()).digest())}
        said = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{said}.{b64(r.to_bytes(32) + s.to_bytes(32))}"

    def sign(self, connection: http.client.HTTPConnection) -> Answer:
        """One request, never a second one in its place. A connection that breaks is a failure: nothing here may break it."""
        begun = time.time()
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": self.proof(), "Content-Type": "application/json"}
        try:
            connection.request("POST", SIGN, self.body, headers)
            response = connection.getresponse()
            document = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            return Answer(begun, time.time() - begun, 0, type(error).__name__, "", "", 0.0, 0.0)
        took, after = time.time() - begun, response.headers.get("Retry-After", "")
        if response.status != 200:
            return Answer(begun, took, response.status, document.get("code", ""), after, "", 0.0, 0.0)
        bundle = document["bundle"]
        leaf = hashlib.sha256(bundle["certificateChain"][0].encode()).hexdigest()
        times = [datetime.fromisoformat(bundle["signingIdentity"][name]).timestamp() for name in ("notBefore", "notAfter")]
        return Answer(begun, took, 200, "ok", after, leaf, *times)


class Load:
    """Callers at `rate` requests a second altogether, each at its times, however long an answer takes."""

    def __init__(self, signer: str, credentials: Path, rate: float, callers: int) -> None:
        self.client, self.ending, self.answers = Client(signer, credentials), threading.Event(), []
        every, start = callers / rate, time.monotonic()
        self.threads = [
            threading.Thread(target=self.call, args=(start + every * number / callers, every), daemon=True)
            for number in range(callers)
        ]
        self.threads.append(threading.Thread(target=self.renew, daemon=True))
        for thread in self.threads:
            thread.start()

    def call(self, due: float, every: float) -> None:
        place = urlsplit(self.client.url)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        while not self.ending.wait(max(0.0, due - time.monotonic())):
            self.answers.append(self.client.sign(connection))
            # Who is late does not catch up: the rate is an upper bound, and the report says what it was.
            due = max(due + every, time.monotonic() - every)

    def renew(self) -> None:
        while not self.ending.wait(TOKEN_EVERY):
            self.client.renew()

    def stop(self) -> list[Answer]:
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a request hangs"
        return sorted(self.answers)


def certificates(answers: list[Answer]) -> list[str]:
    """Fingerprints in the order of their first use."""
    return list(dict.fromkeys(answer.certificate for answer in answers if answer.certificate))


def codes(answers: list[Answer]) -> dict[str, int]:
    every = [f"{answer.status} {answer.code}" for answer in answers]
    return {code: every.count(code) for code in sorted(set(every))}

#!/usr/bin/env python3
"""A token realm for docker-registry (distribution, `docs/spec/auth/token.md`): Basic in, a JWT for one scope out.

    token_realm.py CERTIFICATE.pem KEY.pem USER PASSWORD

TLS on loopback; prints `listening on HOST:PORT`. Who gives no or other credentials gets 401.
"""

import base64
import json
import ssl
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Realm(BaseHTTPRequestHandler):
    certificate = key = expected = None

    def do_GET(self):
        asked = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        known = self.headers.get("Authorization") == self.expected
        self.answer(200, {"token": self.token(asked)}) if known else self.answer(401, {"errors": []})

    def token(self, asked: dict) -> str:
        kind, name, actions = asked["scope"].split(":")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(self.certificate).decode()]}
        claims = {
            "iss": "realm",
            "sub": "scanner",
            "aud": asked["service"],
            "iat": now,
            "nbf": now - 5,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return signed + "." + encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def answer(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(certificate: str, key: str, user: str, password: str) -> None:
    with open(certificate, "rb") as file:
        Realm.certificate = x509.load_pem_x509_certificate(file.read()).public_bytes(serialization.Encoding.DER)
    with open(key, "rb") as file:
        Realm.key = serialization.load_pem_private_key(file.read(), None)
    Realm.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

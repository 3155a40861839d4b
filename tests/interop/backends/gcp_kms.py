#!/usr/bin/env python3
"""A Cloud KMS on loopback: its REST interface as Google's own messages (google-cloud-kms) write and read it in JSON, keys
by `cryptography`, checksums by google-crc32c.

    gcp_kms.py PORT FOLDER      FOLDER gets <key>.pub, account.json, backends.toml; then it says "ready" and serves

FOLDER/does says what befalls the keys, looked at for each request: nothing, deny, disable, throttle, revoke (every token
so far), corrupt (a bit of the signature falls over on its way), swallow (the checksum of the digest is not checked).
POST /interop/rotate makes a second version of p256, with p256-2.pub and a table; /interop/destroy takes the first away.
"""

import base64
import http.server
import json
import pathlib
import secrets
import sys
import time
import urllib.parse

import google_crc32c
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from google.cloud.kms_v1.types import resources, service
from google.protobuf import json_format

KEYS = {
    "p256": ("EC_SIGN_P256_SHA256", "ecdsa-p256-sha256"),
    "p384": ("EC_SIGN_P384_SHA384", "ecdsa-p384-sha384"),
    "ed25519": ("EC_SIGN_ED25519", "ed25519"),
    "pss": ("RSA_SIGN_PSS_3072_SHA256", "rsa-pss-sha256"),
    "pkcs1": ("RSA_SIGN_PKCS1_2048_SHA256", "rsa-pkcs1-sha256"),
}
RING = "projects/interop/locations/europe-west1/keyRings/signer/cryptoKeys"
ACCOUNT = "signer@interop.iam.gserviceaccount.com"


class Refusal(Exception):
    def __init__(self, code: int, status: str, message: str):
        super().__init__(message)
        self.code, self.status = code, status


class Kms:
    def __init__(self, port: int, folder: pathlib.Path):
        self.folder, self.origin, self.tokens = folder, f"http://127.0.0.1:{port}", set()
        self.keys = {f"{RING}/{name}/cryptoKeyVersions/1": (name, new_key(KEYS[name][0])) for name in KEYS}
        self.account = rsa.generate_private_key(65537, 2048)
        self.write()

    def write(self) -> None:
        private = self.account.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = self.folder / "account.json"
        account.touch(mode=0o600)
        account.write_text(json.dumps({
            "type": "service_account", "project_id": "interop", "private_key_id": "k1", "private_key": private.decode(),
            "client_email": ACCOUNT, "client_id": "1", "token_uri": f"{self.origin}/token",
        }, indent=2))
        tables = [self.table(resource, name) for resource, (name, _) in self.keys.items()]
        (self.folder / "backends.toml").write_text("\n".join(tables))

    def table(self, resource: str, name: str) -> str:
        kind, key = self.keys[resource]
        (self.folder / f"{name}.pub").write_text(pem_of(key))
        return f"""
[[signing.backends]]
kind = "gcp-kms"
id = "gcp-{name}"
endpoint = "{self.origin}"
key = "{resource}"
public_key = "{self.folder}/{name}.pub"
algorithm = "{KEYS[kind][1]}"
timeout = "2s"
credentials = "account-key"
account_key = "file:{self.folder}/account.json"
"""

    def rotate(self) -> None:
        resource = f"{RING}/p256/cryptoKeyVersions/2"
        self.keys[resource] = ("p256", new_key(KEYS["p256"][0]))
        with open(self.folder / "backends.toml", "a", encoding="utf-8") as file:
            file.write(self.table(resource, "p256-2"))

    def destroy(self) -> None:
        del self.keys[f"{RING}/p256/cryptoKeyVersions/1"]

    def does(self) -> str:
        file = self.folder / "does"
        return file.read_text().strip() if file.exists() else "nothing"

    def grant(self, form: dict[str, str]) -> dict:
        """https://developers.google.com/identity/protocols/oauth2/service-account#httprest"""
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise ValueError("unsupported_grant_type")
        signed, _, signature = form["assertion"].rpartition(".")
        self.account.public_key().verify(unb64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        header, claims = (json.loads(unb64(part)) for part in signed.split("."))
        now = time.time()
        good = (
            header["alg"] == "RS256" and claims["iss"] == ACCOUNT and claims["aud"] == f"{self.origin}/token"
            and claims["scope"] == "https://www.googleapis.com/auth/cloudkms"
            and claims["iat"] <= now + 5 and now < claims["exp"] <= claims["iat"] + 3600
        )
        if not good:
            raise ValueError("invalid_grant")
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def answer(self, authorization: str, name: str, method: str, body: bytes) -> str:
        does = self.does()
        if does == "revoke":
            self.tokens.clear()
            (self.folder / "does").write_text("nothing")
        if authorization.removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if does == "throttle":
            raise Refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Asymmetric requests'.")
        if does == "deny":
            raise Refusal(403, "PERMISSION_DENIED", f"Permission 'cloudkms.cryptoKeyVersions.{method}' denied.")
        if name not in self.keys:
            raise Refusal(404, "NOT_FOUND", f"CryptoKeyVersion {name} not found.")
        if does == "disable":
            raise Refusal(400, "FAILED_PRECONDITION", f"{name} is not enabled, current state is: DISABLED.")
        message = self.public(name) if method == "publicKey" else self.sign(name, body, does)
        return json_format.MessageToJson(type(message).pb(message))

    def public(self, name: str) -> resources.PublicKey:
        kind, key = self.keys[name]
        pem = pem_of(key)
        return resources.PublicKey(
            pem=pem, algorithm=KEYS[kind][0], pem_crc32c=google_crc32c.value(pem.encode()), name=name,
            protection_level="SOFTWARE",
        )

    def sign(self, name: str, body: bytes, does: str) -> service.AsymmetricSignResponse:
        kind, key = self.keys[name]
        # Strict: a member that the message does not have is an error.
        request = service.AsymmetricSignRequest.wrap(json_format.Parse(body, service.AsymmetricSignRequest.pb()()))
        whole = kind == "ed25519"
        given = request.data if whole else (request.digest.sha384 if kind == "p384" else request.digest.sha256)
        checksum = request.data_crc32c if whole else request.digest_crc32c
        if checksum is None or checksum != google_crc32c.value(given):
            raise Refusal(400, "INVALID_ARGUMENT", "The checksum does not match.")
        signature = signature_of(kind, key, given)
        answer = service.AsymmetricSignResponse(
            signature=signature, signature_crc32c=google_crc32c.value(signature), name=name, protection_level="SOFTWARE",
            verified_data_crc32c=whole, verified_digest_crc32c=not whole and does != "swallow",
        )
        if does == "corrupt":
            answer.signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return answer


def new_key(algorithm: str):
    match algorithm.split("_"):
        case ["EC", "SIGN", "P256", _]:
            return ec.generate_private_key(ec.SECP256R1())
        case ["EC", "SIGN", "P384", _]:
            return ec.generate_private_key(ec.SECP384R1())
        case ["EC", "SIGN", "ED25519"]:
            return ed25519.Ed25519PrivateKey.generate()
        case ["RSA", "SIGN", _, bits, _]:
            return rsa.generate_private_key(65537, int(bits))


def pem_of(key) -> str:
    encoding, shape = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, shape).decode()


def signature_of(kind: str, key, given: bytes) -> bytes:
    sha256, sha384 = utils.Prehashed(hashes.SHA256()), utils.Prehashed(hashes.SHA384())
    match kind:
        case "ed25519":
            return key.sign(given)
        case "p256":
            return key.sign(given, ec.ECDSA(sha256))
        case "p384":
            return key.sign(given, ec.ECDSA(sha384))
        case "pss":
            return key.sign(given, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), sha256)
        case "pkcs1":
            return key.sign(given, padding.PKCS1v15(), sha256)


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kms: Kms

    def do_GET(self):
        self.reply(*self.asked(b""))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path in ("/interop/rotate", "/interop/destroy"):
            self.kms.rotate() if self.path.endswith("/rotate") else self.kms.destroy()
            self.reply(200, "{}")
        elif self.path == "/token":
            try:
                form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
                self.reply(200, json.dumps(self.kms.grant(form)))
            except Exception as error:
                self.reply(400, json.dumps({"error": "invalid_grant", "error_description": type(error).__name__}))
        else:
            self.reply(*self.asked(body))

    def asked(self, body: bytes) -> tuple[int, str]:
        path = self.path.removeprefix("/v1/")
        name, _, method = path.partition(":") if body else path.rpartition("/")
        try:
            return 200, self.kms.answer(self.headers.get("Authorization", ""), name, method, body)
        except Refusal as refusal:
            error = {"code": refusal.code, "message": str(refusal), "status": refusal.status}
            return refusal.code, json.dumps({"error": error})
        except json_format.ParseError as error:
            return 400, json.dumps({"error": {"code": 400, "message": str(error), "status": "INVALID_ARGUMENT"}})

    def reply(self, status: int, text: str):
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def main(port: str, folder: str) -> None:
    Handler.kms = Kms(int(port), pathlib.Path(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

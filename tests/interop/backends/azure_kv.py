#!/usr/bin/env python3
"""An Azure Key Vault and its Entra on loopback: requests are read and answers written by Microsoft's own models
(azure-keyvault-keys), keys are `cryptography`'s.

    azure_kv.py PORT FOLDER     FOLDER gets <key>.pub, secret, assertion, backends.toml; then it says "ready" and serves

FOLDER/does says what befalls the keys, looked at for each request: nothing, deny, disable, throttle, revoke (every token
so far). POST /interop/rotate makes a second version of p256, with p256-2.pub and a table; /interop/destroy takes the first
away.
"""

import base64
import http.server
import json
import pathlib
import secrets
import sys
import urllib.parse

from azure.keyvault.keys._generated import models
from azure.keyvault.keys._generated._utils.model_base import SdkJSONEncoder, _deserialize
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

KEYS = {
    "p256": ("ES256", "ecdsa-p256-sha256"), "p384": ("ES384", "ecdsa-p384-sha384"),
    "pss": ("PS256", "rsa-pss-sha256"), "pkcs1": ("RS256", "rsa-pkcs1-sha256"),
}
VERSION = "7.4"
RESOURCE = "https://vault.azure.net"
TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


class Vault:
    def __init__(self, port: int, folder: pathlib.Path):
        self.folder, self.origin, self.tokens = folder, f"http://127.0.0.1:{port}", set()
        self.secret, self.assertion = secrets.token_urlsafe(30), f"e30.e30.{secrets.token_urlsafe(30)}"
        self.keys = {f"/keys/{name}/{secrets.token_hex(16)}": (name, new_key(name)) for name in KEYS}
        self.write()

    def write(self) -> None:
        for name, text in (("secret", self.secret), ("assertion", self.assertion)):
            file = self.folder / name
            file.touch(mode=0o600)
            file.write_text(text)
        tables = [self.table(path, name) for path, (name, _) in self.keys.items()]
        (self.folder / "backends.toml").write_text("\n".join(tables))

    def table(self, path: str, name: str) -> str:
        (kind, key), version = self.keys[path], path.rpartition("/")[2]
        encoding, shape = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        (self.folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(encoding, shape))
        # One key by federation, the others by a secret.
        way, proof = ("federated", "federated_token") if name == "p384" else ("client-secret", "client_secret")
        file = "assertion" if name == "p384" else "secret"
        return f"""
[[signing.backends]]
kind = "azure-kv"
id = "azure-{name}"
vault = "{self.origin}"
key = "{kind}"
key_version = "{version}"
public_key = "{self.folder}/{name}.pub"
algorithm = "{KEYS[kind][1]}"
timeout = "2s"
credentials = "{way}"
authority = "{self.origin}"
tenant = "{TENANT}"
client_id = "{CLIENT}"
{proof} = "file:{self.folder}/{file}"
"""

    def rotate(self) -> None:
        path = f"/keys/p256/{secrets.token_hex(16)}"
        self.keys[path] = ("p256", new_key("p256"))
        with open(self.folder / "backends.toml", "a", encoding="utf-8") as file:
            file.write(self.table(path, "p256-2"))

    def destroy(self) -> None:
        del self.keys[next(path for path in self.keys if path.startswith("/keys/p256/"))]

    def does(self) -> str:
        file = self.folder / "does"
        return file.read_text().strip() if file.exists() else "nothing"

    def grant(self, form: dict[str, str]) -> dict:
        """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
        by_secret = form.get("client_secret") == self.secret
        by_assertion = (form.get("client_assertion_type"), form.get("client_assertion")) == (ASSERTION_TYPE, self.assertion)
        asked = form.get("grant_type"), form.get("client_id"), form.get("scope")
        if by_secret == by_assertion or asked != ("client_credentials", CLIENT, f"{RESOURCE}/.default"):
            raise Refusal(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        token = f"eyJ0.{secrets.token_urlsafe(32)}.c2ln"
        self.tokens.add(token)
        return {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}

    def answer(self, authorization: str, url: urllib.parse.SplitResult, body: bytes) -> str:
        does = self.does()
        if does == "revoke":
            self.tokens.clear()
            (self.folder / "does").write_text("nothing")
        if authorization.removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
        if urllib.parse.parse_qs(url.query) != {"api-version": [VERSION]}:
            raise Refusal(400, "BadParameter", "The specified version is not recognized.")
        if does == "throttle":
            raise Refusal(429, "Throttled", "Request was not processed because too many requests were received.")
        if does == "deny":
            raise Refusal(403, "Forbidden", "Caller is not authorized to perform action on resource.")
        path = url.path.removesuffix("/sign")
        if path not in self.keys:
            raise Refusal(404, "KeyNotFound", "A key with (name/id) was not found in this key vault.")
        kid = f"https://interop.vault.azure.net{path}"
        if url.path == path:
            return written(shown(kid, self.keys[path][1], does != "disable"))
        if does == "disable":
            raise Refusal(403, "Forbidden", "Operation sign is not allowed on a disabled key.")
        return written(self.sign(kid, *self.keys[path], body))

    def sign(self, kid: str, name: str, key, body: bytes) -> models.KeyOperationResult:
        asked = json.loads(body)
        request = _deserialize(models.KeySignParameters, asked)
        if set(asked) != {"alg", "value"} or request.algorithm != KEYS[name][0]:
            raise Refusal(400, "BadParameter", "Key and signing algorithm are incompatible.")
        signature = signature_of(name, key, request.value)
        result = models.KeyOperationResult({"kid": kid, "value": b64url(signature)})
        assert result.result == signature
        return result


def new_key(name: str):
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1}
    return ec.generate_private_key(curves[name]()) if name in curves else rsa.generate_private_key(65537, 2048)


def shown(kid: str, key, enabled: bool) -> models.KeyBundle:
    public, jwk = key.public_key().public_numbers(), models.JsonWebKey(kid=kid, key_ops=["sign", "verify"])
    whole = lambda number, size: number.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        jwk.kty, jwk.n, jwk.e = "RSA", whole(public.n, 256), whole(public.e, 3)
    else:
        size = key.key_size // 8
        jwk.kty, jwk.crv, jwk.x, jwk.y = "EC", f"P-{key.key_size}", whole(public.x, size), whole(public.y, size)
    return models.KeyBundle(key=jwk, attributes=models.KeyAttributes(enabled=enabled))


def signature_of(name: str, key, digest: bytes) -> bytes:
    sha256 = utils.Prehashed(hashes.SHA256())
    match name:
        case "p256" | "p384":
            hashed = sha256 if name == "p256" else utils.Prehashed(hashes.SHA384())
            r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(hashed)))
            size = key.key_size // 8
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        case "pss":
            return key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), sha256)
        case "pkcs1":
            return key.sign(digest, padding.PKCS1v15(), sha256)


def written(model) -> str:
    return json.dumps(model, cls=SdkJSONEncoder)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vault: Vault

    def do_GET(self):
        self.serve(b"")

    def do_POST(self):
        self.serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def serve(self, body: bytes):
        url = urllib.parse.urlsplit(self.path)
        if self.command == "POST" and url.path in ("/interop/rotate", "/interop/destroy"):
            self.vault.rotate() if url.path.endswith("/rotate") else self.vault.destroy()
            self.reply(200, "{}")
            return
        if url.path == f"/{TENANT}/oauth2/v2.0/token":
            try:
                form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
                self.reply(200, json.dumps(self.vault.grant(form)))
            except Refusal as refusal:
                self.reply(refusal.status, json.dumps({"error": refusal.code, "error_description": str(refusal)}))
            return
        try:
            self.reply(200, self.vault.answer(self.headers.get("Authorization", ""), url, body))
        except Refusal as refusal:
            self.reply(refusal.status, json.dumps({"error": {"code": refusal.code, "message": str(refusal)}}))

    def reply(self, status: int, text: str):
        self.send_response(status)
        if status == 401:
            challenge = f'Bearer authorization="https://login.example/{TENANT}", resource="https://elsewhere.example"'
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def main(port: str, folder: str) -> None:
    Handler.vault = Vault(int(port), pathlib.Path(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

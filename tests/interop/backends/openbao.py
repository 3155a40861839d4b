#!/usr/bin/env python3
"""Makes keys in OpenBao's transit engine, and a service's AppRole that may use them and no more.

    openbao.py make ADDRESS ROOT_TOKEN FOLDER    prints nothing; FOLDER gets <key>.pub, role-id, secret-id, backends.toml
    openbao.py <seal|unseal|revoke|deny|allow|rotate|destroy> ADDRESS ROOT_TOKEN FOLDER

Everything over HTTP, with nothing but Python's own library. `unseal` needs FOLDER/unseal-key.
"""

import base64
import json
import pathlib
import sys
import urllib.request

TYPES = {"p256": "ecdsa-p256", "p384": "ecdsa-p384", "ed25519": "ed25519", "pss": "rsa-2048", "pkcs1": "rsa-2048"}
ALGORITHMS = {
    "p256": "ecdsa-p256-sha256", "p384": "ecdsa-p384-sha384", "ed25519": "ed25519",
    "pss": "rsa-pss-sha256", "pkcs1": "rsa-pkcs1-sha256",
}
# RFC 8410 §4: SubjectPublicKeyInfo of an Ed25519 key is this and the 32 bytes.
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


class OpenBao:
    def __init__(self, address: str, token: str):
        self.address, self.token = address, token

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            f"{self.address}/v1/{path}", method=method, headers={"X-Vault-Token": self.token},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"{}")


def policy(verbs: str) -> str:
    paths = [f'path "transit/sign/{key}" {{ capabilities = [{verbs}] }}\n' for key in TYPES]
    paths += [f'path "transit/keys/{key}" {{ capabilities = ["read"] }}\n' for key in TYPES]
    return "".join(paths)


def export(bao: OpenBao, key: str, version: int) -> str:
    shown = bao.ask("GET", f"transit/keys/{key}")["data"]["keys"][str(version)]["public_key"]
    if shown.startswith("-----BEGIN"):
        return shown if shown.endswith("\n") else shown + "\n"
    der = ED25519_SPKI + base64.b64decode(shown)
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"


def make(bao: OpenBao, folder: pathlib.Path) -> None:
    bao.ask("POST", "sys/mounts/transit", {"type": "transit"})
    bao.ask("POST", "sys/auth/approle", {"type": "approle"})
    bao.ask("PUT", "sys/policies/acl/signer", {"policy": policy('"update"')})
    bao.ask("POST", "auth/approle/role/signer", {"token_policies": "signer", "token_ttl": "1h"})
    role = bao.ask("GET", "auth/approle/role/signer/role-id")["data"]["role_id"]
    secret = bao.ask("POST", "auth/approle/role/signer/secret-id")["data"]["secret_id"]
    secret_file = folder / "secret-id"
    secret_file.touch(mode=0o600)
    secret_file.write_text(secret)
    tables = []
    for key, kind in TYPES.items():
        bao.ask("POST", f"transit/keys/{key}", {"type": kind})
        (folder / f"{key}.pub").write_text(export(bao, key, 1))
        tables.append(table(bao, folder, key, key, role))
    (folder / "backends.toml").write_text("\n".join(tables))
    (folder / "role-id").write_text(role)


def table(bao: OpenBao, folder: pathlib.Path, name: str, key: str, role: str) -> str:
    return f"""
[[signing.backends]]
kind = "vault-transit"
id = "bao-{name}"
url = "{bao.address}"
key = "{key}"
public_key = "{folder}/{name}.pub"
algorithm = "{ALGORITHMS[key]}"
role_id = "{role}"
secret_id = "file:{folder}/secret-id"
"""


def rotate(bao: OpenBao, folder: pathlib.Path) -> None:
    """A second version of p256, for which a second table is added."""
    bao.ask("POST", "transit/keys/p256/rotate", {})
    (folder / "p256-2.pub").write_text(export(bao, "p256", 2))
    with open(folder / "backends.toml", "a", encoding="utf-8") as file:
        file.write(table(bao, folder, "p256-2", "p256", (folder / "role-id").read_text()))


def destroy(bao: OpenBao) -> None:
    """The first version of p256, for good."""
    bao.ask("POST", "transit/keys/p256/config", {"min_decryption_version": 2, "min_encryption_version": 2})
    bao.ask("POST", "transit/keys/p256/trim", {"min_available_version": 2})


def main(what: str, address: str, token: str, folder: str) -> None:
    bao, folder = OpenBao(address, token), pathlib.Path(folder)
    match what:
        case "make":
            make(bao, folder)
        case "rotate":
            rotate(bao, folder)
        case "destroy":
            destroy(bao)
        case "seal":
            bao.ask("PUT", "sys/seal", {})
        case "unseal":
            bao.ask("PUT", "sys/unseal", {"key": (folder / "unseal-key").read_text().strip()})
        case "revoke":
            # Every token that the AppRole gave: the service has to sign in anew.
            bao.ask("PUT", "sys/leases/revoke-prefix/auth/approle", {})
        case "deny":
            bao.ask("PUT", "sys/policies/acl/signer", {"policy": policy('"deny"')})
        case "allow":
            bao.ask("PUT", "sys/policies/acl/signer", {"policy": policy('"update"')})


if __name__ == "__main__":
    main(*sys.argv[1:])

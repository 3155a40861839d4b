#!/usr/bin/env python3
"""Signatures a second by each backend, through the service and by a tool of its own; see benches/backends.

    rates.py HARNESS WRK FOLDER MODULE PIN [--rounds N] [--seconds N] [--connections N] [BACKEND…]

FOLDER holds what the interop lane's functions made: file, openbao, hsm, kms, gcp and azure, each with backends.toml.
Everything over HTTP is asked by wrk with one request, made here, over as many connections as the service has callers:
what is signed is a digest, again and again, over connections that are kept.
"""

import argparse
import base64
import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

# Where the audit trail goes, if there is such a thing: a busy disk is not what is measured here.
IN_MEMORY = ["--folder", "/dev/shm"] if os.access("/dev/shm", os.W_OK) else []
DIGEST = hashlib.sha256(b"a statement").digest()


class Asked(NamedTuple):
    """A request for a signature."""

    url: str
    headers: dict[str, str]
    body: str


class Place(NamedTuple):
    """Where the lane's functions put a kind of backend, and what its own tool is."""

    folder: str
    key: str
    tool: str
    what: str


PLACES = {
    "file": Place("file", "file-p256", "`openssl speed`, a process per core", "OpenSSL"),
    "vault-transit": Place("openbao", "bao-p256", "HTTP", "OpenBao, no audit device"),
    "pkcs11": Place("hsm", "hsm-p256", "C_Sign in 4 threads", "SoftHSM, `concurrency = 4`"),
    "aws-kms": Place("kms", "kms-p256", "HTTP, SigV4 by botocore", "ministack"),
    "gcp-kms": Place("gcp", "gcp-p256", "HTTP", "stand-in"),
    "azure-kv": Place("azure", "azure-p256", "HTTP", "stand-in"),
}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def table_of(folder: pathlib.Path, key: str) -> str:
    tables = re.split(r"(?=^\[\[signing\.backends\]\]$)", (folder / "backends.toml").read_text(), flags=re.MULTILINE)
    [found] = [table for table in tables if f'id = "{key}"\n' in table]
    return found


def member(table: str, name: str) -> str:
    return re.search(rf'^{name} = "(.*)"$', table, re.MULTILINE)[1]


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> dict:
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error}: {error.read().decode(errors='replace')}") from error


def of_openbao(folder: pathlib.Path, table: str) -> Asked:
    url = member(table, "url")
    login = {"role_id": (folder / "role-id").read_text(), "secret_id": (folder / "secret-id").read_text()}
    token = post(f"{url}/v1/auth/approle/login", json.dumps(login).encode())["auth"]["client_token"]
    body = {"input": base64.b64encode(DIGEST).decode(), "prehashed": True, "hash_algorithm": "sha2-256"}
    return Asked(f"{url}/v1/transit/sign/p256", {"X-Vault-Token": token}, json.dumps(body))


def of_aws(folder: pathlib.Path, table: str) -> Asked:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    body = json.dumps({
        "KeyId": member(table, "key"), "Message": base64.b64encode(DIGEST).decode(), "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    })
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Sign"}
    request = AWSRequest("POST", member(table, "endpoint") + "/", headers, body)
    key = Credentials((folder / "access-key-id").read_text(), (folder / "secret-access-key").read_text())
    SigV4Auth(key, "kms", member(table, "region")).add_auth(request)
    return Asked(request.url, dict(request.headers.items()), body)


def of_gcp(folder: pathlib.Path, table: str) -> Asked:
    import google_crc32c
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    account, now = json.loads((folder / "account.json").read_text()), int(time.time())
    claims = {
        "iss": account["client_email"], "aud": account["token_uri"], "iat": now, "exp": now + 3600,
        "scope": "https://www.googleapis.com/auth/cloudkms",
    }
    said = ".".join(b64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    private = serialization.load_pem_private_key(account["private_key"].encode(), None)
    assertion = f"{said}.{b64url(private.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
    grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    token = post(account["token_uri"], urllib.parse.urlencode(grant).encode())["access_token"]
    body = {"digest": {"sha256": base64.b64encode(DIGEST).decode()}, "digestCrc32c": str(google_crc32c.value(DIGEST))}
    url = f"{member(table, 'endpoint')}/v1/{member(table, 'key')}:asymmetricSign"
    return Asked(url, {"Authorization": f"Bearer {token}"}, json.dumps(body))


def of_azure(folder: pathlib.Path, table: str) -> Asked:
    vault, tenant = member(table, "vault"), member(table, "tenant")
    grant = {
        "grant_type": "client_credentials", "client_id": member(table, "client_id"),
        "client_secret": (folder / "secret").read_text(), "scope": "https://vault.azure.net/.default",
    }
    token = post(f"{vault}/{tenant}/oauth2/v2.0/token", urllib.parse.urlencode(grant).encode())["access_token"]
    body = {"alg": "ES256", "value": b64url(DIGEST)}
    url = f"{vault}/keys/{member(table, 'key')}/{member(table, 'key_version')}/sign?api-version=7.4"
    return Asked(url, {"Authorization": f"Bearer {token}"}, json.dumps(body))


REQUESTS = {"vault-transit": of_openbao, "aws-kms": of_aws, "gcp-kms": of_gcp, "azure-kv": of_azure}


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.folder = options, pathlib.Path(options.folder)

    def service(self, kind: str) -> tuple[float, float]:
        """Signatures a second, and the service's CPU time for each in microseconds."""
        place, report = PLACES[kind], self.folder / "report.json"
        tables = self.folder / "tables.toml"
        tables.write_text(table_of(self.folder / place.folder, place.key))
        measure([
            self.options.harness, "--backends", str(tables), "--key", place.key, "--pass", "SOFTHSM2_CONF",
            *IN_MEMORY, "--json", str(report), "sign", "--sizes", "1k", "--seconds", str(self.options.seconds),
            "--connections", str(self.options.connections),
        ])
        [row] = json.loads(report.read_text())["rows"]
        assert set(row["answers"]) == {"200"} or set(row["answers"]) == {"ok"}, row["answers"]
        return row["answered_per_second"], sum(row["server_micros_per_request"])

    def tool(self, kind: str) -> float:
        """Signatures a second without the service."""
        folder, seconds = self.folder / PLACES[kind].folder, self.options.seconds
        match kind:
            case "file":
                said = run(["openssl", "speed", "-seconds", str(seconds), "-multi", str(os.cpu_count()), "ecdsap256"])
                return float(re.search(r"\(nistp256\) .* ([0-9.]+) +[0-9.]+$", said, re.MULTILINE)[1])
            case "pkcs11":
                speed = pathlib.Path(__file__).with_name("pkcs11_speed.py")
                asked = [self.options.module, "signer interop", self.options.pin, "p256", "4", str(seconds)]
                return float(run([sys.executable, str(speed), *asked]).split()[0])
            case _:
                return self.wrk(REQUESTS[kind](folder, table_of(folder, PLACES[kind].key)))

    def wrk(self, asked: Asked) -> float:
        script = self.folder / "request.lua"
        fields = {"Content-Type": "application/json", **asked.headers}
        # Once by Python: an answer that is an error is told.
        post(asked.url, asked.body.encode(), fields)
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields.items()]
        script.write_text("\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps(asked.body)}", *lines]))
        said = run([
            self.options.wrk, "--threads", "1", "--connections", str(self.options.connections),
            "--duration", f"{self.options.seconds}s", "--script", str(script), asked.url,
        ])
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        return float(re.search(r"^Requests/sec: +([0-9.]+)$", said, re.MULTILINE)[1])


def measure(command: list[str]) -> None:
    """The harness makes as many proofs as will do, by its own guess: on a busy machine it takes more than one."""
    for last in (False, False, False, True):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0:
            return
        assert "the requests ran out" in done.stdout and not last, f"{command}: {done.stdout}"


def run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("harness", "wrk", "folder", "module", "pin"):
        parser.add_argument(name)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("backend", nargs="*", choices=[*PLACES, []], default=[])
    options = parser.parse_args()
    bench, kinds = Bench(options), options.backend or list(PLACES)
    seen: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        for kind in kinds:
            seen[kind].append((*bench.service(kind), bench.tool(kind)))
            print(f"round {number + 1}, {kind}: {' '.join(f'{it:.0f}' for it in seen[kind][-1])}", file=sys.stderr, flush=True)
    print("| `kind` | what holds the key | signatures/s through the service | its CPU for one | straight, by | signatures/s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for kind, rounds in seen.items():
        rate, cpu, own = (statistics.median(values) for values in zip(*rounds))
        ratios = sorted(through / straight for through, _, straight in rounds)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        place = PLACES[kind]
        print(f"| `{kind}` | {place.what} | {rate:.0f} | {cpu:.0f} µs | {place.tool} | {own:.0f} | {ratio} |")


if __name__ == "__main__":
    main()

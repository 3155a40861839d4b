#!/usr/bin/env python3
"""Rotates a signing key while requests go on, as docs/runbooks/rotate-a-key.md says, and counts what callers notice.

    rotation.py SIGNER CONFIGURATION CREDENTIALS TABLES OLD NEW DOCUMENT FOLDER NEW_KEY DESTROY

CONFIGURATION is that of `signer dev`, CREDENTIALS its credentials.json. TABLES holds `[[signing.backends]]` in TOML, among
them OLD's, and NEW's once the command NEW_KEY has made that key; DESTROY does away with the private half of OLD. DOCUMENT,
a small CycloneDX file, is what is signed. FOLDER gets keys.json, trusted_root.json and, as old/ and new/, a bundle of each
generation with its public key. Prints one line with what was seen. Exit code 0: no request failed, and all is as the
runbook says.
"""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "replicas"))
from load import Load, codes  # noqa: E402
from servers import free_port, wait_for  # noqa: E402
from world import SIGN, Key, b64  # noqa: E402

THREADS, RATE = 4, 30
# How long requests go on between the steps.
PAUSE = 1.0


class Tables:
    """Backends by id, each as its table's text."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file, self.changed, self.ended = file, {}, ""

    def of(self, key: str) -> str:
        if key in self.changed:
            return self.changed[key]
        tables = re.split(r"(?=^\[\[signing\.backends\]\]$)", self.file.read_text(), flags=re.MULTILINE)
        [found] = [table for table in tables if f'id = "{key}"\n' in table]
        return found

    def retire(self, key: str) -> None:
        """As the runbook has it: a file's key is named by its public half from here on, one elsewhere as before."""
        table, self.ended = self.of(key), retired()
        if 'kind = "file"' in table:
            self.publish(key)
        else:
            self.changed[key] = f"{table.rstrip()}\n{self.ended}"

    def publish(self, key: str) -> None:
        """What is left of a key whose backend has gone, wherever it was."""
        public = re.sub(r'^key = "file:(.*)\.pem"$', r'public_key = "\1.pub"', self.of(key), flags=re.MULTILINE)
        kept = "\n".join(re.findall(r"^(?:id|public_key|algorithm) = .*$", public, re.MULTILINE))
        self.changed[key] = f'[[signing.backends]]\nkind = "file"\n{kept}\n{self.ended}'


def retired() -> str:
    """How a table says so, from the changeover on: what is under way may still be stamped within a request's time."""
    now = datetime.now(timezone.utc) + timedelta(minutes=1)
    return f'state = "retired"\nretired_from = "{now:%Y-%m-%dT%H:%M:%SZ}"\n'


class Caller:
    """The client of `signer dev`, with a new proof for each request; keeps what it was given."""

    def __init__(self, credentials: dict, origin: str, document: bytes) -> None:
        self.token, self.origin, self.local, self.given = credentials["accessToken"], origin, threading.local(), []
        self.key = Key(private_of(credentials["dpopPrivateJwk"]))
        self.body = {
            "subject": [{"name": "document", "digest": {"sha256": hashlib.sha256(document).hexdigest()}}],
            "predicateType": "https://cyclonedx.org/bom", "predicate": json.loads(document),
            "scannerImageDigest": credentials["scannerImageDigest"],
            "poe": {"format": "jwt", "value": credentials["poe"]}, "options": {"returnBundle": "sigstore"},
        }

    def proof(self) -> str:
        claims = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": self.origin + SIGN, "iat": int(time.time()),
                  "ath": b64(hashlib.sha256(self.token.encode()).digest())}
        return self.key.jws({"typ": "dpop+jwt", "jwk": self.key.jwk}, claims)

    def sign(self, port: int, _: str | None = None, **options: str):
        """Status, the id of the key that signed or else the code, headers, and how long it took."""
        begun = time.monotonic()
        try:
            status, headers, text = self.ask(port, json.dumps({**self.body, "options": {**self.body["options"], **options}}))
        except (OSError, http.client.HTTPException) as error:
            self.local.__dict__.clear()
            return 0, type(error).__name__, {}, time.monotonic() - begun
        answer, took = json.loads(text), time.monotonic() - begun
        if status != 200:
            return status, answer["code"], headers, took
        self.given.append(answer["bundle"])
        return status, answer["bundle"]["signingIdentity"]["keyId"], headers, took

    def ask(self, port: int, body: str):
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": self.proof(), "Content-Type": "application/json"}
        connection = self.local.__dict__.setdefault("to", http.client.HTTPConnection("127.0.0.1", port, timeout=20))
        connection.request("POST", SIGN, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def private_of(jwk: dict) -> ec.EllipticCurvePrivateKey:
    assert jwk["crv"] == "P-256", jwk["crv"]
    number = base64.urlsafe_b64decode(jwk["d"] + "=" * (-len(jwk["d"]) % 4))
    return ec.derive_private_key(int.from_bytes(number), ec.SECP256R1())


class Service:
    """`signer serve`, whose file names the keys, and whose environment everything else."""

    def __init__(self, signer: str, base: str, folder: pathlib.Path) -> None:
        self.signer, self.folder, self.file, self.applied = signer, folder, folder / "signer.toml", 0
        self.base = re.sub(r"^default_(mode|key) = .*\n", "", base, flags=re.MULTILINE)
        self.port, self.operations = free_port(), free_port()
        self.origin, self.log = f"http://127.0.0.1:{self.port}", folder / "log"
        # Where there is such a thing: a busy disk is not what is judged here.
        shared = "/dev/shm"
        self.memory = tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None)
        self.environment = os.environ | {
            "SIGNER__SERVER__LISTEN": f"127.0.0.1:{self.port}", "SIGNER__SERVER__PUBLIC_ORIGIN": self.origin,
            "SIGNER__SERVER__METRICS_LISTEN": f"127.0.0.1:{self.operations}", "SIGNER__LOG__LEVEL": "info",
            "SIGNER__LOG__FORMAT": "json", "SIGNER__STATE__DIRECTORY": f"{self.memory.name}/state",
            "SIGNER__AUDIT__DIRECTORY": f"{self.memory.name}/audit",
            # What is asked here is whether rotation has a request fail, not whether a busy machine does.
            "SIGNER__ENTITLEMENT__TIMEOUT": "8s", "SIGNER__AUDIT__TIMEOUT": "8s", "SIGNER__TIMESTAMP__TIMEOUT": "8s",
        }

    def configure(self, default: str, *tables: str) -> None:
        signing = f'[signing]\ndefault_mode = "kms"\ndefault_key = "{default}"\n'
        self.file.write_text(self.base.replace("[signing]\n", signing) + "\n" + "\n".join(tables))

    def start(self) -> None:
        with open(self.folder / "out", "wb") as out, open(self.log, "wb") as log:
            command = [self.signer, "serve", "--config", str(self.file)]
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=self.environment)
        wait_for(self.said, lambda: '"ready":true' in (self.folder / "out").read_text())

    def check(self) -> None:
        """`signer check`, as an operator does before each reload; again where it was too slow for its own bounds."""
        for patience in (2, 1, 0):
            try:
                run([self.signer, "check", "--config", str(self.file)], env=self.environment)
                return
            except AssertionError:
                if not patience:
                    raise

    def reload(self) -> None:
        self.check()
        self.process.send_signal(signal.SIGHUP)
        self.applied += 1
        counted = f'signer_reloads_total{{result="applied"}} {self.applied}\n'
        wait_for(self.said, lambda: counted in self.get("/metrics", self.operations), 20)
        # The log is written by a thread of its own.
        wait_for(self.said, lambda: self.log.read_text().count("the configuration was read again") == self.applied)

    def get(self, path: str, port: int | None = None) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def published(self) -> dict[str, dict]:
        return {key["id"]: key for key in json.loads(self.get("/api/v1/signer/trust/keys"))["keys"]}

    def states(self, *keys: str) -> list[str]:
        published = self.published()
        return [published[key]["state"] for key in keys]

    def trail(self) -> str:
        files = [file for file in pathlib.Path(self.memory.name, "audit").rglob("*") if file.is_file()]
        return "".join(file.read_text(errors="replace") for file in files)

    def said(self) -> str:
        """The log without what it says of each request that went well."""
        lines = self.log.read_text().splitlines()
        return "\n".join(line for line in lines if '"code":"ok"' not in line)[-8000:]

    def stop(self) -> None:
        self.process.terminate()
        code = self.process.wait(30)
        self.memory.cleanup()
        assert code == 0, self.said()


def run(command: list[str], **more) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def rotate(service: Service, tables: Tables, load: Load, old: str, new: str, new_key: str, destroy: str) -> None:
    """The steps of the runbook, and after each what its table says."""
    time.sleep(PAUSE)
    run(["bash", "-c", new_key])
    service.configure(old, tables.of(old), tables.of(new))
    service.reload()
    assert service.states(old, new) == ["active", "active"], service.published()
    readiness = service.get("/readyz", service.operations)
    assert f'"signer:{new}":"ok"' in readiness, readiness
    assert f'"keysAdded":"{new}"' in service.trail(), "the trail does not say which key was added"
    time.sleep(PAUSE)
    assert set(codes(load.since(0))) == {old}, codes(load.since(0))

    service.configure(new, tables.of(old), tables.of(new))
    service.reload()
    changed = time.monotonic()
    time.sleep(PAUSE)
    assert set(codes(load.since(changed))) == {new}, codes(load.since(changed))

    tables.retire(old)
    service.configure(new, tables.of(old), tables.of(new))
    service.reload()
    assert service.states(old, new) == ["retired", "active"], service.published()
    status, code, *_ = load.caller.sign(service.port, keyId=old)
    assert (status, code) == (403, "mode_not_entitled"), (status, code)

    run(["bash", "-c", destroy])
    time.sleep(PAUSE)
    if 'kind = "file"' not in tables.of(old):
        before = service.published()[old]
        tables.publish(old)
        service.configure(new, tables.of(old), tables.of(new))
        service.reload()
        assert service.published()[old] == before, service.published()[old]
        time.sleep(PAUSE / 2)


def judge(caller: Caller, published: dict[str, dict], expected: int) -> None:
    """Every signature that was given, by `cryptography`, under the key that is published for it."""
    assert len(caller.given) == expected, f"{len(caller.given)} and {expected}"
    keys = {key: serialization.load_pem_public_key(it["publicKey"].encode()) for key, it in published.items()}
    for bundle in caller.given:
        envelope, kind = bundle["dsse"], "application/vnd.in-toto+json"
        [signature], payload = envelope["signatures"], base64.b64decode(envelope["payload"])
        pae = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        key = keys[bundle["signingIdentity"]["keyId"]]
        key.verify(base64.b64decode(signature["sig"]), pae, ec.ECDSA(hashes.SHA256()))


def write(folder: pathlib.Path, service: Service, caller: Caller, generations: dict[str, str]) -> None:
    published = service.published()
    (folder / "keys.json").write_text(service.get("/api/v1/signer/trust/keys"))
    hints = set()
    for name, key in generations.items():
        place = folder / name
        place.mkdir()
        # The last: the old key's nearest to its retirement.
        bundle = [bundle for bundle in caller.given if bundle["signingIdentity"]["keyId"] == key][-1]["sigstoreBundle"]
        hints.add(bundle["verificationMaterial"]["publicKey"]["hint"])
        (place / "bundle.sigstore.json").write_text(json.dumps(bundle))
        (place / "public-key.pem").write_text(published[key]["publicKey"])
        (place / "trusted_root.json").write_text(service.get("/api/v1/signer/trust"))
    (folder / "trusted_root.json").write_text(service.get("/api/v1/signer/trust"))
    assert len(hints) == 2, f"both generations say {hints}"


def main(signer: str, configuration: str, credentials: str, tables: str, old: str, new: str, document: str, folder: str,
         new_key: str, destroy: str) -> None:
    place, keys = pathlib.Path(folder), Tables(pathlib.Path(tables))
    service = Service(signer, pathlib.Path(configuration).read_text(), place)
    service.configure(old, keys.of(old))
    service.check()
    service.start()
    begun = time.monotonic()
    try:
        known = json.loads(pathlib.Path(credentials).read_text())
        caller = Caller(known, service.origin, pathlib.Path(document).read_bytes())
        load = Load(caller, [service.port], THREADS, THREADS / RATE)
        try:
            rotate(service, keys, load, old, new, new_key, destroy)
        finally:
            answers = load.stop()
        took, seen = time.monotonic() - begun, codes(answers)
        assert set(seen) == {old, new}, f"{seen}: {service.said()}"
        late = max(answer.took for answer in answers)
        judge(caller, service.published(), len(answers))
        write(place, service, caller, {"old": old, "new": new})
    finally:
        service.stop()
    told = f"{seen[old]} signed by the old key, {seen[new]} by the new one, 0 failed"
    print(f"rotated: {told}; {took:.1f} s, slowest {1000 * late:.0f} ms, {service.applied} reloads")


if __name__ == "__main__":
    main(*sys.argv[1:])

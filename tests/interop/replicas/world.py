"""Everything around replicas: who issues tokens and plans, a registry, Redis, and a caller.

Made with `cryptography` and the RFCs alone, so that the service is not measured by itself. All on loopback.
"""

import base64
import hashlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from resp import Redis

SIGN = "/api/v1/signer/sign/dsse"
ORIGIN = "https://signer.test"
CREDENTIAL = "licensing-credential"


def b64(data) -> str:
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, holds, seconds: float = 30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class Key:
    """P-256: signs compact JWS with ES256 (RFC 7515, RFC 7518 §3.4)."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        point = self.private.public_key().public_numbers()
        self.jwk = {"crv": "P-256", "kty": "EC", "x": b64(point.x.to_bytes(32)), "y": b64(point.y.to_bytes(32))}
        # RFC 7638 §3
        self.thumbprint = b64(hashlib.sha256(json.dumps(self.jwk, separators=(",", ":")).encode()).digest())

    def jws(self, header: dict, claims: dict) -> str:
        said = f"{b64(json.dumps({'alg': 'ES256', **header}))}.{b64(json.dumps(claims))}"
        r, s = decode_dss_signature(self.private.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{said}.{b64(r.to_bytes(32) + s.to_bytes(32))}"

    def pem(self) -> bytes:
        encoding, none = serialization.Encoding.PEM, serialization.NoEncryption()
        return self.private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, none)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A replica that is killed says no goodbye."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        """Silent."""

    def answer(self, status: int, kind: str = "text/plain", body: bytes = b"", **headers) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Licensing(Handler):
    """Introspection (RFC 7662): whatever the proof of entitlement says still holds."""

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        claims = form.removeprefix("token=").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        self.answer(200, "application/json", json.dumps({"active": True, **claims}).encode())


class Registry:
    """One image that cosign signed, from the project's test data. Every other takes its time, and is not there.

    Who asks for another holds a permit meanwhile: `open` are those in progress, `most` how many there were at once.
    """

    def __init__(self, data: Path, delay: float) -> None:
        image, signature = (data / "image.json").read_bytes(), (data / "legacy-manifest.json").read_bytes()
        self.digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
        manifest = json.loads(image).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        found = {
            f"manifests/{self.digest}": (manifest, image),
            f"manifests/{self.digest.replace(':', '-')}.sig": (json.loads(signature)["mediaType"], signature),
        }
        for file in data.glob("*payload*.json"):
            blob = file.read_bytes()
            found[f"blobs/sha256:{hashlib.sha256(blob).hexdigest()}"] = ("application/octet-stream", blob)
        self.lock, self.open, self.most, self.served = threading.Lock(), {}, 0, 0
        registry = self

        class Images(Handler):
            def do_GET(self) -> None:
                what = self.path.removeprefix("/v2/stellaops/scanner/")
                if what in found:
                    kind, body = found[what]
                    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
                    self.answer(200, kind, body, **{"Docker-Content-Digest": digest})
                elif what.startswith("manifests/sha256:"):
                    registry.enter(what)
                    time.sleep(delay)
                    registry.leave(what)
                    self.answer(404)
                else:
                    self.answer(404)

            do_HEAD = do_GET

        self.server = Server(Images)

    def enter(self, what: str) -> None:
        with self.lock:
            self.open[what.rsplit(":", 1)[1]] = True
            self.most = max(self.most, len(self.open))

    def leave(self, what: str) -> None:
        with self.lock:
            self.served += self.open.pop(what.rsplit(":", 1)[1], None) is not None

    def forget(self, digests) -> None:
        """The replica that asked for these is dead, and so is its work."""
        with self.lock:
            for digest in digests:
                self.open.pop(digest, None)

    def reset(self) -> int:
        with self.lock:
            most, self.most = self.most, len(self.open)
            return most


class Store:
    """A Redis or Valkey that keeps nothing on disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        self.start()

    def start(self) -> None:
        log = open(self.folder / "store.log", "ab")
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

        def answers():
            try:
                return Redis(self.port)("PING") == "PONG"
            except OSError:
                return False

        wait_for("the store", answers)

    def signal(self, what: signal.Signals) -> None:
        self.process.send_signal(what)
        if what == signal.SIGKILL:
            self.process.wait()


class Caller:
    """A client with a token of a tenant. Remembers the nonce it was given, as RFC 9449 §8 wants."""

    def __init__(self, world: "World", tenant: str, **limits) -> None:
        self.world, self.key, self.nonce = world, Key(), None
        now = int(time.time())
        times = {"iat": now - 5, "nbf": now - 5, "exp": now + 500}
        scope = {"tid": tenant, "inst": f"{tenant}-1"}
        self.token = world.authority.jws(
            {"typ": "at+jwt", "kid": "authority-1"},
            {**times, **scope, "iss": "https://authority.test", "aud": "signer", "jti": str(uuid.uuid4()), "sub": "scanner",
             "client_id": "scanner", "scope": "signer.sign", "cnf": {"jkt": self.key.thumbprint}},
        )
        self.poe = world.licensing.jws(
            {"typ": "poe+jwt", "kid": "licensing-1"},
            {**times, **scope, "iss": "https://licensing.test", "aud": "signer", "jti": str(uuid.uuid4()), "sub": tenant,
             "lic": "lic-1", "plan": "pro", "features": ["mode:kms", "predicate:*"],
             "limits": {"maxArtifactBytes": 100_000, **limits}, "versionWindow": {"min": "2020.01", "max": "2030.12"}},
        )
        self.local = threading.local()

    def proof(self) -> str:
        claims = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": ORIGIN + SIGN, "iat": int(time.time()),
                  "ath": b64(hashlib.sha256(self.token.encode()).digest())}
        if self.nonce:
            claims["nonce"] = self.nonce
        return self.key.jws({"typ": "dpop+jwt", "jwk": self.key.jwk}, claims)

    def once(self, port: int, proof: str, digest: str):
        """One request: status, code, headers, and how long it took."""
        connections = self.local.__dict__
        body = json.dumps({
            "subject": [{"name": "app", "digest": {"sha256": "ab" * 32}}], "predicateType": "https://stella.ops/report/v1",
            "predicate": {"finding": "none"}, "scannerImageDigest": digest, "poe": {"format": "jwt", "value": self.poe},
        })
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": proof, "Content-Type": "application/json"}
        begun = time.monotonic()
        try:
            connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=20))
            connection.request("POST", SIGN, body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connections.pop(port).close()
            return 0, type(error).__name__, {}, time.monotonic() - begun
        code = "ok" if response.status == 200 else json.loads(text)["code"]
        self.nonce = response.headers.get("DPoP-Nonce", self.nonce)
        return response.status, code, response.headers, time.monotonic() - begun

    def sign(self, port: int, digest: str | None = None):
        """As a client does: once more when it is told to use a nonce."""
        digest = digest or self.world.registry.digest
        answer = self.once(port, self.proof(), digest)
        return self.once(port, self.proof(), digest) if answer[1] == "use_dpop_nonce" else answer


class Replica:
    def __init__(self, world: "World", number: int) -> None:
        self.port, self.metrics = free_port(), free_port()
        folder = world.folder / f"replica-{number}"
        folder.mkdir()
        config = folder / "signer.toml"
        config.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
metrics_listen = "127.0.0.1:{self.metrics}"
public_origin = "{ORIGIN}"
workers = 1
[auth]
issuer = "https://authority.test"
jwks_file = "{world.folder}/authority.json"
[auth.dpop]
nonce_key = "file:{world.folder}/nonce.key"
[entitlement]
issuer = "https://licensing.test"
jwks_file = "{world.folder}/licensing.json"
introspection_url = "http://{world.introspection.address}/introspect"
credential = "file:{world.folder}/licensing.token"
[state]
store = "redis"
url = "redis://127.0.0.1:{world.store.port}/1"
lease_ttl = "{world.lease_ttl}s"
directory = "state"
[release]
repositories = ["{world.registry.server.address}/stellaops/scanner"]
keys = ["{world.data}/p256.pub"]
plain_http = ["{world.registry.server.address}"]
private_networks = ["127.0.0.0/8"]
[signing]
default_mode = "kms"
[[signing.backends]]
kind = "file"
id = "main"
key = "file:{world.folder}/signing.pem"
algorithm = "ecdsa-p256-sha256"
[audit]
directory = "audit"
origin = "signer.test/replica-{number}"
checkpoint_key = "file:{world.folder}/audit.key"
[log]
level = "info"
""", encoding="utf-8")
        out, self.log = folder / "out", folder / "log"
        with open(out, "wb") as stdout, open(self.log, "wb") as stderr:
            self.process = subprocess.Popen([world.signer, "serve", "--config", str(config)], stdout=stdout, stderr=stderr)

        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError(self.log.read_text(encoding="utf-8"))
            return '"ready":true' in out.read_text(encoding="utf-8")

        self.is_ready = is_ready


class World:
    def __init__(self, signer: str, store: str, data: str, folder: str, replicas: int, lease_ttl: int) -> None:
        self.signer, self.data, self.folder, self.lease_ttl = signer, Path(data), Path(folder), lease_ttl
        self.authority, self.licensing = Key(), Key()
        for name, key in [("authority", self.authority), ("licensing", self.licensing)]:
            self.write(f"{name}.json", json.dumps({"keys": [{**key.jwk, "kid": f"{name}-1"}]}).encode())
        self.write("licensing.token", CREDENTIAL.encode())
        self.write("nonce.key", os.urandom(32).hex().encode())
        self.write("signing.pem", Key().pem())
        self.write("audit.key", ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.introspection, self.registry = Server(Licensing), Registry(self.data, delay=0.3)
        self.store = Store(store, self.folder)
        self.replicas = []
        try:
            for number in range(replicas):
                self.replicas.append(Replica(self, number))
            for replica in self.replicas:
                wait_for("a replica", replica.is_ready)
        except BaseException:
            self.stop()
            raise

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)

    @property
    def ports(self):
        return [replica.port for replica in self.replicas if replica.process.poll() is None]

    def stop(self) -> None:
        for process in [*(replica.process for replica in self.replicas), self.store.process]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

"""Everything around replicas: who issues tokens and plans, a registry, a balancer, and a caller.

Made with `cryptography` and the RFCs alone, so that the service is not measured by itself. All on loopback.
"""

import base64
import hashlib
import http.client
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from balancer import before_replicas
from servers import Licensing, Registry, Server, free_port, wait_for
from stores import Process

SIGN = "/api/v1/signer/sign/dsse"
CREDENTIAL = "licensing-credential"


def b64(data) -> str:
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


class Key:
    """P-256: signs compact JWS with ES256 (RFC 7515, RFC 7518 §3.4)."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.private = private or ec.generate_private_key(ec.SECP256R1())
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
        claims = {"jti": str(uuid.uuid4()), "htm": "POST", "htu": self.world.origin + SIGN, "iat": int(time.time()),
                  "ath": b64(hashlib.sha256(self.token.encode()).digest())}
        if self.nonce:
            claims["nonce"] = self.nonce
        return self.key.jws({"typ": "dpop+jwt", "jwk": self.key.jwk}, claims)

    def once(self, port: int, proof: str, digest: str):
        """One request: status, code, headers, and how long it took."""
        return self.ask(port, proof, digest)[:4]

    def ask(self, port: int, proof: str, digest: str, subject: str = "ab" * 32, **more: str):
        """The same, of a given subject and with more header fields; the answer's bytes, too."""
        connections = self.local.__dict__
        body = json.dumps({
            "subject": [{"name": "app", "digest": {"sha256": subject}}], "predicateType": "https://stella.ops/report/v1",
            "predicate": {"finding": "none"}, "scannerImageDigest": digest, "poe": {"format": "jwt", "value": self.poe},
        })
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": proof, "Content-Type": "application/json", **more}
        connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=20))
        begun, kept = time.monotonic(), connection.sock is not None
        try:
            connection.request("POST", SIGN, body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connections.pop(port).close()
            # A balancer may end a connection that was kept, before it is asked again or meanwhile (RFC 9112 §9.3.1). It may
            # not end a new one, nor leave anybody waiting. A replica does neither: who asks one straight would see it.
            ended = kept and port == self.world.balancer.port and not isinstance(error, TimeoutError)
            return 0, "balancer gone" if ended else type(error).__name__, {}, time.monotonic() - begun, b""
        if response.status == 200:
            code = "ok"
        elif text.startswith(b"{"):
            code = json.loads(text)["code"]
        else:
            code = f"balancer {response.status}"
        self.nonce = response.headers.get("DPoP-Nonce", self.nonce)
        return response.status, code, response.headers, time.monotonic() - begun, text

    def sign(self, port: int, digest: str | None = None):
        """As a client does: once more when it is told to use a nonce."""
        digest = digest or self.world.registry.digest
        answer = self.once(port, self.proof(), digest)
        return self.once(port, self.proof(), digest) if answer[1] == "use_dpop_nonce" else answer


class Replica(Process):
    def __init__(self, world: "World", number: int, port: int) -> None:
        self.world, self.number, self.port = world, number, port
        folder = world.folder / f"replica-{number}"
        folder.mkdir()
        trails = f"{world.memory.name}/{number}"
        self.audit, config = Path(trails) / "audit", folder / "signer.toml"
        config.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
metrics_listen = "127.0.0.1:{free_port()}"
public_origin = "{world.origin}"
workers = 1
request_timeout = "2s"
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
url = "redis://127.0.0.1:{world.store_port}/1"
timeout = "500ms"
lease_ttl = "{world.lease_ttl}s"
directory = "{trails}/state"
[release]
# Loads here name a new image with every request, so that the registry holds them.
lookup_qps = 100000
lookup_burst = 100000
repositories = ["{world.registry.addresses[number]}/stellaops/scanner"]
keys = ["{world.data}/p256.pub"]
plain_http = ["{world.registry.addresses[number]}"]
private_networks = ["127.0.0.0/8"]
[signing]
default_mode = "kms"
[[signing.backends]]
kind = "file"
id = "main"
key = "file:{world.folder}/signing.pem"
algorithm = "ecdsa-p256-sha256"
[audit]
directory = "{self.audit}"
origin = "signer.test/replica-{number}"
checkpoint_key = "file:{world.folder}/audit.key"
[log]
level = "info"
""", encoding="utf-8")
        self.config, self.out, self.log = config, folder / "out", folder / "log"
        self.start()

    def start(self) -> None:
        self.world.registry.lives(self.number)
        with open(self.out, "wb") as stdout, open(self.log, "ab") as stderr:
            command = [self.world.signer, "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr)

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(self.log.read_text(encoding="utf-8"))
        return '"ready":true' in self.out.read_text(encoding="utf-8")

    def records(self, tenant: str) -> list[dict]:
        """What its trail says of a tenant's signatures."""
        command = [self.world.signer, "audit", "query", str(self.audit), "--tenant", tenant]
        lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
        return [record for line in lines for record in json.loads(line)["records"]]

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.world.registry.died(self.number)


class World:
    """Replicas behind a balancer that share the store at a port."""

    def __init__(self, signer: str, haproxy: str, data: str, folder: Path, store_port: int, replicas: int, lease_ttl: int):
        self.signer, self.data, self.folder, self.lease_ttl = signer, Path(data), folder, lease_ttl
        self.store_port = store_port
        # Trails are synced to memory, where there is such a thing: a busy disk is not what is judged here.
        shared = "/dev/shm"
        self.memory = tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None)
        self.authority, self.licensing = Key(), Key()
        for name, key in [("authority", self.authority), ("licensing", self.licensing)]:
            self.write(f"{name}.json", json.dumps({"keys": [{**key.jwk, "kid": f"{name}-1"}]}).encode())
        self.write("licensing.token", CREDENTIAL.encode())
        self.write("nonce.key", os.urandom(32).hex().encode())
        self.write("signing.pem", Key().pem())
        self.write("audit.key", ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.introspection, self.registry = Server(Licensing), Registry(self.data, 0.3, replicas)
        self.ports, self.replicas = [free_port() for _ in range(replicas)], []
        self.balancer = before_replicas(haproxy, folder, self.ports)
        self.origin = f"http://127.0.0.1:{self.balancer.port}"
        try:
            for number, port in enumerate(self.ports):
                self.replicas.append(Replica(self, number, port))
            for replica in self.replicas:
                wait_for("a replica", replica.is_ready)
            self.balancer.wait_up(*[True] * replicas)
        except BaseException:
            self.stop()
            raise

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)

    def logs(self) -> list[str]:
        return [replica.log.read_text(encoding="utf-8") for replica in self.replicas]

    def stop(self) -> None:
        for process in [*self.replicas, self.balancer]:
            process.stop()
        self.memory.cleanup()

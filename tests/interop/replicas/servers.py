"""Servers around replicas, all on loopback: Licensing, and a registry that knows who is at work."""

import base64
import hashlib
import http.server
import json
import socket
import threading
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, holds, seconds: float = 30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what() if callable(what) else what}")


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

    Who asks for another holds a permit meanwhile: `open` are those in progress, with the number of who asks, and `most`
    how many there were at once. Each number has an address of its own, and one that is `held` waits for any answer.
    """

    def __init__(self, data: Path, delay: float, askers: int) -> None:
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
        self.gone, registry = set(), self
        self.held, self.waiting, self.released = set(), set(), threading.Condition(self.lock)

        class Images(Handler):
            def do_GET(self) -> None:
                asker = registry.addresses.index(f"127.0.0.1:{self.server.server_port}")
                registry.pass_by(asker)
                what = self.path.removeprefix("/v2/stellaops/scanner/")
                if what in found:
                    kind, body = found[what]
                    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
                    self.answer(200, kind, body, **{"Docker-Content-Digest": digest})
                elif what.startswith("manifests/sha256:"):
                    digest = what.rsplit(":", 1)[1]
                    registry.enter(digest, asker)
                    time.sleep(delay)
                    registry.leave(digest)
                    self.answer(404)
                else:
                    self.answer(404)

            do_HEAD = do_GET

        self.addresses = [Server(Images).address for _ in range(askers)]

    def enter(self, digest: str, asker: int) -> None:
        with self.lock:
            if asker not in self.gone:
                self.open[digest] = asker
                self.most = max(self.most, len(self.open))

    def leave(self, digest: str) -> None:
        with self.lock:
            self.served += self.open.pop(digest, None) is not None

    def asks(self, asker: int) -> bool:
        with self.lock:
            return asker in self.open.values()

    def died(self, asker: int) -> None:
        """Nobody works there any more, whatever its connections still say."""
        with self.lock:
            self.gone.add(asker)
            self.open = {digest: other for digest, other in self.open.items() if other != asker}

    def lives(self, asker: int) -> None:
        with self.lock:
            self.gone.discard(asker)

    def pass_by(self, asker: int) -> None:
        with self.released:
            if asker in self.held:
                self.waiting.add(asker)
                self.released.wait_for(lambda: asker not in self.held, 20)

    def hold(self, asker: int) -> None:
        with self.released:
            self.held.add(asker)
            self.waiting.discard(asker)

    def release(self, asker: int) -> None:
        with self.released:
            self.held.discard(asker)
            self.released.notify_all()

    def reset(self) -> int:
        """How many there were at once since the last time."""
        with self.lock:
            most, self.most = self.most, len(self.open)
            return most

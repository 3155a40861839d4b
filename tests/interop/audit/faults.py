#!/usr/bin/env python3
"""Breaks the disk under the audit trail of a running `signer serve`, in every way that there is, while callers sign.

    faults.py SIGNER COSIGN_TESTDATA SHIM FOLDER

Whatever happens: who asks is answered, by a signature or quickly by 503 `audit_unavailable`; the replica is not ready until
it can write again, and then is without a restart; `signer audit verify` finds the trail whole; and every signature that
anyone got is in it. One line `ok WHAT: FIGURES` for each fault. Needs a mount namespace of its own (`unshare --mount`).
"""

import base64
import errno
import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "replicas"))

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from servers import Licensing, Registry, Server, free_port, wait_for
from world import CREDENTIAL, Caller, Key

CALLERS = 4
# What the service may take to refuse while the disk is broken, in seconds: `audit.timeout`, and a busy machine.
PATIENCE = 1.0
FAST = PATIENCE + 2.0
ORIGIN = "signer.test/faults"


class World:
    """Who issues tokens and plans, and a registry."""

    def __init__(self, signer: str, data: str, folder: Path) -> None:
        self.signer, self.data, self.folder = signer, Path(data), folder
        self.authority, self.licensing = Key(), Key()
        for name, key in [("authority", self.authority), ("licensing", self.licensing)]:
            self.write(f"{name}.json", json.dumps({"keys": [{**key.jwk, "kid": f"{name}-1"}]}).encode())
        self.write("licensing.token", CREDENTIAL.encode())
        self.write("signing.pem", Key().pem())
        self.write("audit.key", ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.introspection, self.registry = Server(Licensing), Registry(self.data, 0, 1)
        self.balancer, self.port, self.operations = SimpleNamespace(port=-1), free_port(), free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.services = []

    def stop(self) -> None:
        for service in self.services:
            if service.process and service.process.poll() is None:
                service.process.kill()
                service.process.wait()

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)

    def configuration(self, audit: Path) -> Path:
        path = self.folder / "signer.toml"
        path.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
metrics_listen = "127.0.0.1:{self.operations}"
public_origin = "{self.origin}"
workers = 1
[auth]
issuer = "https://authority.test"
jwks_file = "{self.folder}/authority.json"
[auth.dpop]
nonce = "off"
[entitlement]
issuer = "https://licensing.test"
jwks_file = "{self.folder}/licensing.json"
introspection_url = "http://{self.introspection.address}/introspect"
credential = "file:{self.folder}/licensing.token"
[state]
directory = "{self.folder}/state"
[release]
repositories = ["{self.registry.addresses[0]}/stellaops/scanner"]
keys = ["{self.data}/p256.pub"]
plain_http = ["{self.registry.addresses[0]}"]
private_networks = ["127.0.0.0/8"]
[signing]
default_mode = "kms"
[[signing.backends]]
kind = "file"
id = "main"
key = "file:{self.folder}/signing.pem"
algorithm = "ecdsa-p256-sha256"
[audit]
directory = "{audit}"
origin = "{ORIGIN}"
checkpoint_key = "file:{self.folder}/audit.key"
timeout = "{int(PATIENCE * 1000)}ms"
[log]
level = "info"
""", encoding="utf-8")
        return path

    def key(self, configuration: Path) -> str:
        command = [self.signer, "check", "--offline", "--config", str(configuration)]
        said = subprocess.run(command, capture_output=True, text=True).stdout
        return re.search(r"verifier key is (\S+)", said)[1]


class Service:
    """`signer serve` with a trail in a folder, on a disk that can be told to fail."""

    def __init__(self, world: World, shim: str, audit: Path) -> None:
        self.world, self.audit, self.shim = world, audit, shim
        self.control = world.folder / "fault"
        self.configuration = world.configuration(audit)
        self.key = world.key(self.configuration)
        self.log = world.folder / "log"
        self.fault("none")
        self.process = None
        world.services.append(self)
        self.start()

    def start(self) -> None:
        out = self.world.folder / "out"
        environment = {"LD_PRELOAD": self.shim, "FAULT_FILE": str(self.control), "FAULT_UNDER": str(self.audit)}
        with open(out, "wb") as stdout, open(self.log, "wb") as stderr:
            command = [self.world.signer, "serve", "--config", str(self.configuration)]
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **environment})
        wait_for("a start", lambda: '"ready":true' in out.read_text() or self.process.poll() is not None)

    def fault(self, what: str) -> None:
        # At once: it may be read at any time.
        under_way = self.control.with_suffix(".new")
        under_way.write_text(what)
        under_way.rename(self.control)

    def ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.world.operations, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def verify(self) -> str:
        command = [self.world.signer, "audit", "verify", "--key", self.key, str(self.audit)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[0]

    def signed(self) -> dict[str, str]:
        """Digests of signatures in the trail, by audit id."""
        command = [self.world.signer, "audit", "query", str(self.audit), "--tenant", "acme"]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
        records = [record for line in lines for record in json.loads(line)["records"]]
        return {r["auditId"]: r["signatureDigest"] for r in records if r["event"] == "outcome" and r["signatureDigest"]}


class Load:
    """Callers that sign without end."""

    def __init__(self, world: World) -> None:
        self.world, self.running, self.answers = world, True, []
        limits = {"qps": 10_000, "burst": 10_000, "concurrency": 64}
        self.callers = [Caller(world, "acme", **limits) for _ in range(CALLERS)]
        self.threads = [threading.Thread(target=self.call, args=(caller,)) for caller in self.callers]
        for thread in self.threads:
            thread.start()

    def call(self, caller: Caller) -> None:
        while self.running:
            begun = time.monotonic()
            status, code, _, took, text = caller.ask(self.world.port, caller.proof(), self.world.registry.digest)
            self.answers.append((begun, status, code, took, text))
            if status != 200:
                time.sleep(0.02)

    def since(self, begin: float, end: float = float("inf")) -> list:
        return [answer for answer in self.answers if begin <= answer[0] < end]

    def stop(self) -> None:
        self.running = False
        for thread in self.threads:
            thread.join()

    def signatures(self) -> dict[str, str]:
        """Digests of the signatures that arrived, by audit id."""
        arrived = [json.loads(text) for _, status, _, _, text in self.answers if status == 200]
        digest = lambda answer: hashlib.sha256(base64.b64decode(answer["bundle"]["dsse"]["signatures"][0]["sig"])).hexdigest()
        return {answer["auditId"]: digest(answer) for answer in arrived}


def proven(service: Service, load: Load) -> str:
    """Nothing that anyone got is missing."""
    held, kept = load.signatures(), service.signed()
    missing = {id for id, digest in held.items() if kept.get(id) != digest}
    assert not missing, f"{len(missing)} of {len(held)} signatures that left are not in the trail"
    assert held
    return f"{len(held)} signatures all proven, {service.verify()}"


def refuses(service: Service, load: Load, breaks, lasts: float = 4.0) -> str:
    """Breaks the disk under load for a while, and judges what callers get meanwhile."""
    wait_for("signatures", lambda: len(load.since(0)) > 20)
    began = time.monotonic()
    breaks()
    first = wait_for("a refusal", lambda: next((a for a in load.since(0) if a[1] != 200), None))
    refused = first[0] + first[3] - began
    wait_for("not ready", lambda: not service.ready())
    off = time.monotonic() - began
    time.sleep(max(0.0, lasts - off))
    ended = time.monotonic()
    during = load.since(began, ended)
    codes = {(status, code) for _, status, code, _, _ in during if status != 200}
    assert codes == {(503, "audit_unavailable")}, codes
    slowest = max(took for _, _, _, took, _ in during)
    assert slowest < FAST, f"an answer took {slowest:.1f} s"
    signed = [answer for answer in load.since(began + refused + 0.5, ended) if answer[1] == 200]
    assert not signed, "signed while nothing could be kept"
    # Once it is known, nobody waits.
    known = sorted(took for _, _, _, took, _ in load.since(began + off + 0.5, ended))
    assert service.process.poll() is None, "it ended"
    return (f"first 503 after {refused:.2f} s, later ones take {known[len(known) // 2] * 1000:.0f} ms, slowest {slowest:.2f} s; "
            f"not ready after {off:.2f} s")


def broken(service: Service, breaks, mends) -> str:
    """The disk is broken for a while, and the service goes on by itself."""
    load = Load(service.world)
    try:
        said = refuses(service, load, breaks)
        mended = time.monotonic()
        mends()
        wait_for("ready again", service.ready)
        again = time.monotonic() - mended
        wait_for("signatures again", lambda: any(answer[1] == 200 for answer in load.since(mended + again)))
    finally:
        mends()
        load.stop()
    service.stop()
    return f"{said}; ready {again:.1f} s after the repair, without a restart; {proven(service, load)}"


def by_shim(what: str):
    def judge(world: World, shim: str, folder: Path) -> str:
        service = Service(world, shim, folder / "audit")
        return broken(service, lambda: service.fault(what), lambda: service.fault("none"))
    return judge


def full(world: World, shim: str, folder: Path) -> str:
    """A file system of 2 MiB that something else fills."""
    place, filler = folder / "tmpfs", folder / "tmpfs/filler"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", place], check=True)

    def fill() -> None:
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC

    try:
        service = Service(world, shim, place / "audit")
        return broken(service, fill, lambda: filler.unlink(missing_ok=True))
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def remounted(world: World, shim: str, folder: Path) -> str:
    """ext4 on a loop device that meets an error and makes itself read-only, for good: then it is repaired and mounted anew."""
    image, place = folder / "image", folder / "ext4"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    found = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    switch = Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error")
    mount = ["mount", "-o", "errors=remount-ro", device, place]
    try:
        subprocess.run(mount, check=True)
        service = Service(world, shim, place / "audit")
        load = Load(world)
        try:
            said = refuses(service, load, lambda: switch.write_text("1"))
        finally:
            load.stop()
        service.stop()
        subprocess.run(["umount", place], check=True)
        subprocess.run(["e2fsck", "-fy", device], check=False, capture_output=True)
        subprocess.run(mount, check=True)
        service.start()
        assert service.ready()
        service.stop()
        return f"{said}; repaired and mounted anew, the next start goes on; {proven(service, load)}"
    finally:
        world.stop()
        subprocess.run(["umount", "-l", place], check=False)
        subprocess.run(["losetup", "--detach", device], check=False)


def slow(world: World, shim: str, folder: Path) -> str:
    """Slow, but not too slow: everyone waits a little longer, nobody is refused."""
    service = Service(world, shim, folder / "audit")
    load = Load(world)
    try:
        wait_for("signatures", lambda: len(load.since(0)) > 20)
        began = time.monotonic()
        service.fault("slow 100")
        wait_for("signatures", lambda: len(load.since(began)) > 60)
        assert service.ready()
        service.fault("none")
    finally:
        load.stop()
    took = sorted(took for _, _, _, took, _ in load.since(began))
    assert all(answer[1] == 200 for answer in load.since(0))
    service.stop()
    return f"nobody is refused, an answer takes {took[len(took) // 2] * 1000:.0f} ms; {proven(service, load)}"


def torn(world: World, shim: str, folder: Path) -> str:
    """The process dies in the middle of a write."""
    service = Service(world, shim, folder / "audit")
    load = Load(world)
    try:
        wait_for("signatures", lambda: len(load.since(0)) > 20)
        service.fault("kill 0")
        service.process.wait(30)
    finally:
        load.stop()
    journal = sorted((folder / "audit/journal").iterdir())
    service.fault("none")
    began = time.monotonic()
    service.start()
    took = time.monotonic() - began
    assert service.ready(), service.log.read_text()
    kept = [path for path in (folder / "audit/journal").iterdir() if path.suffix == ".torn"]
    assert kept and kept[0] not in journal, "what was torn off is kept"
    service.stop()
    return f"the next start cuts it off and keeps it ({took:.1f} s); {proven(service, load)}"


def truncated(world: World, shim: str, folder: Path) -> str:
    """The end of the journal is gone although a checkpoint covers it: no start, and the reason."""
    service = Service(world, shim, folder / "audit")
    load = Load(world)
    wait_for("signatures", lambda: len(load.since(0)) > 20)
    load.stop()
    service.stop()
    [segment] = (folder / "audit/journal").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-100])
    service.start()
    assert service.process.wait(30) == 2
    assert "has lost its newest records" in service.log.read_text(), service.log.read_text()
    segment.write_bytes(whole)
    service.start()
    assert service.ready()
    service.stop()
    return f"the start is refused, exit code 2; with the file put back it goes on; {proven(service, load)}"


FAULTS = [
    ("full disk (tmpfs)", full),
    ("write EIO", by_shim(f"write {errno.EIO}")),
    ("fdatasync EIO", by_shim(f"sync {errno.EIO}")),
    ("short writes", by_shim("short 0")),
    ("read-only (EROFS)", by_shim("readonly 0")),
    ("fdatasync hangs", by_shim("slow 6000")),
    ("fdatasync 100 ms", slow),
    ("torn write", torn),
    ("truncated tail", truncated),
]


def main(signer: str, data: str, shim: str, folder: str) -> None:
    # In a user namespace there are no loop devices: the shim stands in.
    faults, failed = list(FAULTS), False
    if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"] and Path("/dev/loop-control").exists():
        faults.append(("read-only (ext4 after an error)", remounted))
    for number, (what, judge) in enumerate(faults):
        place = Path(folder) / str(number)
        place.mkdir()
        world = World(signer, data, place)
        try:
            print(f"ok {what}: {judge(world, shim, place)}", flush=True)
        except Exception:
            failed = True
            print(f"FAILED {what}: {traceback.format_exc()}", flush=True)
            log = place / "log"
            lines = log.read_text().splitlines() if log.exists() else []
            print("\n".join([line for line in lines if '"msg":"request"' not in line][-8:]), flush=True)
        finally:
            world.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

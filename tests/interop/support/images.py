#!/usr/bin/env python3
"""Images in a registry, and what an attacker with push rights does to their signatures.

    images.py push    http://HOST:PORT REPOSITORY TEXT           one layer; prints the digest
    images.py index   http://HOST:PORT REPOSITORY TEXT           two platforms; prints the digests: index, then images
    images.py move    http://HOST:PORT REPOSITORY FROM TO        FROM's signature tag becomes TO's, too
    images.py present http://HOST:PORT REPOSITORY FROM TO        FROM's newest bundle becomes a referrer of TO, too
    images.py forge   http://HOST:PORT REPOSITORY DIGEST OF      DIGEST's signed payload names OF instead
    images.py rot     DATA DIGEST HOST:PORT REPOSITORY           a byte of its signed payload changes on the disk

TEXT makes an image differ from others. Standard library only: the OCI distribution API is three kinds of request.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urljoin, urlencode, urlsplit

OCI = "application/vnd.oci.image."
MANIFEST = OCI + "manifest.v1+json"
INDEX = OCI + "index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(kind: str, content: bytes) -> dict:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}


def encoded(document: dict) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Repository:
    def __init__(self, origin: str, name: str):
        self.base = f"{origin}/v2/{name}"

    def call(self, method: str, url: str, content: bytes | None = None, kind: str = "application/octet-stream"):
        headers = {"Content-Type": kind, "Accept": f"{MANIFEST}, {INDEX}"}
        return urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=10)

    def upload(self, content: bytes) -> None:
        with self.call("POST", f"{self.base}/blobs/uploads/", b"") as answer:
            location = urljoin(self.base, answer.headers["Location"])
        joint = "&" if urlsplit(location).query else "?"
        self.call("PUT", location + joint + urlencode({"digest": digest_of(content)}), content).close()

    def tag(self, tag: str, manifest: bytes, kind: str = MANIFEST) -> None:
        self.call("PUT", f"{self.base}/manifests/{tag}", manifest, kind).close()

    def get(self, path: str) -> bytes:
        with self.call("GET", f"{self.base}/{path}") as answer:
            return answer.read()

    def image(self, text: str, architecture: str) -> bytes:
        plain = layer(text)
        packed = gzip.compress(plain, mtime=0)
        rootfs = {"type": "layers", "diff_ids": [digest_of(plain)]}
        config = encoded({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs})
        self.upload(packed)
        self.upload(config)
        manifest = encoded(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(OCI + "config.v1+json", config),
                "layers": [descriptor(OCI + "layer.v1.tar+gzip", packed)],
            }
        )
        self.tag(digest_of(manifest), manifest)
        return manifest

    def referrers(self, digest: str) -> tuple[list, bool]:
        """What refers to an image, and whether the registry itself says so; without the API, the fallback tag does."""
        try:
            return json.loads(self.get(f"referrers/{digest}"))["manifests"], True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        try:
            return json.loads(self.get(f"manifests/{digest.replace(':', '-')}"))["manifests"], False
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return [], False


def layer(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("scanner")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def signature_tag(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def push(repository: Repository, text: str) -> None:
    print(digest_of(repository.image(text, "amd64")))


def index(repository: Repository, text: str) -> None:
    images = {name: repository.image(f"{text} {name}", name) for name in ("amd64", "arm64")}
    platform = {name: {"architecture": name, "os": "linux"} for name in images}
    listed = [{**descriptor(MANIFEST, image), "platform": platform[name]} for name, image in images.items()]
    document = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
    repository.tag(digest_of(document), document, INDEX)
    print(digest_of(document), *map(digest_of, images.values()))


def move(repository: Repository, source: str, target: str) -> None:
    repository.tag(signature_tag(target), repository.get(f"manifests/{signature_tag(source)}"))


def present(repository: Repository, source: str, target: str) -> None:
    listed, _ = repository.referrers(source)
    manifest = json.loads(repository.get(f"manifests/{listed[-1]['digest']}"))
    if manifest["layers"][0]["mediaType"] != BUNDLE:
        sys.exit(f"{source} has no bundle")
    manifest["subject"] = descriptor(MANIFEST, repository.get(f"manifests/{target}"))
    moved = encoded(manifest)
    repository.tag(digest_of(moved), moved)
    others, listed_by_registry = repository.referrers(target)
    if not listed_by_registry:
        entry = {**descriptor(MANIFEST, moved), "artifactType": BUNDLE}
        fallback = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]})
        repository.tag(target.replace(":", "-"), fallback, INDEX)


def forge(repository: Repository, digest: str, other: str) -> None:
    """The tag of `other` gets the signature of `digest` over a payload that names `other`."""
    manifest = json.loads(repository.get(f"manifests/{signature_tag(digest)}"))
    [signed] = manifest["layers"]
    payload = repository.get(f"blobs/{signed['digest']}").replace(digest.encode(), other.encode())
    repository.upload(payload)
    signed.update(descriptor(signed["mediaType"], payload))
    repository.tag(signature_tag(other), encoded(manifest))


def rot(data: str, digest: str, origin: str, name: str) -> None:
    repository = Repository(origin, name)
    [signed] = json.loads(repository.get(f"manifests/{signature_tag(digest)}"))["layers"]
    place = signed["digest"].removeprefix("sha256:")
    file = Path(data, "docker/registry/v2/blobs/sha256", place[:2], place, "data")
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"optional":null', b'"optional":true', 1))
    if file.read_bytes() == content:
        sys.exit(f"{file}: nothing to change")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "rot":
        rot(*arguments)
    else:
        origin, name, *arguments = arguments
        {"push": push, "index": index, "move": move, "present": present, "forge": forge}[command](
            Repository(origin, name), *arguments
        )

#!/usr/bin/env python3
"""Pushes a one-layer image to a registry and prints its digest.

    push_image.py http://HOST:PORT REPOSITORY TAG TEXT

TEXT makes the image differ from others. Standard library only: the OCI distribution API is three kinds of request.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from urllib.parse import urljoin, urlencode, urlsplit

OCI = "application/vnd.oci.image."


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def request(method: str, url: str, content: bytes | None = None, kind: str = "application/octet-stream"):
    made = urllib.request.Request(url, data=content, method=method, headers={"Content-Type": kind})
    return urllib.request.urlopen(made, timeout=10)


def upload(base: str, content: bytes) -> None:
    with request("POST", f"{base}/blobs/uploads/", b"") as answer:
        location = urljoin(base, answer.headers["Location"])
    joint = "&" if urlsplit(location).query else "?"
    request("PUT", location + joint + urlencode({"digest": digest(content)}), content).close()


def layer(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("scanner")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def descriptor(kind: str, content: bytes) -> dict:
    return {"mediaType": OCI + kind, "digest": digest(content), "size": len(content)}


def main(origin: str, repository: str, tag: str, text: str) -> None:
    base = f"{origin}/v2/{repository}"
    plain = layer(text)
    packed = gzip.compress(plain, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": descriptor("config.v1+json", config),
            "layers": [descriptor("layer.v1.tar+gzip", packed)],
        }
    ).encode()
    upload(base, packed)
    upload(base, config)
    request("PUT", f"{base}/manifests/{tag}", manifest, OCI + "manifest.v1+json").close()
    print(digest(manifest))


if __name__ == "__main__":
    main(*sys.argv[1:])

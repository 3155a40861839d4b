#!/usr/bin/env python3
"""Signs one image with cosign and a certificate, witnessed by Sigstore's timestamp authority and a log of version 1.

    make.py COSIGN2 COSIGN3 TIMESTAMP_SERVER DOCKER_REGISTRY

Run it in an empty folder. What cosign pushed lands in `witnessed/`. The log is a stand-in of one entry (below) that signs
as Rekor does. Both cosigns verify what they made, offline, with identity, timestamp and log. Needs cryptography 41 or later and openssl.
"""

import base64
import datetime
import hashlib
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Use
from cryptography.x509.oid import NameOID, ObjectIdentifier

COSIGN2, COSIGN3, TIMESTAMP_SERVER, REGISTRY = sys.argv[1:]
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
ISSUER = "https://authority.example"
SUBJECT = "https://stellaops.example/release"
OUT = pathlib.Path("witnessed")


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def certify(name, key, issuer=None, ca=False, uses=(), extra=(), life=datetime.timedelta(days=3650), critical=True):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    by, by_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW).not_valid_after(NOW + life)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), False)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(uses)), critical)
    for extension, is_critical in extra:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(by_key, hashes.SHA256()), key


def pem(*pairs):
    return b"".join(pair[0].public_bytes(serialization.Encoding.PEM) for pair in pairs)


class Public:
    """A key of which cosign keeps the private half."""

    def __init__(self, path):
        self.key = serialization.load_pem_public_key(pathlib.Path(path).read_bytes())

    def public_key(self):
        return self.key


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Log:
    """A log of one entry: body and promise as Rekor 1 makes them (`pkg/api/entries.go`), proof in a tree of one."""

    def __init__(self):
        self.key = p256()
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.id = hashlib.sha256(spki).hexdigest()

    def sign(self, text):
        return base64.b64encode(self.key.sign(text, ec.ECDSA(hashes.SHA256()))).decode()

    def take(self, proposed):
        body = json.dumps(proposed, sort_keys=True, separators=(",", ":")).encode()
        entry = {"body": base64.b64encode(body).decode(), "integratedTime": int(time.time()), "logID": self.id, "logIndex": 7}
        promise = self.sign(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
        root = hashlib.sha256(b"\0" + body)
        note = f"log.example - 42\n1\n{base64.b64encode(root.digest()).decode()}\n"
        signature = bytes.fromhex(self.id)[:4] + base64.b64decode(self.sign(note.encode()))
        proof = {
            "checkpoint": f"{note}\n\u2014 log.example {base64.b64encode(signature).decode()}\n",
            "hashes": [], "logIndex": 0, "rootHash": root.hexdigest(), "treeSize": 1,
        }
        entry["verification"] = {"signedEntryTimestamp": promise, "inclusionProof": proof}
        return {root.hexdigest(): entry}


def serve(log):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            proposed = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if proposed["kind"] == "dsse":
                # What Rekor keeps of a proposal (`pkg/types/dsse/v0.0.1/entry.go`, Canonicalize).
                content = proposed["spec"]["proposedContent"]
                envelope = json.loads(content["envelope"])
                digest = lambda data: {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}
                proposed["spec"] = {
                    "envelopeHash": digest(content["envelope"].encode()),
                    "payloadHash": digest(base64.b64decode(envelope["payload"])),
                    "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": content["verifiers"][0]}],
                }
            taken = log.take(proposed)
            answer = json.dumps(taken).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", *taken)
            self.send_header("Location", "/api/v1/log/entries/1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(url, data=None, method=None, kind="application/octet-stream"):
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*"
    headers = {"Accept": accept} | ({} if data is None else {"Content-Type": kind})
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers


def wait(url):
    for _ in range(100):
        try:
            return fetch(url)
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def push(base, image):
    """The image manifest; its config is whatever has the digest it names."""
    fetch(f"{base}/manifests/1", image, "PUT", "application/vnd.oci.image.manifest.v1+json")


def blob(base, content):
    _, headers = fetch(f"{base}/blobs/uploads/", b"", "POST")
    location = headers["Location"]
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    fetch(f"{location}{'&' if '?' in location else '?'}digest={digest}", content, "PUT")
    return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}


def main():
    OUT.mkdir()
    log = Log()
    (OUT / "log.pub").write_bytes(public(log.key))
    root = certify("release root", p256(), ca=True)
    intermediate = certify("release intermediate", p256(), root, ca=True, uses=[Use.CODE_SIGNING], critical=False)
    utf8 = bytes([0x0C, len(ISSUER)]) + ISSUER.encode()
    extra = [
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SUBJECT)]), True),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), ISSUER.encode()), False),
        (x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), utf8), False),
    ]
    os.environ.update(COSIGN_PASSWORD="", SIGSTORE_REKOR_PUBLIC_KEY=str((OUT / "log.pub").resolve()), HOME=os.getcwd())
    subprocess.run([COSIGN2, "generate-key-pair", "--output-key-prefix", "leaf-cosign"], check=True)
    leaf = certify(
        "", Public("leaf-cosign.pub"), intermediate, uses=[Use.CODE_SIGNING], critical=False, extra=extra, life=datetime.timedelta(minutes=10)
    )
    (OUT / "root.crt").write_bytes(pem(root))
    (OUT / "intermediate.crt").write_bytes(pem(intermediate))
    pathlib.Path("leaf.crt").write_bytes(pem(leaf))
    pathlib.Path("chain.crt").write_bytes(pem(intermediate, root))

    tsa_port, registry_port = free_port(), free_port()
    pathlib.Path("registry.yml").write_text(
        "version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: data }, delete: { enabled: true } }\n"
        f'http: {{ addr: "127.0.0.1:{registry_port}" }}\n'
    )
    running = [
        subprocess.Popen([TIMESTAMP_SERVER, "serve", "--port", str(tsa_port), "--host", "127.0.0.1", "--disable-ntp-monitoring"],
                         stdout=open("tsa.log", "w"), stderr=subprocess.STDOUT),
        subprocess.Popen([REGISTRY, "serve", "registry.yml"], stdout=open("registry.log", "w"), stderr=subprocess.STDOUT),
    ]
    try:
        tsa, rekor = f"http://127.0.0.1:{tsa_port}", serve(log)
        chain, _ = wait(f"{tsa}/api/v1/timestamp/certchain")
        (OUT / "tsa.crt").write_bytes(chain)
        wait(f"http://127.0.0.1:{registry_port}/v2/")
        base = f"http://127.0.0.1:{registry_port}/v2/app"
        config = blob(base, b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
        image = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [],
            "annotations": {"org.opencontainers.image.version": "2026.10"},
        }).encode()
        push(base, image)
        (OUT / "image.json").write_bytes(image)
        digest = hashlib.sha256(image).hexdigest()
        target = f"127.0.0.1:{registry_port}/app@sha256:{digest}"
        common = ["--yes", "--key", "leaf-cosign.key", "--certificate", "leaf.crt", "--certificate-chain", "chain.crt"]
        subprocess.run(
            [COSIGN2, "sign", *common, "--timestamp-server-url", f"{tsa}/api/v1/timestamp", "--rekor-url", rekor,
             "-a", "org.opencontainers.image.version=2026.10", target], check=True)
        manifest, _ = fetch(f"{base}/manifests/sha256-{digest}.sig")
        (OUT / "legacy-manifest.json").write_bytes(manifest)
        for layer in json.loads(manifest)["layers"]:
            (OUT / "legacy-payload.json").write_bytes(fetch(f"{base}/blobs/{layer['digest']}")[0])
        service = lambda url, version: [{"url": url, "majorApiVersion": version, "validFor": {"start": "2020-01-01T00:00:00Z"}, "operator": "x"}]
        pathlib.Path("signing.json").write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "rekorTlogUrls": service(rekor, 1), "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service(f"{tsa}/api/v1/timestamp", 1), "tsaConfig": {"selector": "ANY"},
        }))
        b64 = lambda data: base64.b64encode(data).decode()
        der = lambda pair: b64(pair[0].public_bytes(serialization.Encoding.DER))
        chain_der = [b64(c.public_bytes(serialization.Encoding.DER)) for c in x509.load_pem_x509_certificates(chain)]
        since = {"start": "2020-01-01T00:00:00Z"}
        spki = log.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        pathlib.Path("trusted.json").write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{"baseUrl": rekor, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(bytes.fromhex(log.id))},
                       "publicKey": {"rawBytes": b64(spki), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since}}],
            "certificateAuthorities": [{"subject": {}, "uri": "x", "validFor": since, "certChain": {"certificates": [
                {"rawBytes": der(intermediate)}, {"rawBytes": der(root)}]}}],
            "timestampAuthorities": [{"subject": {}, "uri": "x", "validFor": since, "certChain": {"certificates": [
                {"rawBytes": c} for c in chain_der]}}],
        }))
        subprocess.run(
            [COSIGN3, "sign", *common, "--signing-config", "signing.json", "--trusted-root", "trusted.json",
             "-a", "org.opencontainers.image.version=2026.10", target], check=True)
        try:
            listing, _ = fetch(f"{base}/manifests/sha256-{digest}")
            entry = json.loads(listing)["manifests"][-1]
            manifest, _ = fetch(f"{base}/manifests/{entry['digest']}")
            (OUT / "bundle-manifest.json").write_bytes(manifest)
            layer = json.loads(manifest)["layers"][0]
            (OUT / "bundle.json").write_bytes(fetch(f"{base}/blobs/{layer['digest']}")[0])
        except OSError as error:
            sys.exit(f"cosign 3 pushed no bundle: {error}")
        who = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER, "--insecure-ignore-sct",
               "--use-signed-timestamps", "--offline", target]
        subprocess.run([COSIGN2, "verify", "--ca-roots", OUT / "root.crt", "--ca-intermediates", OUT / "intermediate.crt",
                        "--timestamp-certificate-chain", OUT / "tsa.crt", *who], check=True)
        subprocess.run([COSIGN3, "verify", "--trusted-root", "trusted.json", *who], check=True)
    finally:
        for process in running:
            process.terminate()


main()

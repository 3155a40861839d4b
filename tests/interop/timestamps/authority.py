#!/usr/bin/env python3
"""A timestamp authority over HTTP whose every answer is made by `openssl ts -reply`.

    authority.py FOLDER

FOLDER gets a chain (chain.pem: the authority's own certificate first) and the authority's files. Paths: /good answers;
/old answers whatever is asked with the first answer of /good; /other answers about another digest; /silent says nothing.
Prints {"ready":true,"url":…} once it listens.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIGURATION = """
[tsa]
default_tsa = interop
[interop]
serial = {folder}/serial
signer_cert = {folder}/authority.pem
signer_key = {folder}/authority.key
certs = {folder}/root.pem
signer_digest = sha256
ess_cert_id_alg = sha256
default_policy = 1.3.6.1.4.1.57264.2
digests = sha256, sha384, sha512
accuracy = secs:1
"""


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make(folder: str) -> None:
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    root, own = f"{folder}/root", f"{folder}/authority"
    openssl(*new, "-subj", "/O=interop/CN=timestamp root", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", f"{root}.key", "-out", f"{root}.pem")
    openssl(*new, "-subj", "/O=interop/CN=timestamps", "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=critical,timeStamping",
            "-CA", f"{root}.pem", "-CAkey", f"{root}.key", "-keyout", f"{own}.key", "-out", f"{own}.pem")
    with open(f"{folder}/chain.pem", "w", encoding="ascii") as chain:
        for name in (own, root):
            with open(f"{name}.pem", encoding="ascii") as certificate:
                chain.write(certificate.read())
    with open(f"{folder}/tsa.cnf", "w", encoding="ascii") as configuration:
        configuration.write(CONFIGURATION.format(folder=folder))
    with open(f"{folder}/serial", "w", encoding="ascii") as serial:
        serial.write("01\n")


class Authority(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = ""
    turn = threading.Lock()

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] != "application/timestamp-query":
            self.send_error(415)
            return
        if self.path == "/silent":
            threading.Event().wait(60)
            return
        with self.turn:
            answer = self.answer(query)
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, query: bytes) -> bytes:
        first, asked, answered = (f"{self.folder}/{name}" for name in ("first.tsr", "query.tsq", "answer.tsr"))
        if self.path == "/old" and os.path.exists(first):
            with open(first, "rb") as file:
                return file.read()
        if self.path == "/other":
            # The digest's octet string is 32 bytes behind its head.
            place = query.index(b"\x04\x20") + 2
            query = query[:place] + bytes(32) + query[place + 32:]
        with open(asked, "wb") as file:
            file.write(query)
        openssl("ts", "-reply", "-config", f"{self.folder}/tsa.cnf", "-queryfile", asked, "-out", answered)
        with open(answered, "rb") as file:
            answer = file.read()
        if not os.path.exists(first):
            with open(first, "wb") as file:
                file.write(answer)
        return answer

    def log_message(self, *arguments: object) -> None:
        pass


def main(folder: str) -> None:
    make(folder)
    Authority.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Authority)
    server.daemon_threads = True
    print(json.dumps({"ready": True, "url": f"http://127.0.0.1:{server.server_port}"}, separators=(",", ":")), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""AWS KMS on loopback, of which everybody asks too much: every request is answered with ThrottlingException, in the form
of AWS's JSON 1.1 protocol.

    throttle.py PORT     says "ready" and serves
"""

import http.server
import json
import sys


class Throttling(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = {"__type": "ThrottlingException", "message": "You have exceeded the rate at which you may call KMS."}
        body = json.dumps(said).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Throttling)
    print("ready", flush=True)
    server.serve_forever()

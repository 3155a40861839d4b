"""HAProxy: before the replicas, whose readiness it asks for, and before two stores, of which it finds the primary."""

import socket
import subprocess
from pathlib import Path

from servers import free_port, wait_for
from stores import Process

COMMON = """
global
    nbthread 1
    maxconn 2000
    stats socket {socket} level admin
defaults
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 300ms
    # A server that refuses a connection is not tried again, each second: another is.
    option redispatch 1
    retries 2
"""

REPLICAS = COMMON + """
    mode http
frontend api
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host 127.0.0.1:{port}
    http-check expect status 200
    http-response set-header X-Served-By %s
    default-server check inter 200ms fall 2 rise 1
{servers}
"""

STORES = COMMON + """
    mode tcp
listen servers
    bind 127.0.0.1:{port}
    option tcp-check
    tcp-check send INFO\\ replication\\r\\n
    tcp-check expect string role:master
    default-server check inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class Balancer(Process):
    def __init__(self, program: str, folder: Path, name: str, template: str, ports: list[int], more: list[str]) -> None:
        self.port, self.socket = free_port(), folder / f"{name}.sock"
        self.names = [f"{name}-{number}" for number in range(len(ports))]
        lines = [f"    server {server} 127.0.0.1:{port} {extra}" for server, port, extra in zip(self.names, ports, more)]
        config = folder / f"{name}.cfg"
        text = template.format(socket=self.socket, port=self.port, servers="\n".join(lines))
        config.write_text(text, encoding="utf-8")
        with open(folder / f"{name}.log", "wb") as log:
            self.process = subprocess.Popen([program, "-db", "-f", str(config)], stdout=log, stderr=log)
        wait_for(f"the balancer: see {name}.log", self.is_there)

    def is_there(self) -> bool:
        assert self.process.poll() is None, "the balancer did not start"
        try:
            return bool(self.up())
        except OSError:
            return False

    def up(self) -> list[bool]:
        """Which of its servers it asks."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(self.socket))
            stream.sendall(b"show stat\n")
            text = stream.makefile().read()
        rows = [line.split(",") for line in text.splitlines()]
        status = rows[0].index("status")
        found = {row[1]: row[status] for row in rows[1:] if len(row) > status}
        return [found[name].startswith("UP") for name in self.names]

    def wait_up(self, *wanted: bool) -> None:
        wait_for(f"servers that are up: {wanted}", lambda: self.up() == list(wanted))


def before_replicas(program: str, folder: Path, ports: list[int]) -> Balancer:
    return Balancer(program, folder, "replica", REPLICAS, ports, [""] * len(ports))


def before_stores(program: str):
    return lambda folder, stores: Balancer(program, folder, "store", STORES, [s.port for s in stores], ["", "backup"])

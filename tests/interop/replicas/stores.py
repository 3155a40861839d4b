"""Stores that replicas share: a Redis or Valkey, and two of them with what lies between."""

import signal
import subprocess
import sys
from pathlib import Path

from resp import Redis
from servers import free_port, wait_for


class Process:
    """Something that runs until it is told to end."""

    process: subprocess.Popen

    def signal(self, what: signal.Signals) -> None:
        self.process.send_signal(what)
        if what == signal.SIGKILL:
            self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Store(Process):
    """A Redis or Valkey that keeps nothing on disk, unless it is told to."""

    def __init__(self, program: str, folder: Path, name: str) -> None:
        self.program, self.folder, self.port = program, folder / name, free_port()
        self.folder.mkdir()
        self.start()

    def start(self, *options, until=lambda answer: answer == "PONG") -> None:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        # A follower has its first copy at once.
        command += ["--repl-diskless-sync-delay", "0", *options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for("the store", lambda: until(self.said("PING")))

    def said(self, *command):
        """An answer, or the error as text."""
        try:
            return Redis(self.port)(*command)
        except (OSError, RuntimeError) as error:
            return str(error)

    def ask(self, *command):
        return Redis(self.port)(*command)

    def has(self, what: str) -> bool:
        """Whether it says so of its replication."""
        return what.encode() in self.ask("INFO", "replication")

    def born(self) -> bytes:
        redis = Redis(self.port)
        redis("SELECT", 1)
        return redis("HGET", "{signer}:birth", "born")

    def spent(self, tenant: str) -> int:
        redis = Redis(self.port)
        redis("SELECT", 1)
        return redis("ZCARD", f"{{signer}}:replay:{tenant}")


    def bucket(self, tenant: str) -> tuple[int, int]:
        """What a tenant's bucket lacks, in millionths of a token, and since when, in µs."""
        redis = Redis(self.port)
        redis("SELECT", 1)
        missing, at = redis("HMGET", f"{{signer}}:rate:{tenant}", "missing", "at")
        return int(missing), int(at)


class Wire(Process):
    def __init__(self, target: int) -> None:
        self.port = free_port()
        command = [sys.executable, str(Path(__file__).parent / "wire.py"), str(self.port), str(target)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "pass\n"

    def __call__(self, what: str) -> None:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == what + "\n"


class Pair:
    """Two stores, each a follower of the other at will, over wires; before them a balancer that finds the primary."""

    def __init__(self, program: str, balance, folder: Path) -> None:
        self.made = []
        try:
            self.stores = [self.add(Store(program, folder, name)) for name in "ab"]
            self.wires = [self.add(Wire(store.port)) for store in self.stores]
            self.follow(1, 0)
            self.balancer = self.add(balance(folder, self.stores))
            self.front = self.add(Wire(self.balancer.port))
        except BaseException:
            self.stop()
            raise

    def add(self, process: Process):
        self.made.append(process)
        return process

    @property
    def port(self) -> int:
        return self.front.port

    def follow(self, follower: int, primary: int) -> None:
        """Until it has all that the primary has."""
        self.wires[primary]("pass")
        store = self.stores[follower]
        store.ask("REPLICAOF", "127.0.0.1", self.wires[primary].port)
        wait_for("a copy", lambda: store.has("master_link_status:up"))

    def promote(self, number: int) -> None:
        assert self.stores[number].ask("REPLICAOF", "NO", "ONE") == "OK"

    def stop(self) -> None:
        for process in reversed(self.made):
            process.stop()

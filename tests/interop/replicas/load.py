"""Callers that do not stop, and what they were answered."""

import itertools
import os
import threading
import time
from typing import NamedTuple

from world import Caller

# No answer may come later than this, whatever dies: the deadline of requests (see world.py), and a second for a machine
# that is busy with all of this.
LATEST = 3.0


class Answer(NamedTuple):
    begun: float
    ended: float
    status: int
    code: str
    took: float
    server: str


class Load:
    """Threads that ask one port after the other until told to stop, each once in `every` seconds at most, if it can."""

    running: list["Load"] = []

    def __init__(self, caller: Caller, ports: list[int], threads: int, every: float, fresh: bool = False) -> None:
        self.caller, self.ports, self.every, self.fresh, self.ending = caller, ports, every, fresh, False
        self.answers, self.turn, self.begun = [], itertools.count(), time.monotonic()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()
        self.running.append(self)

    def run(self) -> None:
        due = time.monotonic()
        while not self.ending:
            port = self.ports[next(self.turn) % len(self.ports)]
            begun = time.monotonic()
            digest = f"sha256:{os.urandom(32).hex()}" if self.fresh else None
            status, code, headers, took = self.caller.sign(port, digest)
            self.answers.append(Answer(begun, time.monotonic(), status, code, took, headers.get("X-Served-By", "")))
            due = max(due + self.every, time.monotonic() - self.every)
            time.sleep(max(0.0, due - time.monotonic()))

    def since(self, begin: float, end: float = float("inf")) -> list[Answer]:
        """What was asked and answered within this time."""
        return [answer for answer in list(self.answers) if begin < answer.begun and answer.ended < end]

    def stop(self) -> list[Answer]:
        self.ending = True
        self.running.remove(self)
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a request hangs"
        return self.answers


def accepted(answers: list[Answer]) -> int:
    return sum(answer.code == "ok" for answer in answers)


def codes(answers: list[Answer]) -> dict[str, int]:
    every = [answer.code for answer in answers]
    return {code: every.count(code) for code in sorted(set(every))}


def slowest(answers: list[Answer]) -> float:
    took = max(answer.took for answer in answers)
    assert took < LATEST, f"a request took {took:.1f} s"
    return took

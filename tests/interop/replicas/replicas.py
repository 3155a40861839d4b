#!/usr/bin/env python3
"""Judges four replicas that share their state in a real Redis or Valkey.

    replicas.py SIGNER STORE_SERVER COSIGN_TESTDATA FOLDER SECONDS

Rates, concurrency and proofs as if there were one service, whatever dies; and when the store does, answers in time. One
line `ok WHAT: FIGURES` for each of the judgements; anything else is a failure. SECONDS is how long the rate is measured.
"""

import itertools
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from world import Caller, World, wait_for

QPS, LIMIT, LEASE = 20, 3, 2


def ok(what: str, figures: str) -> None:
    print(f"ok {what}: {figures}", flush=True)


class Load:
    """Threads that ask one replica after the other without a pause, until told to stop. Keeps every answer."""

    def __init__(self, caller: Caller, threads: int, fresh: bool = False, pause: float = 0) -> None:
        self.caller, self.fresh, self.pause, self.ending = caller, fresh, pause, False
        self.answers, self.sent, self.turn = [], {}, itertools.count()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        while not self.ending:
            ports = self.caller.world.ports
            port = ports[next(self.turn) % len(ports)]
            digest = os.urandom(32).hex() if self.fresh else None
            if digest:
                self.sent.setdefault(port, []).append(digest)
            begun = time.monotonic()
            status, code, headers, took = self.caller.sign(port, digest and f"sha256:{digest}")
            self.answers.append((begun, time.monotonic(), status, code, took))
            time.sleep(self.pause)

    def stop(self):
        self.ending = True
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a request hangs"
        return self.answers


def judge_rate(world: World, seconds: int) -> None:
    load = Load(Caller(world, "rate", qps=QPS, burst=QPS, concurrency=100), 40, pause=0.1)
    time.sleep(2)
    begun = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    answers = [answer for answer in load.stop() if begun <= answer[1] < end]
    codes = {answer[3] for answer in answers}
    assert codes <= {"ok", "rate_limited"}, codes
    accepted = sum(answer[3] == "ok" for answer in answers)
    rate, offered = accepted / (end - begun), len(answers) / (end - begun)
    assert offered > 3 * QPS, f"only {offered:.0f} requests a second were offered"
    # Within 2 %, and one request at each end of the window.
    assert abs(accepted - QPS * (end - begun)) <= 0.02 * QPS * (end - begun) + 1, f"{rate:.2f}/s"
    ok("rate", f"{rate:.2f}/s accepted of {offered:.0f}/s offered for {seconds} s, limit {QPS}/s")


def judge_proofs(world: World, rounds: int) -> None:
    caller = Caller(world, "proofs", qps=1000, burst=1000, concurrency=100)
    assert wait_for("a nonce", lambda: caller.sign(world.ports[0])[1] == "ok")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(rounds):
            proof, ports = caller.proof(), world.ports * 2
            answers = list(pool.map(lambda port: caller.once(port, proof, world.registry.digest)[1], ports))
            assert sorted(answers) == ["invalid_dpop_proof"] * (len(ports) - 1) + ["ok"], answers
    ok("proofs", f"{rounds} proofs, each sent {len(ports)} times at once to {len(world.ports)} replicas, each accepted once")


def judge_concurrency(world: World) -> None:
    registry = world.registry
    load = Load(Caller(world, "busy", qps=10_000, burst=10_000, concurrency=LIMIT), 12, fresh=True, pause=0.02)
    wait_for("work", lambda: registry.reset() == LIMIT)
    served = registry.served
    time.sleep(2)
    full = registry.served - served
    # One of those who work now dies, and with it its work; the others may not take its place before its lease ends.
    victim = world.replicas[-1]

    def works():
        with registry.lock:
            return any(digest in registry.open for digest in load.sent.get(victim.port, []))

    wait_for("work of one replica", works)
    victim.process.kill()
    victim.process.wait()
    registry.forget(load.sent[victim.port])
    time.sleep(LEASE + 1)
    served = registry.served
    time.sleep(2)
    again = registry.served - served
    codes = {answer[3] for answer in load.stop()}
    most = registry.reset()
    assert most == LIMIT, f"{most} in progress, {LIMIT} allowed"
    assert again > full / 2, f"{again} in 2 s after a replica died, {full} before"
    assert "concurrency_limited" in codes and "internal" not in codes, codes
    ok("concurrency", f"at most {most} in progress, limit {LIMIT}; {full} in 2 s, {again} after a replica was killed")


def judge_outage(world: World, what: str, down, up) -> None:
    """The store goes, and comes back."""
    caller = Caller(world, f"out-{what}", qps=QPS, burst=QPS, concurrency=100)
    busy = Load(Caller(world, f"busy-{what}", qps=10_000, burst=10_000, concurrency=LIMIT), 8, fresh=True, pause=0.02)
    wait_for("a signature", lambda: caller.sign(world.ports[0])[1] == "ok")
    used = caller.proof()
    assert wait_for("one use", lambda: caller.once(world.ports[0], used, world.registry.digest)[1]) == "ok"
    load = Load(caller, 8, pause=0.01)
    time.sleep(0.5)
    down()
    went = time.monotonic()
    time.sleep(0.6)
    status, code, headers, took = caller.sign(world.ports[0])
    assert (status, code) == (503, "state_unavailable") and int(headers["Retry-After"]) >= 1 and took < 1, (code, took)
    time.sleep(2)
    came = time.monotonic()
    up()
    wait_for("a signature again", lambda: any(a[3] == "ok" and a[0] > came for a in list(load.answers)), LEASE + 8)
    back = time.monotonic() - came
    time.sleep(2)
    end = time.monotonic()
    again = caller.once(world.ports[-1], used, world.registry.digest)[1]
    assert again in ("invalid_dpop_proof", "use_dpop_nonce"), f"a used proof is answered {again}"
    answers = load.stop() + busy.stop()
    slowest = max(answer[4] for answer in answers)
    codes = {answer[3] for answer in answers}
    assert codes <= {"ok", "rate_limited", "concurrency_limited", "release_untrusted", "state_unavailable"}, codes
    assert slowest < 2, f"a request took {slowest:.1f} s"
    between = [a for a in load.answers if went + 0.5 < a[0] and a[1] < came]
    assert between and all(a[3] == "state_unavailable" for a in between)
    accepted = sum(a[3] == "ok" and came < a[1] < end for a in load.answers)
    # A hung store remembers its bucket, which has filled up meanwhile; one that was lost begins with an empty one.
    most = QPS * (end - came) + (QPS if what == "hung" else 0) + 2
    assert accepted <= most, f"{accepted} accepted, {most:.0f} allowed"
    progress = world.registry.reset()
    assert progress <= LIMIT, f"{progress} in progress, {LIMIT} allowed"
    ok(f"store {what}", f"{len(between)} answers of 503 meanwhile, slowest of all {slowest:.2f} s, back after {back:.1f} s, "
       f"{accepted} accepted since of {most:.0f}, at most {progress} in progress")


def main(signer: str, store: str, data: str, folder: str, seconds: str) -> None:
    world = World(signer, store, data, folder, replicas=4, lease_ttl=LEASE)
    try:
        caller = Caller(world, "first", qps=100, burst=100, concurrency=10)
        for port in world.ports:
            wait_for("a signature", lambda: caller.sign(port)[1] == "ok")
        judge_proofs(world, 40)
        judge_rate(world, int(seconds))
        judge_concurrency(world)

        def restart():
            world.store.start()

        judge_outage(world, "lost", lambda: world.store.signal(signal.SIGKILL), restart)
        judge_outage(world, "hung", lambda: world.store.signal(signal.SIGSTOP), lambda: world.store.signal(signal.SIGCONT))
    except BaseException:
        for replica in world.replicas:
            sys.stderr.write(replica.log.read_text(encoding="utf-8")[-2000:])
        raise
    finally:
        world.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])

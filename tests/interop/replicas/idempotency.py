"""Idempotency keys at several replicas: one signature for each, whoever is asked and whoever dies."""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from servers import wait_for
from stores import Store, Wire
from world import Caller, Replica, World

# How long an attempt has its key to itself: the deadline of requests (see world.py), and 10 s.
CLAIM = 12
# A bucket that is empty at the store's birth and full hours later: until then every token counts.
PLENTY = {"qps": 50, "burst": 1_000_000, "concurrency": 100}
# What a replica's log says of an answer that leaves and is not kept, as the store failed.
UNKEPT = "an answer leaves that is not kept"


class Asked(NamedTuple):
    begun: float
    ended: float
    status: int
    code: str
    replayed: bool
    text: bytes


class Request:
    """One request under one key. Its subject, which nothing else has, names it in the trails."""

    def __init__(self, caller: Caller) -> None:
        self.caller, self.key, self.subject = caller, str(uuid.uuid4()), os.urandom(32).hex()

    def sent(self, port: int, subject: str = "") -> Asked:
        """With a proof of its own. Another subject makes another request of it."""
        begun, caller = time.monotonic(), self.caller
        for _ in range(2):
            more = {"subject": subject or self.subject, "Idempotency-Key": self.key}
            status, code, headers, _, text = caller.ask(port, caller.proof(), caller.world.registry.digest, **more)
            if code != "use_dpop_nonce":
                break
        return Asked(begun, time.monotonic(), status, code, headers.get("Idempotent-Replayed") == "true", text)


class Account:
    """A tenant whose tokens are counted to the last one."""

    def __init__(self, world: World, store: Store, tenant: str) -> None:
        self.caller, self.store, self.tenant = Caller(world, tenant, **PLENTY), store, tenant
        wait_for("a signature", lambda: self.caller.sign(world.ports[0])[1] == "ok")
        self.before = store.bucket(tenant)

    def charged(self) -> float:
        (missing, at), (now_missing, now) = self.before, self.store.bucket(self.tenant)
        assert now_missing > 0, "the bucket is full"
        return (now_missing - missing + (now - at) * PLENTY["qps"]) / 1_000_000


def signatures(world: World, tenant: str) -> dict[str, list[tuple[int, dict, dict | None]]]:
    """Of each subject: whose trail has the intent, the intent, and what became of it; the oldest first."""
    found = {}
    for replica in world.replicas:
        records = replica.records(tenant)
        ends = {record["auditId"]: record for record in records if record["event"] == "outcome"}
        for record in records:
            if record["event"] == "intent":
                end = ends.get(record["auditId"])
                found.setdefault(record["subjects"][0].removeprefix("sha256:"), []).append((replica.number, record, end))
    return {subject: sorted(made, key=lambda one: one[1]["time"]) for subject, made in found.items()}


def judge_idempotency(world: World, store: Store, rounds: int) -> str:
    first, second = world.replicas[-2:]
    wire = Wire(store.port)
    try:
        with ThreadPoolExecutor(2 * len(world.replicas)) as pool:
            killed = Account(world, store, "keyed-killed")
            waited = killed_at_work(world, killed.caller, first, None), killed_at_work(world, killed.caller, second, wire)
            ends = [pool.submit(judge_wait, *one, world) for one in waited]
            many = judge_rounds(world, store, rounds, pool)
            after = [end.result(30) for end in ends]
    finally:
        wire.stop()
    return f"{many}; {judge_attempts(world, killed, [request for request, *_ in waited])}, after {max(after):.1f} s"


def judge_rounds(world: World, store: Store, rounds: int, pool: ThreadPoolExecutor) -> str:
    """Each request twice to each replica at once, then once more to each."""
    account = Account(world, store, "keyed")
    requests, waiting, late = [], 0, set()
    while len(requests) - len(late) < rounds:
        request = Request(account.caller)
        requests.append(request)
        answers = list(pool.map(request.sent, world.ports * 2))
        again = [request.sent(port) for port in world.ports]
        said = [answer.code for answer in answers]
        assert {*said} <= {"ok", "idempotency_in_flight", "state_unavailable"}, said
        waiting += said.count("idempotency_in_flight")
        bytes_of = {answer.text for answer in answers + again if answer.code == "ok"}
        if "state_unavailable" in said + [answer.code for answer in again] or len(bytes_of) > 1:
            # The store's answer came too late, on a machine that is busy; or else the trails and logs do not say so. Instead
            # of this round there is another.
            late.add(request.subject)
            assert len(late) <= rounds / 2, f"503, or different answers, in {len(late)} of {len(requests)} rounds"
            time.sleep(0.1)
            continue
        fresh = [answer for answer in answers + again if answer.code == "ok" and not answer.replayed]
        assert len(fresh) == 1, f"{len(fresh)} are not marked as replayed"
        assert all(answer.replayed for answer in again), [answer.code for answer in again]
        other = request.sent(world.ports[0], subject=os.urandom(32).hex())
        assert (other.status, other.code) == (409, "idempotency_conflict"), other.code
    made, charged = signatures(world, account.tenant), account.charged()
    lost = [line for log in world.logs() for line in log.splitlines() if UNKEPT in line]
    for request in requests:
        attempts = made.get(request.subject, [])
        if request.subject in late:
            # An answer may leave without being kept; then the log says so, and the next signature names the one before.
            for (_, before, end), (_, intent, _) in zip(attempts, attempts[1:]):
                assert intent.get("retryOf"), attempts
                unkept = any(before["auditId"] in line for line in lost)
                assert unkept or not end or end["outcome"] != "signed", f"kept, and signed again: {attempts}"
        else:
            assert [end and end["outcome"] for *_, end in attempts] == ["signed"], attempts
            assert not attempts[0][1].get("retryOf"), attempts
    # What was charged and then too late is 503: of those rounds each of 12 tries may cost a token, or none does.
    assert rounds <= charged <= rounds + 12 * len(late), f"{charged} tokens"
    assert waiting > rounds, f"only {waiting} were told to wait"
    return (f"{rounds} requests 12 times, {charged:.0f} tokens, each signed once, {waiting} told to wait, {len(late)} more "
            "when the store was late")


def killed_at_work(world: World, caller: Caller, victim: Replica, wire: Wire | None) -> tuple[Request, float, float]:
    """A replica that dies while it has the key: before its intent, or, with a wire to its store, before its answer is kept.

    It is started again at once. Returns with the request when it was sent, and when the claim had been made.
    """
    port, registry, config = world.store_port, world.registry, victim.config.read_text(encoding="utf-8")
    victim.kill()
    if wire:
        victim.config.write_text(config.replace(f":{port}/1", f":{wire.port}/1"), encoding="utf-8")
    # It knows no image, and has to ask.
    victim.start()
    wait_for("the replica", victim.is_ready)
    request = Request(caller)
    registry.hold(victim.number)
    try:
        with ThreadPoolExecutor(1) as alone:
            begun = time.monotonic()
            answer = alone.submit(request.sent, victim.port)
            wait_for(lambda: f"work: {answer.result(0)}", lambda: victim.number in registry.waiting, 4)
            claimed = time.monotonic()
            if wire:
                wire("hold")
                registry.release(victim.number)
                wait_for("an outcome", lambda: signed(victim, request.subject))
            victim.kill()
            assert answer.result(5).status == 0, f"it was answered {answer.result().code}"
    finally:
        registry.release(victim.number)
    if wire:
        # What it said last is lost.
        wire("cut")
    victim.config.write_text(config, encoding="utf-8")
    victim.start()
    wait_for("the replica", victim.is_ready)
    return request, begun, claimed


def signed(victim: Replica, subject: str) -> bool:
    """Whether the outcome is behind the intent, on disk."""
    written = b"".join(file.read_bytes() for file in sorted((victim.audit / "journal").iterdir()))
    return b'"outcome"' in written.partition(subject.encode())[2]


def judge_wait(request: Request, begun: float, claimed: float, world: World) -> float:
    """Nobody signs before the attempt has ended; and then the next one does."""
    conflict = request.sent(world.ports[0], subject=os.urandom(32).hex())
    assert (conflict.status, conflict.code) == (409, "idempotency_conflict"), conflict.code
    asked = 0
    while True:
        # The one that died, too: it is another process now.
        answer = request.sent(world.ports[asked % len(world.ports)])
        asked += 1
        if answer.code not in ("idempotency_in_flight", "state_unavailable") or answer.begun > claimed + CLAIM + 2:
            break
        time.sleep(0.1)
    assert answer.code == "ok" and not answer.replayed, f"{answer.code} after {answer.ended - claimed:.1f} s"
    assert answer.ended > begun + CLAIM, f"signed {answer.ended - begun:.1f} s after a claim"
    assert asked > CLAIM, f"asked {asked} times only"
    again = [request.sent(port) for port in world.ports]
    assert all(other.replayed and other.text == answer.text for other in again), [other.code for other in again]
    return answer.ended - claimed


def judge_attempts(world: World, killed: Account, requests: list[Request]) -> str:
    """What the trails say of requests whose first attempt was killed: one before its intent, one after its outcome."""
    made = signatures(world, killed.tenant)
    unbegun, begun = [made[request.subject] for request in requests]
    # Who died before it began has signed nothing, and is not named.
    assert len(unbegun) == 1 and not unbegun[0][1].get("retryOf"), unbegun
    assert len(begun) == 2 and not begun[0][1].get("retryOf") and begun[1][1]["retryOf"] == begun[0][1]["auditId"], begun
    assert begun[0][0] == world.replicas[-1].number, begun
    assert all(end["outcome"] == "signed" for *_, end in unbegun + begun), (unbegun, begun)
    # Of each the first attempt and the second, however often others asked.
    charged = killed.charged()
    assert charged == 4, f"{charged} tokens"
    return "2 replicas killed with a claim, signed by others, as retryOf where the first had begun"

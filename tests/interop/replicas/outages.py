"""What callers see when the store goes, and comes back as it was, as another, or with less than it knew."""

import re
import time
from typing import Callable, NamedTuple

from load import Load, accepted, codes, slowest
from servers import wait_for
from world import Caller, World

# Of the plans here, and how long a replica's lease lives.
QPS, LIMIT, LEASE = 10, 3, 2
# What is answered when all goes well, and when the store does not answer.
WELL = {"ok", "rate_limited", "concurrency_limited", "release_untrusted"}
AWAY = {"state_unavailable", "balancer 503", "balancer gone"}


class Outage(NamedTuple):
    name: str
    down: Callable[[], object]
    up: Callable[[], object]
    # Before the last proofs are spent that must not pass again.
    prepare: Callable[[], object] = lambda: None
    # After all, what else is to be said, or found wrong. Is told the tenant whose proofs they were.
    check: Callable[[str], str] = lambda tenant: ""
    # What a replica's log says of it.
    reason: str = ""
    # Whether the store knows afterwards what it knew before.
    remembers: bool = False


class Watch:
    """Callers of every kind while something happens, and what must hold of all they were answered."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.begun = world, time.monotonic()
        world.registry.reset()
        self.spender = Caller(world, f"spent-{name}", qps=1000, burst=1000, concurrency=100)
        # Everybody's rate, straight to the replicas, which all say what they know.
        self.rate = Load(Caller(world, f"rate-{name}", qps=QPS, burst=QPS, concurrency=100), world.ports, 6, 0.06)
        busy = Caller(world, f"busy-{name}", qps=10_000, burst=10_000, concurrency=LIMIT)
        self.busy = Load(busy, world.ports, 8, 0.06, fresh=True)
        front = Caller(world, f"front-{name}", qps=10_000, burst=10_000, concurrency=100)
        self.front = Load(front, [world.balancer.port], 4, 0.06)
        self.logged = [len(log) for log in world.logs()]

    def spend(self) -> list[str]:
        """Proofs that were accepted, each with a nonce."""
        port, digest = self.world.ports[0], self.world.registry.digest
        wait_for("a nonce", lambda: self.spender.sign(port)[1] == "ok")
        proofs = []

        def enough() -> bool:
            proof = self.spender.proof()
            if self.spender.once(port, proof, digest)[1] == "ok":
                proofs.append(proof)
            return len(proofs) == 12

        wait_for("proofs", enough)
        return proofs

    def replay(self, proofs: list[str]) -> None:
        digest = self.world.registry.digest
        again = {self.spender.once(port, proof, digest)[1] for proof in proofs for port in self.world.ports}
        assert again <= {"invalid_dpop_proof", "use_dpop_nonce"}, f"used proofs are answered {again}"

    def signs(self, since: float, seconds: float) -> None:
        for load in (self.rate, self.front):
            answers = lambda: load.since(since)
            wait_for(lambda: f"a signature: {codes(answers())}", lambda: accepted(answers()) > 0, seconds)

    def logs(self) -> str:
        return "".join(log[seen:] for log, seen in zip(self.world.logs(), self.logged))

    def judged(self, came: float, remembers: bool) -> str:
        """Ends it. The store came back then."""
        answers = self.rate.stop() + self.busy.stop() + self.front.stop()
        assert codes(answers).keys() <= WELL | AWAY, codes(answers)
        took, most = slowest(answers), self.world.registry.reset()
        assert most <= LIMIT, f"{most} in progress, {LIMIT} allowed"
        # Of a bucket that was full at first, and of one that is empty at each birth: whatever was lost, not one more.
        passed, allowed = accepted(self.rate.answers), QPS + QPS * (time.monotonic() - self.rate.begun)
        assert passed <= allowed, f"{passed} accepted, {allowed:.0f} allowed"
        # A bucket that is remembered may have filled up meanwhile.
        since = accepted(self.rate.since(came))
        most_since = QPS * (time.monotonic() - came) + (QPS if remembers else 0) + 1
        assert since <= most_since, f"{since} accepted afterwards, {most_since:.0f} allowed"
        return (f"{passed} accepted of {allowed:.0f}, {since} of {most_since:.0f} afterwards, at most {most} in progress, "
                f"slowest {took:.2f} s")


def judge_outage(world: World, outage: Outage) -> str:
    watch = Watch(world, outage.name)
    watch.signs(watch.begun, 10)
    outage.prepare()
    used = watch.spend()
    outage.down()
    went = time.monotonic()
    # It is known to be down after two answers that did not come in time.
    time.sleep(1.5)
    for port in world.ports:
        status, code, headers, took = watch.spender.sign(port)
        assert (status, code) == (503, "state_unavailable") and int(headers["Retry-After"]) >= 1, code
        assert took < 2, f"503 after {took:.1f} s"
    world.balancer.wait_up(*[False] * len(world.ports))
    time.sleep(1)
    came = time.monotonic()
    between = watch.rate.since(went + 1.3, came)
    assert codes(between).keys() == {"state_unavailable"}, codes(between)
    meanwhile = codes(watch.front.since(went + 1.3, came))
    assert meanwhile.keys() <= AWAY, meanwhile
    outage.up()
    watch.signs(came, LEASE + 8)
    back = time.monotonic() - came
    world.balancer.wait_up(*[True] * len(world.ports))
    watch.replay(used)
    time.sleep(1)
    more = outage.check(f"spent-{outage.name}")
    assert re.search(outage.reason, watch.logs()), f"no replica's log says {outage.reason}"
    judged = watch.judged(came, outage.remembers)
    return f"{len(between)} answers of 503, back after {back:.1f} s, no proof again; {judged}{more}"


def judge_return(world: World, name: str, hang, replace, go_back, born) -> str:
    """A primary hangs, another takes its place, and then, as it was, it takes the other's."""
    watch = Watch(world, name)
    watch.signs(watch.begun, 10)
    used = watch.spend()
    before = born()
    hang()
    replace()
    watch.signs(time.monotonic(), LEASE + 8)
    time.sleep(1)
    used += watch.spend()
    go_back()
    went = time.monotonic()
    watch.signs(went, LEASE + 8)
    assert born() != before, "it still believes in its memory"
    back = time.monotonic() - went
    assert back > LEASE, f"back after {back:.1f} s: leases that it never knew may be held"
    watch.replay(used)
    return f"began anew, back after {back:.1f} s, no proof again; {watch.judged(went, False)}"

#!/usr/bin/env python3
"""Judges four replicas behind HAProxy that share their state in a real Redis or Valkey.

    replicas.py SIGNER HAPROXY STORE_SERVER COSIGN_TESTDATA FOLDER

Rates, concurrency and proofs as if there were one service, whatever dies; and when the store does, answers in time. One
line `ok WHAT: FIGURES` for each of the judgements; anything else is a failure.
"""

import json
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from balancer import before_stores
from idempotency import judge_idempotency
from load import Load, accepted, codes, slowest
from outages import LEASE, LIMIT, Outage, judge_outage, judge_return
from servers import wait_for
from stores import Pair, Store
from world import Caller, World

REPLICAS = 4
# Of the plan whose rate is measured: ten times as much must be offered, by a machine that is busy with all of this.
RATE = 10


failed = []


def judged(world: World, what: str, judge, *arguments) -> None:
    """Says how it ended. The next one has its turn in any case."""
    seen = [len(log) for log in world.logs()]
    try:
        print(f"ok {what}: {judge(world, *arguments)}", flush=True)
    except Exception:
        failed.append(what)
        print(f"FAILED {what}: {traceback.format_exc()}", flush=True)
        for load in list(Load.running):
            load.stop()
        for log, start in zip(world.logs(), seen):
            lines = [line for line in log[start:].splitlines() if '"msg":"request"' not in line]
            print("\n".join(lines[-8:]), flush=True)


def judge_proofs(world: World, rounds: int) -> str:
    caller = Caller(world, "proofs", qps=1000, burst=1000, concurrency=100)
    assert wait_for("a nonce", lambda: caller.sign(world.ports[0])[1] == "ok")
    ways = [("sent to each", world.ports * 2), ("sent to the balancer", [world.balancer.port] * 2 * REPLICAS)]
    with ThreadPoolExecutor(2 * REPLICAS) as pool:
        for way, ports in ways:
            reached, passed = set(), 0
            for _ in range(rounds):
                proof = caller.proof()
                answers = list(pool.map(lambda port: caller.ask(port, proof, world.registry.digest), ports))
                said = [answer[1] for answer in answers]
                # An answer that came too late from the store is 503, on a machine that is busy, whatever it was: then nobody
                # may have been served. But one that was refused at a later stage had its proof accepted, too.
                assert {*said} <= {"ok", "invalid_dpop_proof", "state_unavailable"}, (way, said)
                taken = sum(answer[1] == "ok" or later(answer) for answer in answers)
                assert taken <= 1, f"{way}: a proof was accepted {taken} times: {said}"
                assert taken == 1 or "state_unavailable" in said, (way, said)
                passed += said.count("ok")
                reached |= {answer[2].get("X-Served-By") for answer in answers}
            assert passed >= rounds - 2, f"{passed} of {rounds} accepted"
            assert way == "sent to each" or reached == set(world.balancer.names), reached
    return f"{rounds} proofs {' and as many '.join(way for way, _ in ways)}, 8 times at once, none accepted twice"


def later(answer) -> bool:
    """Whether a request was refused after its proof was accepted."""
    return answer[0] == 503 and json.loads(answer[4])["stage"] != "authentication"


def judge_rate(world: World, seconds: int) -> str:
    caller = Caller(world, "rate", qps=RATE, burst=RATE, concurrency=100)
    load = Load(caller, [world.balancer.port], 24, 24 / (12 * RATE))
    time.sleep(seconds + 3)
    every = load.stop()
    whole = time.monotonic() - load.begun
    # From one answer that no token is left to another, long after the burst: so a pause of this machine shifts nothing.
    empty = [answer.ended for answer in every if answer.code == "rate_limited" and answer.ended > load.begun + 2]
    begun, end = min(empty), max(empty)
    assert end - begun > seconds, f"measured for {end - begun:.1f} s only"
    answers = [answer for answer in every if begun < answer.ended <= end]
    said = codes(answers)
    # A machine that is busy may stop the store for longer than replicas wait. That hides nothing: only 200s are counted, and
    # what is refused instead, its token taken or not, makes them fewer; no fewer are allowed for it.
    late = said.pop("state_unavailable", 0) + said.pop("balancer 503", 0)
    assert said.keys() == {"ok", "rate_limited"} and late <= len(answers) / 50, codes(answers)
    passed, offered = accepted(answers), len(answers) / (end - begun)
    due = RATE * (end - begun)
    assert offered >= 10 * RATE, f"only {offered:.0f} requests a second were offered"
    assert abs(passed - due) <= 0.02 * due, f"{passed} accepted instead of {due:.1f}"
    assert accepted(every) <= RATE + RATE * whole, f"{accepted(every)} accepted in {whole:.1f} s"
    assert {answer.server for answer in answers if answer.code == "ok"} == set(world.balancer.names)
    return (f"{passed / (end - begun):.2f}/s accepted of {offered:.0f}/s offered for {end - begun:.1f} s, limit {RATE}/s; "
            f"{accepted(every)} in all of {RATE + RATE * whole:.0f}; slowest {slowest(every):.2f} s")


def judge_concurrency(world: World) -> str:
    registry, balancer, victim = world.registry, world.balancer, world.replicas[-1]
    name = balancer.names[victim.number]
    caller = Caller(world, "busy", qps=10_000, burst=10_000, concurrency=LIMIT)
    load = Load(caller, [balancer.port], 12, 0.04, fresh=True)
    wait_for("work", lambda: registry.reset() == LIMIT)
    served = registry.served
    time.sleep(2)
    full = registry.served - served
    # One of those who work now dies, and with it its work; the others may not take its place before its lease ends.
    wait_for("work of one replica", lambda: registry.asks(victim.number))
    alive = time.monotonic()
    victim.kill()
    died = time.monotonic()
    balancer.wait_up(*[True] * (REPLICAS - 1), False)
    taken_out = time.monotonic()
    time.sleep(max(0.0, died + LEASE + 1 - time.monotonic()))
    served = registry.served
    time.sleep(2)
    again = registry.served - served
    victim.start()
    wait_for("the replica", victim.is_ready)
    balancer.wait_up(*[True] * REPLICAS)
    wait_for("its answers", lambda: any(a.server == name for a in load.since(taken_out)))
    answers = load.stop()
    most = registry.reset()
    assert most == LIMIT, f"{most} in progress, {LIMIT} allowed"
    assert again > full / 2, f"{again} in 2 s after a replica died, {full} before"
    # HAProxy ends a connection without a word when a server does so that had answered on it before.
    broken = [answer for answer in answers if answer.code in ("balancer 502", "balancer gone")]
    # Its work breaks off; nobody else's does, and it gets no more. So only what was under way between its death and its
    # being noticed may be without an answer, and the registry counts that, too.
    assert all(answer.begun < taken_out for answer in broken), "the balancer asks a dead replica"
    assert all(answer.ended > alive for answer in broken), "an answer is missing before a replica died"
    said = codes([answer for answer in answers if answer not in broken])
    assert said.keys() == {"concurrency_limited", "release_untrusted"}, said
    return (f"at most {most} in progress, limit {LIMIT}; {full} in 2 s, {again} after a replica was killed; taken out after "
            f"{taken_out - died:.1f} s, {len(broken)} requests lost, slowest {slowest(answers):.2f} s")


def outages_of(store: Store) -> list[Outage]:
    """One store, which the replicas reach straight."""

    def slow_start() -> None:
        """With so much to load, and so slowly, that it is not done until it is told to hurry."""
        store.ask("EVAL", "for n = 1, 50000 do redis.call('SET', 'ballast:' .. n, n) end", 0)
        store.ask("CONFIG", "SET", "save", "")
        store.ask("SAVE")
        store.signal(signal.SIGKILL)
        slowly = ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]
        store.start(*slowly, until=lambda answer: answer.startswith("LOADING"))

    def demote() -> None:
        store.ask("REPLICAOF", "127.0.0.1", 1)

    return [
        Outage("lost", lambda: store.signal(signal.SIGKILL), store.start),
        Outage("hung", lambda: store.signal(signal.SIGSTOP), lambda: store.signal(signal.SIGCONT), remembers=True),
        Outage("demoted", demote, lambda: store.ask("REPLICAOF", "NO", "ONE"), reason="READONLY|it is a replica"),
        Outage("loading", slow_start, lambda: store.ask("CONFIG", "SET", "key-load-delay", 0), reason="it is loading"),
    ]


def outages_of_pair(pair: Pair) -> list[Outage]:
    """Two stores behind a balancer. Replication lags: what a primary wrote last is lost with it."""
    a, b = pair.stores
    lag = {}

    def failed_over(tenant: str) -> str:
        return f"; {lag['lost']} ids of proofs were lost"

    def lose_a() -> None:
        known = a.spent("spent-failover")
        a.signal(signal.SIGKILL)
        pair.wires[0]("cut")
        lag["lost"] = known - b.spent("spent-failover")
        assert lag["lost"] >= 12, f"{lag['lost']} ids were lost"

    def a_follows() -> None:
        a.start()
        pair.follow(0, 1)
        pair.wires[1]("hold")

    def and_back() -> None:
        """The other is promoted, and the first again, before anybody could ask: the same process, an older memory."""
        pair.front("cut")
        known = b.spent("spent-failback")
        pair.promote(0)
        pair.follow(1, 0)
        pair.promote(1)
        a.signal(signal.SIGKILL)
        lag["lost"] = known - b.spent("spent-failback")
        assert lag["lost"] >= 12, f"{lag['lost']} ids were lost"

    return [
        Outage("failover", lose_a, lambda: pair.promote(1), lambda: pair.wires[0]("hold"), failed_over),
        Outage("failback", and_back, lambda: pair.front("pass"), a_follows, failed_over),
        Outage("cut-off", lambda: pair.front("cut"), lambda: pair.front("pass"), remembers=True),
        Outage("partition", lambda: pair.front("hold"), lambda: pair.front("pass"), remembers=True),
        Outage("late", lambda: pair.front("deaf"), lambda: pair.front("pass"), remembers=True),
    ]


def judge_stale(world: World, pair: Pair) -> str:
    """B hangs, A is promoted, B continues and takes A for dead."""
    a, b = pair.stores

    def hang() -> None:
        a.start()
        pair.follow(0, 1)
        b.signal(signal.SIGSTOP)

    def go_back() -> None:
        b.signal(signal.SIGCONT)
        pair.balancer.wait_up(True, True)
        a.signal(signal.SIGKILL)

    return judge_return(world, "stale", hang, lambda: pair.promote(0), go_back, b.born)


def in_world(signer: str, haproxy: str, data: str, folder: Path, port: int, judge) -> None:
    world = World(signer, haproxy, data, folder, port, REPLICAS, LEASE)
    try:
        caller = Caller(world, "first", qps=100, burst=100, concurrency=10)
        for port in world.ports:
            wait_for("a signature", lambda: caller.sign(port)[1] == "ok")
        judge(world)
    finally:
        world.stop()


def main(signer: str, haproxy: str, program: str, data: str, folder: str) -> None:
    single, double = Path(folder) / "single", Path(folder) / "double"
    single.mkdir()
    double.mkdir()
    store = Store(program, single, "store")

    def one_store(world: World) -> None:
        judged(world, "proofs", judge_proofs, 25)
        judged(world, "rate", judge_rate, 30)
        judged(world, "concurrency", judge_concurrency)
        judged(world, "idempotency", judge_idempotency, store, 25)
        for outage in outages_of(store):
            judged(world, f"store {outage.name}", judge_outage, outage)

    try:
        in_world(signer, haproxy, data, single, store.port, one_store)
    finally:
        store.stop()
    pair = Pair(program, before_stores(haproxy), double)

    def two_stores(world: World) -> None:
        for outage in outages_of_pair(pair):
            judged(world, f"stores {outage.name}", judge_outage, outage)
        judged(world, "stores stale", judge_stale, pair)

    try:
        in_world(signer, haproxy, data, double, pair.port, two_stores)
    finally:
        pair.stop()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

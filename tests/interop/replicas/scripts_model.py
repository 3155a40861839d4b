#!/usr/bin/env python3
"""Judges the scripts that decide about shared state: on a real server, against their definition.

    scripts_model.py PORT FOLDER_OF_SCRIPTS

Thousands of random calls; each answer must be what a model says that shares nothing with the scripts: whole numbers of
any size, no indexes, no expiry of keys. The model takes the time from the answer, as the server's clock decides.
"""

import random
import sys
import time
from pathlib import Path

from resp import Redis

MS, TOKEN = 1000, 1_000_000
LIFE = 300  # of leases, in ms


class Bucket:
    """What is missing from a full bucket, in millionths of a token."""

    def __init__(self) -> None:
        self.known = None

    def level(self, now, born, qps, burst):
        missing, at, was = self.known or (burst * TOKEN, born, qps)
        if at < born:
            missing, at, was = burst * TOKEN, born, qps
        return max(0, missing - max(0, now - at) * was)

    def take(self, now, born, qps, burst):
        missing = self.level(now, born, qps, burst)
        taken = missing + TOKEN <= burst * TOKEN
        missing = missing + TOKEN if taken else min(missing, burst * TOKEN)
        self.known = (missing, now, qps)
        return int(taken), missing


class Model:
    def __init__(self) -> None:
        self.born, self.buckets, self.leases, self.spent = None, {}, {}, {}

    def birth(self, born, now):
        """The server may say that its memory begins anew only when it does."""
        if self.born is None:
            assert born == now, f"born at {born}, asked at {now}"
            self.born = born
        assert born == self.born, f"born at {born} instead of {self.born}"

    def bucket(self, key):
        return self.buckets.setdefault(key, Bucket())

    def in_use(self, key, now):
        return sum(now // MS < until for until in self.leases.get(key, {}).values())


def lots(value):
    return random.choice([value, random.randrange(1, 2**32), 2**32 - 1]) if random.random() < 0.05 else value


def main(port: int, folder: Path) -> None:
    redis = Redis(port)
    seed = random.randrange(2**32)
    random.seed(seed)
    text = {p.stem: p.read_text(encoding="utf-8") for p in folder.glob("*.lua")}
    script = {
        "spend": text["birth"] + text["spend"],
        "admit": text["birth"] + text["rate"] + text["admit"],
        "charge": text["birth"] + text["rate"] + text["charge"],
        "renew": text["birth"] + text["renew"],
    }
    redis("FLUSHALL")
    model, counts, calls = Model(), {}, 0

    def run(name, keys, *arguments):
        return redis("EVAL", script[name], len(keys), *keys, *arguments)

    def spend():
        key, ident = f"replay:{random.randrange(2)}", f"id{random.randrange(12)}"
        asked = time.time_ns() // 1_000_000 + random.choice([0, 0, 0, 29_000, -29_000, 31_000, -31_000])
        issued = asked - random.randrange(-200, 400)
        keep, ahead, most = random.choice([0, 100]), random.choice([0, 150]), random.randrange(1, 8)
        nonce = random.choice(["", model.born or "", 7])
        word, now, born = run("spend", ["birth", key], ident, issued, asked, keep, ahead, nonce, most, 30_000)
        model.birth(born, now)
        ms, spent = now // MS, model.spent.setdefault(key, {})
        live = {i: until for i, until in spent.items() if until >= ms}
        if abs(ms - asked) > 30_000:
            expected = "clock"
        elif ident in live:
            expected = "spent"
        elif nonce != born and issued < -(-born // MS) + ahead:
            expected = "older"
        elif len(live) >= most:
            expected = "full"
        else:
            expected = "ok"
            spent[ident] = max(issued + keep, ms) + 1000
        return word.decode(), expected

    def admit():
        key = str(random.randrange(3))
        qps, burst, most = lots(random.randrange(0, 60)), lots(random.randrange(0, 12)), random.randrange(0, 4)
        act, ident = random.choice(["hold", "hold", "charge", "look"]), f"l{random.randrange(10**9)}"
        keys = ["birth", f"rate:{key}", f"leases:{key}"]
        word, now, born, *rest = run("admit", keys, qps, burst, most, LIFE, act, ident)
        model.birth(born, now)
        if now < born + LIFE * MS:
            return (word.decode(), rest), ("settling", [-(-(born + LIFE * MS - now) // MS)])
        bucket, used = model.bucket(f"rate:{key}"), model.in_use(key, now)
        if act == "look":
            taken, missing = 0, bucket.level(now, born, qps, burst)
        else:
            taken, missing = bucket.take(now, born, qps, burst)
        held = int(act == "hold" and taken and used < most)
        if held:
            model.leases.setdefault(key, {})[ident] = now // MS + LIFE
        return (word.decode(), rest), ("ok", [taken, missing, used, held])

    def charge():
        key, qps, burst = f"verify:{random.randrange(2)}", random.randrange(0, 60), random.randrange(0, 12)
        word, now, born, *rest = run("charge", ["birth", key], qps, burst)
        model.birth(born, now)
        return (word.decode(), rest), ("ok", list(model.bucket(key).take(now, born, qps, burst)))

    def renew():
        key = str(random.randrange(3))
        leases = model.leases.setdefault(key, {})
        idents = random.sample(sorted(leases), min(len(leases), 3)) + ["new"] * (random.random() < 0.1)
        word, now, born, *rest = run("renew", ["birth", f"leases:{key}"], LIFE, *idents)
        model.birth(born, now)
        ms = now // MS
        lost = sum(leases.get(ident, 0) <= ms for ident in idents)
        leases.update({ident: ms + LIFE for ident in idents})
        return (word.decode(), rest), ("ok", [lost])

    def release():
        key = str(random.randrange(3))
        leases = model.leases.setdefault(key, {})
        for ident in random.sample(sorted(leases), min(len(leases), 2)):
            redis("ZREM", f"leases:{key}", ident)
            del leases[ident]
        return 0, 0

    def lose():
        nonlocal model
        if random.random() < 0.01:
            redis(random.choice(["FLUSHALL", "FLUSHDB"]))
            model = Model()
        elif random.random() < 0.01:
            # A memory of another process, and a clock that went back.
            redis("HSET", "birth", *random.choice([("run", "0" * 40), ("last", 2 * time.time_ns() // 1000)]))
            model.born = None
        return 0, 0

    end = time.monotonic() + 8
    while time.monotonic() < end:
        act = random.choice([spend, spend, admit, admit, admit, admit, charge, renew, release, lose])
        said, expected = act()
        assert said == expected, f"seed {seed}, call {calls}, {act.__name__}: said {said}, expected {expected}"
        word = said if isinstance(said, str) else said[0] if said else ""
        counts[f"{act.__name__} {word}"] = counts.get(f"{act.__name__} {word}", 0) + 1
        calls += 1
        if random.random() < 0.02:
            time.sleep(random.random() / 20)
    for needed in ["spend ok", "spend spent", "spend older", "spend full", "spend clock", "admit ok", "admit settling",
                   "charge ok", "renew ok"]:
        assert counts.get(needed, 0) > 20, f"{needed} hardly happened: {counts}"
    # With ids that have expired by the thousand: forgotten in bounded parts, and counted by nobody.
    now = time.time_ns() // 1_000_000
    redis("ZADD", "replay:many", *[x for n in range(5000) for x in (now - 1, f"past{n}")])
    word, _, born = run("spend", ["birth", "replay:many"], "a", now, now, 0, 0, model.born or "", 1, 30_000)
    assert (word, redis("ZCARD", "replay:many")) in [(b"ok", 4001), (b"older", 4000)], word
    print(f"EQUAL: {calls} calls, {counts}")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

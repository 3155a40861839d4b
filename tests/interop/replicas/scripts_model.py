#!/usr/bin/env python3
"""Judges the scripts that decide about shared state: on a real server, against their definition.

    scripts_model.py PORT FOLDER_OF_SCRIPTS [--weakened]

Thousands of random calls; each answer must be what a model says that shares nothing with the scripts: whole numbers of
any size, no indexes, no expiry of keys. The model takes the time from the answer, as the server's clock decides.

--weakened: takes away one thing that the scripts see to after the other; the model must notice each.
"""

import random
import sys
import time
from pathlib import Path

import keys_model
from resp import Redis

MS, TOKEN = 1000, 1_000_000
LIFE = 100  # of leases, in ms


# Script, what occurs in it once, and what takes its place.
WEAKENINGS = {
    "process": ("birth", "local memory = run .. ' ' .. history", "local memory = ('0'):rep(40) .. ' ' .. history"),
    "history": ("birth", "local memory = run .. ' ' .. history", "local memory = run"),
    "clock back": ("birth", " or now + 2000000 < last", ""),
    "memory left": ("meet", "if left == whole(born)", "if false"),
    "bucket of another birth": ("rate", " or kept[4] ~= whole(born)", ""),
    "bucket full after a birth": ("rate", "missing, at, was = size, born, qps", "missing, at, was = 0, born, qps"),
    "refill": ("rate", "math.max(0, now - at) * was", "math.max(0, now - at) * qps"),
    "leases after a birth": ("admit", "if now < settled", "if false"),
    "concurrency": ("admit", "in_use < concurrency", "in_use <= concurrency"),
    "lease lost": ("renew", "lost = lost + 1", "lost = lost"),
    "spent": ("spend", "if known and", "if false and"),
    "older than the birth": ("spend", "if nonce ~= whole(born) and", "if false and"),
    "any nonce": ("spend", "if nonce ~= whole(born) and", "if nonce == '' and"),
    "kept too short": ("spend", "math.max(issued + keep, ms)", "math.max(issued, ms)"),
    "clocks": ("spend", "if math.abs(ms - asker) > tolerance", "if false"),
    "full": ("spend", ">= most then", "> most then"),
    **keys_model.WEAKENINGS,
}


class Bucket:
    """What is missing from a full bucket, in millionths of a token."""

    def __init__(self) -> None:
        self.known = None

    def level(self, now, born, qps, burst):
        missing, at, was, of = self.known or (None, None, None, None)
        if of != born:
            missing, at, was = burst * TOKEN, born, qps
        return max(0, missing - max(0, now - at) * was)

    def take(self, now, born, qps, burst):
        missing = self.level(now, born, qps, burst)
        taken = missing + TOKEN <= burst * TOKEN
        missing = missing + TOKEN if taken else min(missing, burst * TOKEN)
        self.known = (missing, now, qps, born)
        return int(taken), missing


class Model:
    def __init__(self) -> None:
        self.born, self.buckets, self.leases, self.spent = None, {}, {}, {}
        self.keys = keys_model.Keys()

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


def judge(redis: Redis, text: dict, seconds: float) -> dict:
    """Calls of each kind, and what was answered; an AssertionError says where scripts and model differ."""
    seed = random.randrange(2**32)
    random.seed(seed)
    script = {
        "meet": text["birth"] + text["meet"],
        "spend": text["birth"] + text["spend"],
        "admit": text["birth"] + text["rate"] + text["admit"],
        "charge": text["birth"] + text["rate"] + text["charge"],
        "renew": text["birth"] + text["renew"],
        **{name: text["birth"] + text["keys"] + text[name] for name in ("claim", "begin", "keep", "give_up")},
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
        idents = random.sample(sorted(leases), min(len(leases), 3))
        if random.random() < 0.1 and "new" not in idents:
            idents.append("new")
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

    def meet():
        left = [model.born] if model.born and random.random() < 0.01 else []
        left += [random.randrange(10**16)] * random.randrange(2)
        if model.born in left:
            model.born = None
        word, now, born = run("meet", ["birth"], *left)
        model.birth(born, now)
        return word.decode(), "ok"

    def lose():
        nonlocal model
        if random.random() < 0.005:
            redis(random.choice(["FLUSHALL", "FLUSHDB"]))
            model = Model()
        elif random.random() < 0.03:
            lost = random.choice(["process", "history", "clock", "clock of a bucket"])
            if lost == "process":
                history = redis("HGET", "birth", "run")
                redis("HSET", "birth", "run", b"0" * 40 + (history or b"")[40:])
            elif lost == "history":
                # A replica of nobody, and then the primary again.
                redis("REPLICAOF", "127.0.0.1", 1)
                redis("REPLICAOF", "NO", "ONE")
            elif lost == "clock":
                redis("HSET", "birth", "last", 2 * time.time_ns() // 1000)
            else:
                # What another server wrote, whose clock is ahead.
                for key in filter(lambda key: redis("EXISTS", key), model.buckets):
                    redis("HSET", key, "at", time.time_ns() // 1000 + 5_000_000, "missing", 0)
                redis("HDEL", "birth", "run")
            model.born = None
        return 0, 0

    keys = keys_model.KeyCalls(redis, run, lambda: model)
    acts = [spend, spend, admit, admit, admit, admit, charge, renew, release, meet, lose]
    acts += [keys.claim, keys.claim, keys.claim, keys.begin, keys.begin, keys.keep, keys.give_up, keys.give_up, keys.set_back]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        act = random.choice(acts)
        said, expected = act()
        assert said == expected, f"seed {seed}, call {calls}, {act.__name__}: said {said}, expected {expected}"
        word = said if isinstance(said, str) else said[0] if said else ""
        counts[f"{act.__name__} {word}"] = counts.get(f"{act.__name__} {word}", 0) + 1
        calls += 1
        if random.random() < 0.02:
            time.sleep(random.random() / 20)
    # With ids that have expired by the thousand: forgotten in bounded parts, and counted by nobody.
    now = time.time_ns() // 1_000_000
    redis("ZADD", "replay:many", *[x for n in range(5000) for x in (now - 1, f"past{n}")])
    word, _, born = run("spend", ["birth", "replay:many"], "a", now, now, 0, 0, model.born or "", 1, 30_000)
    assert (word, redis("ZCARD", "replay:many")) in [(b"ok", 4001), (b"older", 4000)], word
    keys.many()
    return counts


def main(port: int, folder: Path, *options: str) -> None:
    redis = Redis(port)
    text = {p.stem: p.read_text(encoding="utf-8") for p in folder.glob("*.lua")}
    if not options:
        counts = judge(redis, text, 8)
        for needed in ["spend ok", "spend spent", "spend older", "spend full", "spend clock", "admit ok",
                       "admit settling", "charge ok", "renew ok", "meet ok", "claim ok", "claim again", "claim kept",
                       "claim busy", "claim other", "claim full", "begin ok", "begin taken", "keep ok", "keep taken", "give_up ok"]:
            assert counts.get(needed, 0) > 20, f"{needed} hardly happened: {counts}"
        print(f"EQUAL: {sum(counts.values())} calls, {counts}")
        return
    assert options == ("--weakened",), options
    for name, (file, old, new) in WEAKENINGS.items():
        assert text[file].count(old) == 1, f"{name}: {old!r} does not occur once in {file}"
        try:
            judge(redis, {**text, file: text[file].replace(old, new)}, 30)
        except AssertionError as found:
            print(f"{name}: {found}")
        else:
            raise SystemExit(f"nobody noticed that this is weakened: {name}")
    print(f"ALL NOTICED: {len(WEAKENINGS)} weakenings")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

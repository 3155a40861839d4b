"""Idempotency keys that replicas share: what claims, answers and ends of attempts must do, by the plain definition.

Shares nothing with the scripts: no indexes, no bounded parts, and it forgets by looking at the time alone.
"""

import random
import time

# Of one that expires, in ms: the server forgets keys by another reading of its clock than the one that it tells.
UNCERTAIN = 3

# Script, what occurs in it once, and what takes its place.
WEAKENINGS = {
    "claimed twice": ("claim", "if ms < till then", "if false then"),
    "claim without an end": ("claim", "if ms < till then", "if true then"),
    "busy for as long as the clock went back": ("claim", "if till > longest then", "if false then"),
    "free when the clock goes back": ("claim", "till = longest", "till = 0"),
    "one life at each look": ("claim", "redis.call('HSET', KEYS[2], 'till', whole(till))", ""),
    "the life of who looks": ("claim", "ms + (tonumber(known[7]) or 0)", "ms + life"),
    "who never began is named": ("claim", "if not (known[5] or known[4]) then before = known[6] end", ""),
    "the void answer is not named": ("claim", "if not (known[5] or known[4])", "if not known[5]"),
    "has begun for ever": ("claim", "'answer', 'begun', 'earlier')", "'answer', 'earlier')"),
    "taken over, and not said": ("claim", "redis.call('HSET', KEYS[2], 'earlier', before)", ""),
    "life of who took over": ("claim", "'attempt', attempt, 'life', whole(life), 'till', whole(ms + life))\n    live(ttl)\n    if", "'attempt', attempt)\n    live(ttl)\n    if"),
    "any answer is void": ("claim", "known[4] and known[2] ~= void", "known[4] and void == ''"),
    "void answers stay": ("claim", "'answer', 'begun', 'earlier')", "'begun', 'earlier')"),
    "begins for another": ("begin", "known[1] and (known[1] ~= attempt or known[2])", "known[1] and known[2]"),
    "begins anew after the answer": ("begin", "(known[1] ~= attempt or known[2])", "known[1] ~= attempt"),
    "begins in a store that forgot, unknown": ("begin", "if not known[1] then", "if false then"),
    "never begins": ("begin", "redis.call('HSET', KEYS[2], 'begun', '1')", ""),
    "unknown without having begun": ("give_up", "ARGV[3] == 'unknown' and known[4]", "ARGV[3] == 'unknown'"),
    "who was before never began": ("give_up", "'till', '0', 'begun', '1'", "'till', '0'"),
    "another request": ("claim", "if known[1] ~= request", "if false"),
    "request busy first": ("claim", "if known[1] ~= request", "if known[4] and known[1] ~= request"),
    "signed anew": ("claim", "if known[4] and known[2] ~= void then", "if false then"),
    "room": ("claim", ">= most -", "> most -"),
    "room for others": ("claim", "own >= most - all", "all >= most"),
    "expired keys of all take up room": ("claim", "redis.call('ZCOUNT', KEYS[3], whole(ms), '+inf')", "redis.call('ZCARD', KEYS[3])"),
    "expired keys of a tenant take up room": ("claim", "redis.call('ZCOUNT', KEYS[4], whole(ms), '+inf')", "redis.call('ZCARD', KEYS[4])"),
    "what has expired is kept": ("claim", "if past > 0 then", "if false then"),
    "keeps for another": ("keep", "if owner and owner ~= attempt", "if false"),
    "keeps for the last owner only": ("keep", "if owner and owner", "if owner"),
    "nothing kept for another's claim": ("keep", "'attempt', attempt, 'answer', answer", "'answer', answer"),
    "another gives up": ("give_up", "known[1] == attempt and", "known[1] and"),
    "answers are given up": ("give_up", " and not known[3]", ""),
    "unknown is nothing": ("give_up", "if ARGV[3] == 'unknown' and known[4]", "if false"),
    "nothing is unknown": ("give_up", "if ARGV[3] == 'unknown' and known[4]", "if known[4]"),
    "the one before is forgotten": ("give_up", "elseif known[2] then", "elseif false then"),
    "room of one": ("give_up", "redis.call('ZREM', KEYS[3], id)", ""),
    "room of a tenant": ("give_up", "redis.call('ZREM', KEYS[4], id)", ""),
    "answers for ever": ("keys", "redis.call('PEXPIRE', KEYS[2], whole(ttl))", ""),
    "answers too short": ("keys", "redis.call('PEXPIRE', KEYS[2], whole(ttl))", "redis.call('PEXPIRE', KEYS[2], '20')"),
    "room by the newest": ("keys", "live_for(KEYS[index], ttl + 1000)", "redis.call('PEXPIRE', KEYS[index], whole(ttl))"),
}


class Keys:
    def __init__(self) -> None:
        # Of each key: request, attempt, whether it has begun, the one before it, how long it may take, when it has ended,
        # the answer, when it expires.
        self.known = {}
        # Of each key, given up or not: its tenant, and until when it takes up room.
        self.room = {}

    def find(self, id: str, ms: int, is_there: bool):
        """What is known of a key. Whether it is still there at the moment it expires, only the server knows."""
        key = self.known.get(id)
        if key is None or ms > key["expires"] + UNCERTAIN:
            return None
        return key if is_there or ms < key["expires"] - UNCERTAIN else None

    def keep_until(self, id: str, tenant: str, until: int) -> None:
        self.known[id]["expires"] = until
        self.room[id] = (tenant, until)

    def taken(self, ms: int) -> list[str]:
        """The tenant of each key that takes up room."""
        return [tenant for tenant, until in self.room.values() if until >= ms]


def fresh(request: str, attempt: str, ms: int, life: int, before: str | None = None) -> dict:
    """An attempt that has just been taken on."""
    return {"request": request, "attempt": attempt, "begun": False, "before": before, "life": life, "ends": ms + life,
            "answer": None}


class KeyCalls:
    """Random calls; each gives what was said and what the model says. `model` tells of the model at the time."""

    def __init__(self, redis, run, model) -> None:
        self.redis, self.run, self.model = redis, run, model

    def any(self):
        tenant = str(random.randrange(2))
        id, attempt = f"{tenant}-{random.randrange(5)}", f"a{random.randrange(4)}"
        return tenant, id, attempt, ["birth", f"idem:{id}", "idem-all", f"idem-of:{tenant}"]

    def ask(self, script: str, keys: list[str], *arguments):
        word, now, born, *rest = self.run(script, keys, *arguments)
        self.model().birth(born, now)
        return word.decode(), now // 1000, [text and text.decode() for text in rest]

    def claim(self):
        tenant, id, attempt, names = self.any()
        request, life = f"r{random.random() < 0.1:d}", random.randrange(80)
        ttl, most = random.choice([60, 300]), random.randrange(16)
        void = random.choice(["", "a0", "a1"])
        word, ms, rest = self.ask("claim", names, id, attempt, request, life, ttl, most, void)
        keys = self.model().keys
        # An attempt that never began leaves a key that is taken as if it were new.
        there = keys.known.get(id)
        never = there and not there["begun"] and not there["before"] and there["answer"] is None
        over = never and there["request"] == request and ms >= min(there["ends"], ms + there["life"])
        key = keys.find(id, ms, word not in ("ok", "full") or (word == "ok" and bool(over)))
        if key is None:
            taken = keys.taken(ms)
            if taken.count(tenant) >= most - len(taken):
                return (word, rest), ("full", [])
            keys.known[id] = fresh(request, attempt, ms, life)
            keys.keep_until(id, tenant, ms + ttl)
            return (word, rest), ("ok", [])
        if key["request"] != request:
            return (word, rest), ("other", [])
        if key["answer"] is not None:
            if key["attempt"] != void:
                return (word, rest), ("kept", [key["attempt"], key["answer"]])
        else:
            # After the clock went back: one life from the first look.
            key["ends"] = min(key["ends"], ms + key["life"])
            if ms < key["ends"]:
                return (word, rest), ("busy", [])
        before = key["attempt"] if key["begun"] or key["answer"] is not None else key["before"]
        keys.known[id] = fresh(request, attempt, ms, life, before)
        keys.keep_until(id, tenant, ms + ttl)
        return (word, rest), ("again", [before]) if before else ("ok", [])

    def begin(self):
        tenant, id, attempt, names = self.any()
        keys = self.model().keys
        request, life, ttl = keys.known.get(id, {}).get("request", "r0"), random.randrange(80), random.choice([60, 300])
        self.certain(id)
        word, ms, rest = self.ask("begin", names, id, attempt, request, life, ttl)
        key = keys.find(id, ms, True)
        if key and (key["attempt"] != attempt or key["answer"] is not None):
            return (word, rest), ("taken", [])
        if not key:
            keys.known[id] = fresh(request, attempt, ms, life)
        keys.known[id]["begun"] = True
        keys.keep_until(id, tenant, ms + ttl)
        return (word, rest), ("ok", [])

    def set_back(self):
        """As if the server's clock were put back: what it wrote lies ahead."""
        tenant, id, *_ = self.any()
        keys = self.model().keys
        if random.random() < 0.1 and keys.known.get(id, {}).get("ends"):
            self.certain(id)
            if self.redis("HEXISTS", f"idem:{id}", "till"):
                ahead = time.time_ns() // 1_000_000 + 5_000
                self.redis("HSET", f"idem:{id}", "till", ahead)
                keys.known[id]["ends"] = ahead
        return 0, 0

    def certain(self, id: str) -> None:
        """The answer does not say whether the key was there: so not at the moment it expires."""
        while abs(time.time_ns() // 1_000_000 - self.model().keys.known.get(id, {}).get("expires", 0)) < 5 * UNCERTAIN:
            time.sleep(UNCERTAIN / 1000)

    def keep(self):
        tenant, id, attempt, names = self.any()
        answer, ttl = f"answer {random.randrange(10**6)}", random.choice([60, 300])
        keys = self.model().keys
        request = keys.known.get(id, {}).get("request", "r0")
        word, ms, rest = self.ask("keep", names, id, attempt, request, answer, ttl)
        key = keys.find(id, ms, word == "taken")
        if key and key["attempt"] != attempt:
            return (word, rest), ("taken", [])
        keys.known[id] = {**fresh(request, attempt, ms, 0), "ends": 0, "answer": answer}
        keys.keep_until(id, tenant, ms + ttl)
        return (word, rest), ("ok", [])

    def give_up(self):
        _, id, attempt, names = self.any()
        end = random.choice(["nothing", "unknown"])
        keys = self.model().keys
        self.certain(id)
        word, ms, rest = self.ask("give_up", names, id, attempt, end)
        key = keys.find(id, ms, True)
        if key and key["attempt"] == attempt and key["answer"] is None:
            if end == "unknown" and key["begun"]:
                key["ends"] = 0
            elif key["before"]:
                key.update(attempt=key["before"], before=None, begun=True, ends=0)
            else:
                del keys.known[id], keys.room[id]
        return (word, rest), ("ok", [])

    def many(self) -> None:
        """Thousands that have expired: forgotten in bounded parts, and they take up no room meanwhile."""
        past = time.time_ns() // 1_000_000 - 1
        for index in ("idem-all", "idem-of:new"):
            self.redis("ZADD", index, *[x for n in range(5000) for x in (past, f"past{n}")])
        for n in range(4):
            names = ["birth", f"idem:new{n}", "idem-all", "idem-of:new"]
            said = self.ask("claim", names, f"new{n}", "a", "r", 10_000, 20_000, 100, "")[0]
            assert said == "ok", said
        left = [self.redis("ZCOUNT", index, 0, past) for index in ("idem-all", "idem-of:new")]
        assert max(left) < 1500, f"{left} are left"

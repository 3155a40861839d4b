"""Idempotency keys that replicas share: what claims, answers and ends of attempts must do, by the plain definition.

Shares nothing with the scripts: no indexes, no bounded parts, and it forgets by looking at the time alone.
"""

import random
import time

# Of one that expires, in ms: the server forgets keys by another reading of its clock than the one that it tells.
UNCERTAIN = 3

# Script, what occurs in it once, and what takes its place.
WEAKENINGS = {
    "claimed twice": ("claim", "if ms < (tonumber(known[3]) or 0) then", "if false then"),
    "claim without an end": ("claim", "if ms < (tonumber(known[3]) or 0) then", "if true then"),
    "taken over, and not said": ("claim", "'earlier', known[2], ", ""),
    "life of who took over": ("claim", "'earlier', known[2], 'till', whole(ms + life)", "'earlier', known[2]"),
    "another request": ("claim", "if known[1] ~= request", "if false"),
    "request busy first": ("claim", "if known[1] ~= request", "if known[4] and known[1] ~= request"),
    "signed anew": ("claim", "if known[4] then", "if false then"),
    "room": ("claim", ">= most -", "> most -"),
    "room for others": ("claim", "'ZCARD', KEYS[4]) >= most - redis.call('ZCARD', KEYS[3])", "'ZCARD', KEYS[3]) >= most"),
    "room is never free again": ("claim", "if past > 0 then", "if false then"),
    "keeps for another": ("keep", "if owner and owner ~= attempt", "if false"),
    "keeps for the last owner only": ("keep", "if owner and owner", "if owner"),
    "nothing kept for another's claim": ("keep", "'attempt', attempt, 'answer', answer", "'answer', answer"),
    "another gives up": ("give_up", "known[1] == attempt and", "known[1] and"),
    "answers are given up": ("give_up", " and not known[3]", ""),
    "unknown is nothing": ("give_up", "if ARGV[3] == 'unknown'", "if false"),
    "nothing is unknown": ("give_up", "if ARGV[3] == 'unknown'", "if true"),
    "the one before is forgotten": ("give_up", "elseif known[2] then", "elseif false then"),
    "room of one": ("give_up", "redis.call('ZREM', KEYS[3], id)", ""),
    "room of a tenant": ("give_up", "redis.call('ZREM', KEYS[4], id)", ""),
    "answers for ever": ("keys", "redis.call('PEXPIRE', KEYS[2], whole(ttl))", ""),
    "answers too short": ("keys", "redis.call('PEXPIRE', KEYS[2], whole(ttl))", "redis.call('PEXPIRE', KEYS[2], '20')"),
    "room by the newest": ("keys", "live_for(KEYS[index], ttl + 1000)", "redis.call('PEXPIRE', KEYS[index], whole(ttl))"),
}


class Keys:
    def __init__(self) -> None:
        # Of each key: request, attempt, the one before it, when the attempt has ended, the answer, when it expires.
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
        word, ms, rest = self.ask("claim", names, id, attempt, request, life, ttl, most)
        keys = self.model().keys
        key = keys.find(id, ms, word not in ("ok", "full"))
        if key is None:
            taken = keys.taken(ms)
            if taken.count(tenant) >= most - len(taken):
                return (word, rest), ("full", [])
            keys.known[id] = {"request": request, "attempt": attempt, "before": None, "ends": ms + life, "answer": None}
            keys.keep_until(id, tenant, ms + ttl)
            return (word, rest), ("ok", [])
        if key["request"] != request:
            return (word, rest), ("other", [])
        if key["answer"] is not None:
            return (word, rest), ("kept", [key["attempt"], key["answer"]])
        if ms < key["ends"]:
            return (word, rest), ("busy", [])
        before = key["attempt"]
        key.update(attempt=attempt, before=before, ends=ms + life)
        keys.keep_until(id, tenant, ms + ttl)
        return (word, rest), ("again", [before])

    def keep(self):
        tenant, id, attempt, names = self.any()
        answer, ttl = f"answer {random.randrange(10**6)}", random.choice([60, 300])
        keys = self.model().keys
        request = keys.known.get(id, {}).get("request", "r0")
        word, ms, rest = self.ask("keep", names, id, attempt, request, answer, ttl)
        key = keys.find(id, ms, word == "taken")
        if key and key["attempt"] != attempt:
            return (word, rest), ("taken", [])
        keys.known[id] = {"request": request, "attempt": attempt, "before": None, "ends": 0, "answer": answer}
        keys.keep_until(id, tenant, ms + ttl)
        return (word, rest), ("ok", [])

    def give_up(self):
        _, id, attempt, names = self.any()
        end = random.choice(["nothing", "unknown"])
        keys = self.model().keys
        # The answer does not say whether it was there: so not at the moment it expires.
        while abs(time.time_ns() // 1_000_000 - keys.known.get(id, {}).get("expires", 0)) < 5 * UNCERTAIN:
            time.sleep(UNCERTAIN / 1000)
        word, ms, rest = self.ask("give_up", names, id, attempt, end)
        key = keys.find(id, ms, True)
        if key and key["attempt"] == attempt and key["answer"] is None:
            if end == "unknown":
                key["ends"] = 0
            elif key["before"]:
                key.update(attempt=key["before"], before=None, ends=0)
            else:
                del keys.known[id], keys.room[id]
        return (word, rest), ("ok", [])

    def many(self) -> None:
        """Thousands that have expired: forgotten in bounded parts, and then they take up no room."""
        past = time.time_ns() // 1_000_000 - 1
        self.redis("ZADD", "idem-all", *[x for n in range(5000) for x in (past, f"past{n}")])
        names = ["birth", "idem:new", "idem-all", "idem-of:new"]
        said = [self.ask("claim", names, "new", "a", "r", 10_000, 20_000, 100)[0] for _ in range(6)]
        assert said == ["full"] * 4 + ["ok", "busy"], said

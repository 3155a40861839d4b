-- Every script about an idempotency key goes on with this part. KEYS: birth; the key: `request`, `attempt`, `begun` (if it may
-- have signed), `earlier` (one before it whose end is not known), `till` (when the attempt has ended at the latest) and `life`
-- (how long it may take), both in ms, `answer`; all keys, and the tenant's, by the time at which they expire. ARGV: the key's name in the latter; the attempt.
local id, attempt = ARGV[1], ARGV[2]

local function live(ttl)
    redis.call('PEXPIRE', KEYS[2], whole(ttl))
    for index = 3, 4 do
        redis.call('ZADD', KEYS[index], whole(ms + ttl), id)
        live_for(KEYS[index], ttl + 1000)
    end
end

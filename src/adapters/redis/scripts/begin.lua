-- Notes that an attempt is about to sign. ARGV[3..]: the request; how long an attempt may take; how long a key is known, both
-- in ms. Not if another attempt has the key; but if nobody has, as after this server has lost its memory.
local request, life, ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local known = redis.call('HMGET', KEYS[2], 'attempt', 'answer')
if known[1] and (known[1] ~= attempt or known[2]) then return { 'taken', now, born } end
if not known[1] then
    redis.call('HSET', KEYS[2], 'request', request, 'attempt', attempt, 'life', whole(life), 'till', whole(ms + life))
end
redis.call('HSET', KEYS[2], 'begun', '1')
live(ttl)
return { 'ok', now, born }

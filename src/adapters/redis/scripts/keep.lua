-- Keeps an answer. ARGV[3..]: the request; the answer; how long it is kept in ms. Not if another attempt has the key; but if
-- nobody has, as after this server has lost its memory.
local request, answer, ttl = ARGV[3], ARGV[4], tonumber(ARGV[5])

local owner = redis.call('HGET', KEYS[2], 'attempt')
if owner and owner ~= attempt then return { 'taken', now, born } end
redis.call('HDEL', KEYS[2], 'earlier', 'till', 'begun', 'life')
redis.call('HSET', KEYS[2], 'request', request, 'attempt', attempt, 'answer', answer)
live(ttl)
return { 'ok', now, born }

-- Claims a key for an attempt. ARGV[3..]: the request; how long an attempt may take; how long a key is known, both in ms;
-- most keys. Answers whose the key is; `again` with an attempt whose end is not known, `kept` with who answered what.
local request, life, ttl, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local known = redis.call('HMGET', KEYS[2], 'request', 'attempt', 'till', 'answer')
if known[1] then
    if known[1] ~= request then return { 'other', now, born } end
    if known[4] then return { 'kept', now, born, known[2], known[4] } end
    if ms < (tonumber(known[3]) or 0) then return { 'busy', now, born } end
    redis.call('HSET', KEYS[2], 'attempt', attempt, 'earlier', known[2], 'till', whole(ms + life))
    live(ttl)
    return { 'again', now, born, known[2] }
end

-- A bounded part at a time.
for index = 3, 4 do
    local past = redis.call('ZCOUNT', KEYS[index], '-inf', '(' .. whole(ms))
    if past > 0 then redis.call('ZREMRANGEBYRANK', KEYS[index], 0, math.min(past, 1000) - 1) end
end
-- A tenant holds at most as many as are left free, so that there is room for the next one.
if redis.call('ZCARD', KEYS[4]) >= most - redis.call('ZCARD', KEYS[3]) then return { 'full', now, born } end
redis.call('HSET', KEYS[2], 'request', request, 'attempt', attempt, 'till', whole(ms + life))
live(ttl)
return { 'ok', now, born }

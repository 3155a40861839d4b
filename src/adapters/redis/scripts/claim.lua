-- Claims a key for an attempt. ARGV[3..]: the request; how long an attempt may take; how long a key is known, both in ms;
-- most keys; the attempt whose answer counts no more, or ''. Answers whose the key is; `again` with an attempt that had
-- begun and whose end is not known, or whose answer is void; `kept` with who answered what.
local request, life, ttl, most, void = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

local known = redis.call('HMGET', KEYS[2], 'request', 'attempt', 'till', 'answer', 'begun', 'earlier', 'life')
if known[1] then
    if known[1] ~= request then return { 'other', now, born } end
    if known[4] and known[2] ~= void then return { 'kept', now, born, known[2], known[4] } end
    local till = tonumber(known[3]) or 0
    -- This clock was put back since: the attempt has one life from here on, and not for as long as the clock went back.
    local longest = ms + (tonumber(known[7]) or 0)
    if till > longest then
        till = longest
        redis.call('HSET', KEYS[2], 'till', whole(till))
    end
    if ms < till then return { 'busy', now, born } end
    -- Who never began has signed nothing: what was known before it still is.
    local before = known[2]
    if not (known[5] or known[4]) then before = known[6] end
    redis.call('HDEL', KEYS[2], 'answer', 'begun', 'earlier')
    redis.call('HSET', KEYS[2], 'attempt', attempt, 'life', whole(life), 'till', whole(ms + life))
    live(ttl)
    if not before then return { 'ok', now, born } end
    redis.call('HSET', KEYS[2], 'earlier', before)
    return { 'again', now, born, before }
end

-- A bounded part at a time; what is left is past its time and counts no more.
for index = 3, 4 do
    local past = redis.call('ZCOUNT', KEYS[index], '-inf', '(' .. whole(ms))
    if past > 0 then redis.call('ZREMRANGEBYRANK', KEYS[index], 0, math.min(past, 1000) - 1) end
end
-- A tenant holds at most as many as are left free, so that there is room for the next one.
local all = redis.call('ZCOUNT', KEYS[3], whole(ms), '+inf')
local own = redis.call('ZCOUNT', KEYS[4], whole(ms), '+inf')
if own >= most - all then return { 'full', now, born } end
redis.call('HSET', KEYS[2], 'request', request, 'attempt', attempt, 'life', whole(life), 'till', whole(ms + life))
live(ttl)
return { 'ok', now, born }

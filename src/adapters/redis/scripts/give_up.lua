-- Ends an attempt without an answer. ARGV[3]: `nothing` was signed, or that is `unknown`.
local known = redis.call('HMGET', KEYS[2], 'attempt', 'earlier', 'answer', 'begun')
if known[1] == attempt and not known[3] then
    if ARGV[3] == 'unknown' and known[4] then
        redis.call('HSET', KEYS[2], 'till', '0')
    elseif known[2] then
        redis.call('HSET', KEYS[2], 'attempt', known[2], 'till', '0', 'begun', '1')
        redis.call('HDEL', KEYS[2], 'earlier')
    else
        redis.call('DEL', KEYS[2])
        redis.call('ZREM', KEYS[3], id)
        redis.call('ZREM', KEYS[4], id)
    end
end
return { 'ok', now, born }

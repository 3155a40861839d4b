-- A token bucket, the same arithmetic as the one in memory (actors/src/quota/bucket.rs): what is missing from a full
-- bucket, in millionths of a token, credited at the rate that was in force. Numbers stay below 2^53.
--
-- What was taken before the birth is not known: a bucket begins empty then, and names the birth it is of, as another
-- server's clock may have been ahead. A bucket of which nothing is kept has been full since, or has not been used since
-- the birth.
local TOKEN = 1000000
local function rate(key, qps, burst, take)
    local kept = redis.call('HMGET', key, 'missing', 'at', 'qps', 'born')
    local missing, at, was = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
    local size = burst * TOKEN
    if not (missing and at and was) or kept[4] ~= whole(born) then
        missing, at, was = size, born, qps
    end
    missing = math.max(0, missing - math.max(0, now - at) * was)
    if not take then return 0, missing end

    local taken = 0
    if missing + TOKEN <= size then
        missing, taken = missing + TOKEN, 1
    else
        missing = math.min(missing, size)
    end
    local since = whole(math.max(at, now))
    redis.call('HSET', key, 'missing', whole(missing), 'at', since, 'qps', whole(qps), 'born', whole(born))
    if qps > 0 then
        -- A second longer than until it is full; then it is no different from none.
        redis.call('PEXPIRE', key, whole(math.ceil(missing / qps / 1000) + 1000))
    else
        redis.call('PERSIST', key)
    end
    return taken, missing
end

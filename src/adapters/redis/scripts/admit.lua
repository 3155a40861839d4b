-- Rate, then concurrency. KEYS: birth, bucket, the tenant's leases by their end.
-- ARGV: qps; burst; concurrency; life of a lease in ms; what to do: 'hold' a lease if all allows, 'charge' the rate
-- alone, 'look' without any effect; the lease's id.
-- Answers 1 if a token was taken, what is missing from a full bucket, leases of others, 1 if the lease is held.
local qps, burst, concurrency, life = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local act, id = ARGV[5], ARGV[6]

-- Leases from before the birth may be forgotten here and held elsewhere. Their last holder has given them up, or has
-- taken them anew, one life later.
local settled = born + life * 1000
if now < settled then return { 'settling', now, born, math.ceil((settled - now) / 1000) } end

local taken, missing = rate(KEYS[2], qps, burst, act ~= 'look')
local in_use = redis.call('ZCOUNT', KEYS[3], '(' .. whole(ms), '+inf')
local held = 0
if act == 'hold' and taken == 1 and in_use < concurrency then
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(ms))
    redis.call('ZADD', KEYS[3], whole(ms + life), id)
    live_for(KEYS[3], life + 1000)
    held = 1
end
return { 'ok', now, born, taken, missing, in_use, held }

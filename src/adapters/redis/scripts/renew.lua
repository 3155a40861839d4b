-- Makes leases live on. KEYS: birth, the tenant's leases. ARGV: life of a lease in ms, ids.
-- One that is gone is taken anew, whatever the limit: its work is running and has to be counted. Answers how many were.
local life, lost = tonumber(ARGV[1]), 0
for index = 2, #ARGV do
    local ends = redis.call('ZSCORE', KEYS[2], ARGV[index])
    if not ends or tonumber(ends) <= ms then lost = lost + 1 end
    redis.call('ZADD', KEYS[2], whole(ms + life), ARGV[index])
end
live_for(KEYS[2], life + 1000)
return { 'ok', now, born, lost }

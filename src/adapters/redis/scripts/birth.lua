-- Every script begins with this part. KEYS[1] holds the birth: since when, by this server's clock, this very process
-- remembers everything. Absent (all was lost), of another process (a restart or a failover may have lost the last
-- writes), of another replication history (as a replica it took over what another server knew, its own last writes not
-- among it), or of a clock that has gone back since (what was forgotten as past is not past): then memory begins now.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- in µs: whole numbers in a double until the year 2255
local ms = math.floor(now / 1000)
local function whole(number) return string.format('%.0f', number) end

local info = redis.call('INFO', 'server', 'replication')
local run, history = string.match(info, 'run_id:(%w+)'), string.match(info, 'master_replid:(%w+)')
if not (run and history) then return redis.error_reply('ERR this server does not tell its run_id and master_replid') end
local memory = run .. ' ' .. history
local birth = redis.call('HMGET', KEYS[1], 'run', 'born', 'last')
local born, last = tonumber(birth[2]), tonumber(birth[3])
local function begin()
    born, last = now, now
    redis.call('HSET', KEYS[1], 'run', memory, 'born', whole(now), 'last', whole(now))
end
if birth[1] ~= memory or not born or not last or now + 2000000 < last then
    begin()
elseif now > last + 1000000 then
    redis.call('HSET', KEYS[1], 'last', whole(now))
end

-- Lets a key outlive its newest member, never an older one.
local function live_for(key, milliseconds)
    if redis.call('PTTL', key) < milliseconds then redis.call('PEXPIRE', key, whole(milliseconds)) end
end

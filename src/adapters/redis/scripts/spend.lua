-- Spends a proof, once. KEYS: birth, the tenant's spent ids by the time from which they may be forgotten.
-- ARGV: id; iat; the asker's clock; how long after iat to remember; how long after the birth an iat is surely younger
-- than it; the birth that a nonce proves to be younger than, or ''; most ids; most difference of clocks. Times in ms.
-- Answers the verdict and the birth.
local id, issued, asker, keep, ahead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local nonce, most, tolerance = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

-- The asker has judged iat by its own clock: how long to remember holds only while the clocks agree. Nothing is
-- forgotten before this is known.
if math.abs(ms - asker) > tolerance then return { 'clock', now, born } end

-- A bounded part at a time; what is left is past its time and counts no more.
local past = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. whole(ms))
if past > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(past, 1000) - 1) end

local known = redis.call('ZSCORE', KEYS[2], id)
if known and tonumber(known) >= ms then return { 'spent', now, born } end
if nonce ~= whole(born) and issued < math.ceil(born / 1000) + ahead then return { 'older', now, born } end
if redis.call('ZCOUNT', KEYS[2], whole(ms), '+inf') >= most then return { 'full', now, born } end

local expiry = math.max(issued + keep, ms) + 1000
redis.call('ZADD', KEYS[2], whole(expiry), id)
-- Minutes longer than its ids, so that a server's clock that is put forward and back again loses none of them.
live_for(KEYS[2], expiry - ms + 300000)
return { 'ok', now, born }

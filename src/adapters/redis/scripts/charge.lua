-- Charges one call to a rate. KEYS: birth, bucket. ARGV: qps, burst.
-- Answers 1 if a token was taken, what is missing from a full bucket, and the birth.
local taken, missing = rate(KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]), true)
return { 'ok', now, born, taken, missing }

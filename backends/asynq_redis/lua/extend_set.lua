-- Hold an aggregation set for longer; never shorten its time.
-- flags: allow-oom
-- KEYS: set sets
-- ARGV: now hold
-- answers: 1, or 0 where it is held no longer
-- @include arguments types time

local set, sets = key(), key()
local now, hold = microseconds(arg()), tonumber(arg())
local refusal = misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local ends = redis.call('ZSCORE', sets, set)
if not ends then return 0 end
local wanted = seconds_up(now + hold * 1000)
if wanted > tonumber(ends) then redis.call('ZADD', sets, whole(wanted), set) end
return 1

-- Extend the hold of an aggregation set. A hold is never shortened.
-- flags: allow-oom
-- KEYS: set sets
-- ARGV: now hold
-- answers: 1, or 0 if it is no longer held
-- @include arguments types time

local set, sets = key(), key()
local now, hold = microseconds(arg()), tonumber(arg())
local refusal = misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
if not redis.call('ZSCORE', sets, set) then return 0 end
redis.call('ZADD', sets, 'GT', whole(seconds_up(now + hold * 1000)), set)
return 1

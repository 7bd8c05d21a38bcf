-- Acquire a slot of a semaphore, or extend the holder's slot.
-- flags: allow-oom
-- KEYS: slots neighbour
-- ARGV: now holder limit hold
--   hold: duration in milliseconds.
-- answers: 1 if the holder has a slot, else 0
-- @include arguments types time

local slots = key()
local refusal = misplaced(slots, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, holder, limit, hold = math.floor(microseconds(arg()) / 1000), arg(), tonumber(arg()), tonumber(arg())

redis.call('ZREMRANGEBYSCORE', slots, '-inf', as_score(now))
if not redis.call('ZSCORE', slots, holder) and redis.call('ZCARD', slots) >= limit then return 0 end
redis.call('ZADD', slots, 'GT', as_score(now + hold), holder)
return 1

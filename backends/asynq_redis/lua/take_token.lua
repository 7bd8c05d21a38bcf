-- Take one of the tokens of a rate limit. The list has the times at which the last tokens were taken.
-- flags: allow-oom
-- KEYS: taken neighbour
-- ARGV: now limit per
--   per: duration in milliseconds.
-- answers: 0, or the milliseconds until one is available
-- @include arguments types time

local taken = key()
local refusal = misplaced(taken, 'list')
if refusal then return redis.error_reply(refusal) end
local now, limit, per = math.floor(microseconds(arg()) / 1000), tonumber(arg()), tonumber(arg())

local oldest = tonumber(redis.call('LINDEX', taken, limit - 1))
if oldest and oldest + per > now then return math.min(oldest + per - now, per) end
redis.call('LPUSH', taken, whole(now))
redis.call('LTRIM', taken, 0, limit - 1)
redis.call('PEXPIRE', taken, whole(per))
return 0

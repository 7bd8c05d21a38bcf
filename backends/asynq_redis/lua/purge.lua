-- Delete completed tasks whose retention has ended, oldest first.
-- flags: allow-oom
-- KEYS: completed archived
-- ARGV: now prefix limit
-- answers: number deleted
-- @include arguments types time keys delete discard

local completed = key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return 0 end
local refusal = misplaced(completed, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, prefix, limit = microseconds(arg()), arg(), tonumber(arg())
local latest = whole(math.floor(now / 1000000))
local tasks = doomed(prefix, redis.call('ZRANGEBYSCORE', completed, '-inf', latest, 'LIMIT', 0, limit))
discard(completed, tasks)
return #tasks

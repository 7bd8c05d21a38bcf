-- Move the oldest tasks of a group to an aggregation set, if the group is due.
-- flags: allow-oom
-- KEYS: group set groups sets
-- ARGV: now name grace max_delay max_size most hold
--   grace, max_delay, hold: milliseconds. most: maximum tasks of a set.
-- answers: number of tasks in the set; 0 if the group is not due
-- @include arguments types time

local group, set, groups, sets = key(), key(), key(), key()
local refusal = misplaced(group, 'zset') or misplaced(set, 'zset') or misplaced(groups, 'set')
  or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, name, grace, max_delay = microseconds(arg()), arg(), tonumber(arg()), tonumber(arg())
local max_size, most, hold = tonumber(arg()), tonumber(arg()), tonumber(arg())

if redis.call('ZSCORE', sets, set) then return redis.call('ZCARD', set) end
local size = redis.call('ZCARD', group)
if size == 0 then
  redis.call('SREM', groups, name)
  return 0
end

-- Milliseconds since the task at this rank was added.
local function age(rank)
  return math.floor(now / 1000) - score_ms(redis.call('ZRANGE', group, rank, rank, 'WITHSCORES')[2])
end

local ripe = (max_size > 0 and size >= max_size) or (max_delay > 0 and age(0) >= max_delay) or age(-1) >= grace
if not ripe then return 0 end
if max_size > 0 then most = math.min(most, max_size) end
redis.call('ZRANGESTORE', set, group, 0, most - 1)
redis.call('ZREMRANGEBYRANK', group, 0, most - 1)
redis.call('ZADD', sets, whole(seconds_up(now + hold * 1000)), set)
if size <= most then redis.call('SREM', groups, name) end
return math.min(size, most)

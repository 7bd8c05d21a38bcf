-- Return the set whose hold ended first, after `skip` others, to its group.
-- flags: allow-oom
-- KEYS: sets groups
-- ARGV: now prefix skip most
--   most: maximum tasks to move in one call. The set of a Go worker may have any number.
-- answers: 1 for a returned set, 2 for a partly returned set, 3 for a set that cannot be returned,
--   4 for a removed name without a set, 0 if no other hold has ended
-- @include arguments types time keys sets

local sets, groups = key(), key()
if redis.call('EXISTS', unpack(KEYS)) == 0 then return 0 end
local refusal = misplaced(sets, 'zset') or misplaced(groups, 'set')
if refusal then return redis.error_reply(refusal) end
local now, prefix, skip, most = microseconds(arg()), arg(), tonumber(arg()), tonumber(arg())

local latest = whole(math.floor(now / 1000000))
local set = redis.call('ZRANGEBYSCORE', sets, '-inf', latest, 'LIMIT', skip, 1)[1]
if not set then return 0 end
local front = group_key(prefix, '')
local name = string.sub(set, 1, #front) == front and string.match(string.sub(set, #front + 1), '^(.*):[^:]*$')
if not name then
  redis.call('ZREM', sets, set)
  return 4
end
local group = group_key(prefix, name)
if misplaced(set, 'zset') or misplaced(group, 'zset') then return 3 end
if give_back(set, sets, group, groups, name, most) > 0 then return 2 end
return 1

-- Return to its group the set whose hold ended first, or the next ones after `skip`.
-- flags: allow-oom
-- KEYS: sets groups
-- ARGV: now prefix skip most
--   most: tasks to move in one call; a Go peer's set may hold any number.
-- answers: 1 for a set returned, 2 for one of which a part is left, 3 for one that cannot be returned,
--   4 for a name of no set that was removed, 0 where no other hold has ended
-- @include arguments types time keys sets

local sets, groups = key(), key()
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

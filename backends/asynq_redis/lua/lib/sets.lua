-- Put the oldest tasks of an aggregation set back into their group, as of when they were first added, and
-- list the group again. How many are still in the set; without any it is held no longer.
local function give_back(set, sets, group, groups, name, most)
  local found = redis.call('ZRANGE', set, 0, most - 1, 'WITHSCORES')
  if #found > 0 then
    local members = {}
    for i = 1, #found, 2 do members[i], members[i + 1] = found[i + 1], found[i] end
    redis.call('ZADD', group, unpack(members))
    redis.call('SADD', groups, name)
    redis.call('ZREMRANGEBYRANK', set, 0, most - 1)
  end
  local left = redis.call('ZCARD', set)
  if left == 0 then redis.call('ZREM', sets, set) end
  return left
end

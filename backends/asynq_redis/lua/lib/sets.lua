-- Put the oldest tasks of an aggregation set back into their group with their original times, and list the
-- group again. Returns the number of tasks left. An empty set is no longer held.
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

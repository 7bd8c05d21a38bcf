-- Put the tasks of an aggregation set back into their group.
-- flags: allow-oom
-- KEYS: set sets group groups
-- ARGV: name
-- answers: 1, or 0 if the set is no longer held
-- @include arguments types sets

local set, sets, group, groups = key(), key(), key(), key()
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset') or misplaced(group, 'zset')
  or misplaced(groups, 'set')
if refusal then return redis.error_reply(refusal) end
if not redis.call('ZSCORE', sets, set) then return 0 end
give_back(set, sets, group, groups, arg(), redis.call('ZCARD', set))
return 1

-- Find groups with tasks that are not listed.
-- flags: allow-oom
-- KEYS: groups sets | group
-- ARGV: repair | name
--   repair: 1 or empty.
-- answers: each 1 if it is not listed, else 0
-- @include arguments types

local groups, sets = key(), key()
local refusal = misplaced(groups, 'set') or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local repair, answers = arg(), {}
while more() do
  local group, name = key(), arg()
  local holds = (try('ZCARD', group) or 0) > 0 and not redis.call('ZSCORE', sets, group)
  local unlisted = holds and redis.call('SISMEMBER', groups, name) == 0
  if unlisted and repair ~= '' then redis.call('SADD', groups, name) end
  answers[#answers + 1] = unlisted and 1 or 0
end
return answers

-- Read one page of the tasks of an aggregation set, oldest first.
-- flags: no-writes
-- KEYS: set sets
-- ARGV: prefix offset limit
-- answers: each {id, msg or empty}
-- @include arguments types keys

local set, sets = key(), key()
local prefix, offset, limit = arg(), tonumber(arg()), tonumber(arg())
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local answers = {}
for _, id in ipairs(redis.call('ZRANGE', set, offset, offset + limit - 1)) do
  answers[#answers + 1] = { id, try('HGET', task_key(prefix, id), 'msg') or '' }
end
return answers

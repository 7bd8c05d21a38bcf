-- Read one page of the tasks of an aggregation set, oldest first. The page is shorter if the tasks are large.
-- flags: no-writes
-- KEYS: set sets
-- ARGV: prefix offset limit
-- answers: each {id, msg or empty}
-- @include arguments types keys

-- Bytes of messages after which no further task is read, so that the reply arrives in time.
local MOST_BYTES = 8 * 1024 * 1024

local set, sets = key(), key()
local prefix, offset, limit = arg(), tonumber(arg()), tonumber(arg())
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset')
if refusal then return redis.error_reply(refusal) end
local answers, bytes = {}, 0
for _, id in ipairs(redis.call('ZRANGE', set, offset, offset + limit - 1)) do
  if bytes >= MOST_BYTES then break end
  local msg = try('HGET', task_key(prefix, id), 'msg') or ''
  bytes = bytes + #msg
  answers[#answers + 1] = { id, msg }
end
return answers

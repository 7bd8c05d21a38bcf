-- Store the results of active tasks.
-- KEYS: lease | hash
-- ARGV: | id token result
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types fence

local lease = key()
local refusal = misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end

local answers = {}
while more() do
  local hash, id, token, result = key(), arg(), arg(), arg()
  local task = try('HMGET', hash, 'state', 'lease_token') or {}
  local ours = owned(task[1], task[2], lease, id, token)
  if ours then redis.call('HSET', hash, 'result', result) end
  answers[#answers + 1] = ours and 1 or 0
end
return answers

-- Put tasks back at the head of their queue without counting them.
-- flags: allow-oom
-- KEYS: active lease pending | hash lock | taken*
-- ARGV: now | id token
--   lock: the hash again if the task has none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time fence lock

local active, lease, pending = key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(pending, 'list')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())

local answers = {}
while more() do
  local hash, lock, id, token = key(), key(), arg(), arg()
  local task = try('HMGET', hash, 'state', 'lease_token', 'unique_until', 'unique_keep') or {}
  if owned(task[1], task[2], lease, id, token) then
    leave(id)
    redis.call('RPUSH', pending, id)
    redis.call('HSET', hash, 'state', 'pending', 'pending_since', nanoseconds(now))
    if task[4] and task[3] ~= 'start' and lock ~= hash then renew(lock, id, task[3], task[4], 0) end
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = task[1] == 'pending' and task[2] == token and 1 or 0
  end
end
end_runs(active, lease)
forget_takes()
return answers

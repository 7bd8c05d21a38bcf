-- Delete finished tasks, release their locks, and count them as processed.
-- flags: allow-oom
-- KEYS: active lease processed failed | hash lock | taken*
-- ARGV: now | id token
--   lock: the hash again if the task has none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time fence lock count

local active, lease, processed, failed = key(), key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local statistics = counters(processed, failed, microseconds(arg()))

local answers, ended = {}, 0
while more() do
  local hash, lock, id, token = key(), key(), arg(), arg()
  local task = try('HMGET', hash, 'state', 'lease_token') or {}
  if owned(task[1], task[2], lease, id, token) then
    leave(active, id)
    if lock ~= hash then release(lock, id) end
    redis.call('DEL', hash)
    ended = ended + 1
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
end_leases(lease)
forget_takes()
count(statistics, ended, 0)
return answers

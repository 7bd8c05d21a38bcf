-- Move tasks to retry. A failure counts as processed and failed.
-- flags: allow-oom
-- KEYS: active lease retry processed failed | hash lock | taken*
-- ARGV: now | id token msg delay failure
--   lock: the hash again if the task has none. delay: milliseconds. failure: 1 or empty.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time rewrite fence lock count

local active, lease, retry, processed, failed = key(), key(), key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(retry, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())
local statistics = counters(processed, failed, now)

local answers, failures = {}, 0
while more() do
  local hash, lock, id, token, msg, delay, failure = key(), key(), arg(), arg(), arg(), tonumber(arg()), arg()
  local task = try('HMGET', hash, 'state', 'lease_token', 'unique_until', 'unique_keep', 'cancel') or {}
  if owned(task[1], task[2], lease, id, token) then
    leave(id)
    redis.call('ZADD', retry, whole(seconds_up(now + delay * 1000)), id)
    redis.call('HSET', hash, 'msg', rewritten(hash, msg), 'state', 'retry')
    -- A request to archive that the run did not receive before it failed stays for the next delivery.
    if task[5] == 'retry' then redis.call('HDEL', hash, 'cancel') end
    if task[4] and task[3] ~= 'start' and lock ~= hash then renew(lock, id, task[3], task[4], delay) end
    if failure ~= '' then failures = failures + 1 end
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = task[1] == 'retry' and task[2] == token and 1 or 0
  end
end
end_runs(active, lease)
forget_takes()
count(statistics, failures, failures)
return answers

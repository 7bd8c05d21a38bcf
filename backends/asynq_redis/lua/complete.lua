-- Move finished tasks to completed, release their locks, and count them as processed.
-- flags: allow-oom
-- KEYS: active lease completed processed failed | hash lock | taken*
-- ARGV: now sequence | id token msg retention has_result result
--   lock: the hash again if the task has none. retention: seconds. has_result: 1 or empty. sequence: of all these
--   tasks, empty for none.
-- answers: each 1, or 0 if the lease is lost
-- @include arguments types time keys sequence rewrite fence lock count

local active, lease, completed, processed, failed = key(), key(), key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(completed, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())
local statistics = counters(processed, failed, now)
local sequence = sequence_of_runs(active, arg())

local answers, ended = {}, 0
while more() do
  local hash, lock, id, token, msg, retention = key(), key(), arg(), arg(), arg(), tonumber(arg())
  local has_result, result = arg(), arg()
  local task = try('HMGET', hash, 'state', 'lease_token', 'cancel') or {}
  if owned(task[1], task[2], lease, id, token) then
    leave(id)
    if lock ~= hash then release(lock, id) end
    if sequence then leave_sequence(sequence, id) end
    redis.call('ZADD', completed, whole(seconds_up(now) + retention), id)
    redis.call('HSET', hash, 'msg', rewritten(hash, msg), 'state', 'completed')
    if has_result ~= '' then redis.call('HSET', hash, 'result', result) end
    if task[3] then redis.call('HDEL', hash, 'cancel') end
    ended = ended + 1
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = task[1] == 'completed' and task[2] == token and 1 or 0
  end
end
end_runs(active, lease)
forget_takes()
if sequence then advance(sequence, now) end
count(statistics, ended, 0)
return answers

-- Archive undecodable active tasks, each with a decodable replacement, if they are unchanged.
-- flags: allow-oom
-- KEYS: active lease archived | hash
-- ARGV: now | id found msg
--   found: the message as it was read. msg: the replacement.
-- answers: each 1, or 0 if the task has changed
-- @include arguments types time fence

local active, lease, archived = key(), key(), key()
local refusal = misplaced(active, 'list') or misplaced(lease, 'zset') or misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())

local answers = {}
while more() do
  local hash, id, found, msg = key(), arg(), arg(), arg()
  local task = try('HMGET', hash, 'msg', 'state') or {}
  local unchanged = task[1] == found and task[2] == 'active'
  if unchanged then
    leave(id)
    redis.call('ZADD', archived, whole(seconds_up(now)), id)
    redis.call('HSET', hash, 'msg', msg, 'state', 'archived')
    redis.call('HDEL', hash, 'lease_token')
  end
  answers[#answers + 1] = unchanged and 1 or 0
end
end_runs(active, lease)
return answers

-- Remove members without a task from an aggregation set. Archive members with an undecodable message, with a
-- decodable replacement. Members that have changed are left unchanged.
-- flags: allow-oom
-- KEYS: set sets archived | hash
-- ARGV: now | id found msg
--   found: the message as it was read, empty for none. msg: the replacement.
-- answers: nothing
-- @include arguments types time delete

local set, sets, archived = key(), key(), key()
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset') or misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())

local members = {}
while more() do
  local hash, id, found, msg = key(), arg(), arg(), arg()
  local unchanged = (try('HGET', hash, 'msg') or '') == found
  members[#members + 1] = { unchanged = unchanged, msg = msg, task = doomed_task(hash, id), gone = found == '' }
end
for _, member in ipairs(members) do
  local task = member.task
  if member.unchanged and redis.call('ZREM', set, task.id) == 1 then
    if member.gone then
      delete_task(task)
    else
      redis.call('HSET', task.hash, 'msg', member.msg, 'state', 'archived')
      redis.call('HDEL', task.hash, 'group')
      redis.call('ZADD', archived, whole(seconds_up(now)), task.id)
    end
  end
end
if redis.call('ZCARD', set) == 0 then redis.call('ZREM', sets, set) end

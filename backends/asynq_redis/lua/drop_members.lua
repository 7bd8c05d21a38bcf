-- Remove members without a task from an aggregation set. Archive members with an undecodable message, with a
-- decodable replacement. Members that have changed are left unchanged.
-- flags: allow-oom
-- KEYS: set sets archived | hash
-- ARGV: now | id found msg
--   found: the message as it was read, empty for none. msg: the replacement.
-- answers: nothing
-- @include arguments types time

local set, sets, archived = key(), key(), key()
local refusal = misplaced(set, 'zset') or misplaced(sets, 'zset') or misplaced(archived, 'zset')
if refusal then return redis.error_reply(refusal) end
local now = microseconds(arg())

while more() do
  local hash, id, found, msg = key(), arg(), arg(), arg()
  if (try('HGET', hash, 'msg') or '') == found and redis.call('ZREM', set, id) == 1 then
    if found == '' then
      redis.call('DEL', hash)
    else
      redis.call('HSET', hash, 'msg', msg, 'state', 'archived')
      redis.call('HDEL', hash, 'group')
      redis.call('ZADD', archived, whole(seconds_up(now)), id)
    end
  end
end
if redis.call('ZCARD', set) == 0 then redis.call('ZREM', sets, set) end

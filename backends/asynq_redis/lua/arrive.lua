-- Pass the result of a member on to a task that waits for several, which becomes pending when the last one arrives.
-- KEYS: pending scheduled hash
-- ARGV: now id member members named header
--   named: the member as the message names it. header: what is appended to its message.
-- answers: number of members that are missing, 0 if the task does not wait, or -1 if it is gone or
-- waits for others
-- @include arguments types time keys sequence

local pending, scheduled, hash = key(), key(), key()
local refusal = misplaced(pending, 'list') or misplaced(scheduled, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, id, member, members = microseconds(arg()), arg(), arg(), tonumber(arg())
local named, header = arg(), arg()

local task = try('HMGET', hash, 'msg', 'state', 'member:' .. member, 'arrived') or {}
if not task[1] then return -1 end
if task[2] ~= 'scheduled' or tonumber(try('ZSCORE', scheduled, id) or 0) ~= WAITING then return 0 end
if not string.find(task[1], named, 1, true) then return -1 end
local missing = members - tonumber(task[4] or 0)
if not task[3] then
  missing = missing - 1
  redis.call('HSET', hash, 'msg', task[1] .. header, 'member:' .. member, 1, 'arrived', members - missing)
end
if missing <= 0 then
  redis.call('ZREM', scheduled, id)
  redis.call('LPUSH', pending, id)
  redis.call('HSET', hash, 'state', 'pending', 'pending_since', nanoseconds(now))
end
return missing

-- Let a held parent go: keep it for its own retention, or delete it with its lock.
-- flags: allow-oom
-- KEYS: completed hash
-- ARGV: now id held_until retention
--   held_until: its score, seconds. retention: milliseconds from now, 0 to delete the task.
-- answers: 1, or 0 if the parent is not held like that
-- @include arguments types time delete

local completed, hash = key(), key()
local refusal = misplaced(completed, 'zset')
if refusal then return redis.error_reply(refusal) end
local now, id, held_until, retention = microseconds(arg()), arg(), arg(), tonumber(arg())

local score = redis.call('ZSCORE', completed, id)
if not score or tonumber(score) ~= tonumber(held_until) then return 0 end
if try('HGET', hash, 'state') ~= 'completed' then return 0 end
if retention > 0 then
  redis.call('ZADD', completed, whole(seconds_up(now + retention * 1000)), id)
else
  delete_task(doomed_task(hash, id))
  redis.call('ZREM', completed, id)
end
return 1

-- Record a cancellation of an active task.
-- flags: allow-oom
-- KEYS: hash lease
-- ARGV: id then
--   then: archive or retry.
-- answers: 1 if the task is active, 2 if a Go worker runs it, 0 if it is not active
-- @include arguments types fence

local hash, lease = key(), key()
local refusal = misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local id, after = arg(), arg()
if try('HGET', hash, 'state') ~= 'active' then return 0 end
local score = redis.call('ZSCORE', lease, id)
local theirs = score and not fractional(score)
-- A Go worker retries a cancelled task and leaves the record, which must not cancel the next run too.
if not theirs or after == 'archive' then redis.call('HSET', hash, 'cancel', after) end
return theirs and 2 or 1

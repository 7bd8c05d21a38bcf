-- Record that the run of an active task is to end.
-- flags: allow-oom
-- KEYS: hash lease
-- ARGV: id then
--   then: archive or retry.
-- answers: 1 where a run of ours was found, 2 where one of a Go peer was, 0 where none was
-- @include arguments types fence

local hash, lease = key(), key()
local refusal = misplaced(lease, 'zset')
if refusal then return redis.error_reply(refusal) end
local id, after = arg(), arg()
if try('HGET', hash, 'state') ~= 'active' then return 0 end
local score = redis.call('ZSCORE', lease, id)
local theirs = score and not fractional(score)
-- A Go peer retries what it is told to cancel and leaves the record: it must not end the next run as well.
if not theirs or after == 'archive' then redis.call('HSET', hash, 'cancel', after) end
return theirs and 2 or 1

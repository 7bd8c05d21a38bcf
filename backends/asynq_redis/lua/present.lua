-- Add a record to its index, and prune records that expired long ago.
-- flags: allow-oom
-- KEYS: index neighbour
-- ARGV: ends pruned member
--   ends: Unix seconds at which the record expires. pruned: Unix seconds; records that expired by then are removed.
-- answers: nothing
-- @include arguments

local index = key()
local ends, pruned, member = arg(), arg(), arg()
redis.call('ZADD', index, ends, member)
redis.call('ZREMRANGEBYSCORE', index, '-inf', pruned)
